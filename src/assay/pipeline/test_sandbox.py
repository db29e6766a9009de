# SPDX-License-Identifier: Apache-2.0
"""The sandbox of a test process: it has the bench, and neither the site's keys nor a way to write the site's records.

Guards: in the sandbox the keys folder is empty, the site is read-only but for its twins, other processes of the host
cannot be seen (whose /proc would show the folder as it is), and nothing in it outlives it.
Leaves to others: what runs inside (`test_process`). A sandbox protects the keys from the tests, not the unit.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Literal

from assay.backends.builders.sandbox_strays import owner_mark

PROGRAM = "bwrap"
PROBE_TIMEOUT_S = 10.0

Sandbox = Literal["bubblewrap", "none"]

_WALLS = ("--dev-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "--cap-drop", "ALL", "--die-with-parent")


def choose() -> Sandbox:
    """`bubblewrap` where it works."""
    return "none" if why_not() else "bubblewrap"


@cache
def why_not() -> str:
    """Why there is no sandbox on this machine; empty when there is one. Tried once for each process."""
    program = shutil.which(PROGRAM)
    if program is None:
        return "bubblewrap is not installed (apt-get install bubblewrap)"
    command = [program, *_WALLS, *owner_mark(), "--tmpfs", "/mnt", "--", "/bin/true"]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap cannot be started ({type(error).__name__})"
    lines = tried.stderr.decode("utf-8", "replace").strip().splitlines()
    return "" if tried.returncode == 0 else (lines or ["bubblewrap failed and said nothing"])[-1]


def walls(site: Path, keys: Path, writable: tuple[Path, ...], fixed: tuple[Path, ...], info_fd: int) -> list[str]:
    """The words before the command: `writable` folders stay so, `fixed` ones are read-only.

    `info_fd` gets a JSON object with the process id of the command's parent.
    The command is not process 1 of the sandbox: the kernel would shield it from its own signals.
    """
    words = [shutil.which(PROGRAM) or PROGRAM, *_WALLS, *owner_mark(), "--info-fd", str(info_fd)]
    words += ["--ro-bind", str(site), str(site)]
    for folder in writable:
        words += ["--bind", str(folder), str(folder)]
    for folder in fixed:
        words += ["--ro-bind", str(folder), str(folder)]
    return [*words, "--tmpfs", str(keys), "--"]
