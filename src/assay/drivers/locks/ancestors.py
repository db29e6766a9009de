# SPDX-License-Identifier: Apache-2.0
"""Is that process above this one, and which are below? From /proc, by process id and start time, so that a reused id
does not count.
"""

from __future__ import annotations

import os
from pathlib import Path

DEPTH_MAX = 64  # processes between this one and init
_ENDED = ("Z", "X")
_STOPPED = ("T", "t")
_AFTER_NAME_PPID = 1  # proc(5), stat: fields 3 (state), 4 (ppid), ... 22 (starttime), counted behind the name
_AFTER_NAME_STARTED = 19


def started(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None when there is none, or it ended and nobody took note."""
    fields = _stat(pid)
    return int(fields[_AFTER_NAME_STARTED]) if fields and fields[0] not in _ENDED else None


def is_self_or_ancestor(pid: int, started_ticks: int) -> bool:
    """True for this process and those above it; init is nobody's parent here, since everything is below it."""
    current = os.getpid()
    for _ in range(DEPTH_MAX):
        if current <= 1:
            return False
        fields = _stat(current)
        if not fields:
            return False
        if current == pid:
            return int(fields[_AFTER_NAME_STARTED]) == started_ticks
        current = int(fields[_AFTER_NAME_PPID])
    return False


def is_stopped(pid: int) -> bool:
    """True for a process that was stopped (Ctrl-Z, SIGSTOP, a debugger): it holds what it has, and does nothing."""
    fields = _stat(pid)
    return bool(fields) and fields[0] in _STOPPED


def descendants(pid: int) -> list[int]:
    """Who lives below that process now."""
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    parents = {each: fields for each in pids if (fields := _stat(each))}
    below, look = list[int](), [pid]
    while look:
        above = look.pop()
        found = [each for each, fields in parents.items() if int(fields[_AFTER_NAME_PPID]) == above]
        look += found
        below += [each for each in found if parents[each][0] not in _ENDED]
    return below


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name, which is in parentheses and may hold anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
