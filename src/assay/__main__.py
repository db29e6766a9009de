# SPDX-License-Identifier: Apache-2.0
"""The `assay` command and `python -m assay`: loads the program, and says in a line that it was stopped meanwhile."""

import os
import sys


def run() -> None:
    """Entry point of the `assay` command."""
    try:
        from assay.cli.main import run as command

        command()
    except KeyboardInterrupt:  # no verb was there yet; what is loaded takes a third of a second on a busy machine
        import signal  # not above: until we are here a signal is told by a traceback

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        from assay.errors import ExitStatus

        sys.stderr.write("ABORTED: stopped before anything was done\n")
        sys.stderr.flush()
        # Not sys.exit: once KeyboardInterrupt has crossed text that Python runs (a dataclass is made), `python -m` ends
        # by SIGINT whatever is said here.
        os._exit(ExitStatus.ERROR)


if __name__ == "__main__":
    run()
