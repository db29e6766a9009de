# SPDX-License-Identifier: Apache-2.0
"""Who uses a port now: from the place's lock, else from the open files of this host's processes.

Guards: never raises; somebody who asks why a port is busy gets the best answer that there is. Only the program's name
is told, never its arguments: they may be secret.
"""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
TERMINAL_MAKER = "/dev/ptmx"  # who holds it provides terminals (a twin's wire, a window), and uses none


def users_of(address: str) -> str:
    """The holder of the lock on `address`, else the programs that have it open, else `another program`."""
    from assay.drivers.locks.file_lock import FileLocks
    from assay.errors import AssayError

    try:
        holder = FileLocks().holder(address)
    except AssayError:
        holder = None
    if holder is not None and holder.pid != os.getpid():
        return str(holder)
    return ", ".join(programs_with(address)) or "another program"


def programs_with(address: str) -> list[str]:
    """`name (pid n)` of each other process that has the file open, as far as we may look."""
    device = os.path.realpath(address)
    found = []
    for process in PROC.iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            opened = _open_files(process)
            if device in opened and TERMINAL_MAKER not in opened and "/dev/pts/ptmx" not in opened:
                found.append(f"{_name(process)} (pid {process.name})")
    return found


def _open_files(process: Path) -> set[str]:
    try:
        return {_target(fd) for fd in (process / "fd").iterdir()}
    except OSError:  # ended meanwhile, or not ours to look at
        return set()


def _target(fd: Path) -> str:
    try:
        return str(fd.readlink())
    except OSError:
        return ""


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(errors="replace").strip()
    except OSError:
        return "a process"
