# SPDX-License-Identifier: Apache-2.0
"""Sandboxes whose assay is gone: found by a mark on their command line, and ended.

bubblewrap's --die-with-parent leaves a gap: its inner process first waits for its outer one to map users, and arms
itself only later. An outer process that is killed in between leaves it waiting for ever (measured: 1 in 130 kills of
the demo on a loaded machine). It holds no lock and no port, but it is a process left behind.

Guards: only a sandbox of ours, of this user, whose process was in this namespace of process ids and has ended.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

_PROC = Path("/proc")
_MARK = re.compile(r"ASSAY_OWNER_(\d+)_(\d+)_(\d+)")


def owner_mark() -> tuple[str, str]:
    """Words for bubblewrap that name this process: a variable that nobody has is taken away, which changes nothing."""
    return "--unsetenv", owner_word()


def owner_word() -> str:
    """A word that names this process and no later one of the same id."""
    pid = os.getpid()
    return f"ASSAY_OWNER_{_namespace()}_{pid}_{_started(pid)}"


def owner_is_gone(word: str) -> bool:
    """Whether the process that `word` names was in this namespace of process ids and has ended."""
    mark = _MARK.fullmatch(word)
    return mark is not None and int(mark[1]) == _namespace() and _started(int(mark[2])) != int(mark[3])


def end_strays() -> list[int]:
    """SIGKILL sandboxes whose process has ended; answers their ids."""
    return [pid for pid in _sandboxes() if _is_stray(pid) and _kill(pid)]


def _sandboxes() -> list[int]:
    found = []
    for folder in _PROC.glob("[0-9]*"):
        try:
            if folder.stat().st_uid == os.getuid() and (folder / "comm").read_text() == "bwrap\n":
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _is_stray(pid: int) -> bool:
    try:
        mark = _MARK.search((_PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace"))
    except OSError:
        return False
    if mark is None or int(mark[1]) != _namespace():
        return False
    return _started(int(mark[2])) != int(mark[3])


def _started(pid: int) -> int | None:
    """When `pid` started, in clock ticks since boot (proc(5), stat, field 22); None when it has ended."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _namespace() -> int:
    return (_PROC / "self" / "ns" / "pid").stat().st_ino


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return False
    return True
