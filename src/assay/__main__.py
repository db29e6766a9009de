# SPDX-License-Identifier: Apache-2.0
"""The `assay` command and `python -m assay`: loads the program, and says in a line that it was stopped meanwhile."""

import sys

from assay.errors import ExitStatus


def run() -> None:
    """Entry point of the `assay` command."""
    try:
        from assay.cli.main import run as command
    except KeyboardInterrupt:  # what is loaded takes a third of a second on a busy machine
        sys.stderr.write("ABORTED: stopped before anything was done\n")
        sys.exit(ExitStatus.ERROR)
    command()


if __name__ == "__main__":
    run()
