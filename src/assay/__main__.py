# SPDX-License-Identifier: Apache-2.0
"""The `assay` command and `python -m assay`: loads the program, and says in a line that it was stopped meanwhile."""

import signal
import sys


def run() -> None:
    """Entry point of the `assay` command."""
    try:
        from assay.cli.main import run as command

        command()
    except KeyboardInterrupt:  # no verb was there yet; what is loaded takes a third of a second on a busy machine
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        from assay.errors import ExitStatus

        sys.stderr.write("ABORTED: stopped before anything was done\n")
        sys.exit(ExitStatus.ERROR)


if __name__ == "__main__":
    run()
