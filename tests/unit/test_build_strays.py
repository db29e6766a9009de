# SPDX-License-Identifier: Apache-2.0
"""Sandboxes whose assay is gone are ended; those of the living, and of other namespaces, are not touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay.backends.builders.sandbox import why_not
from assay.backends.builders.sandbox_strays import end_strays, owner_mark

MARKED = "import sys; from assay.backends.builders.sandbox_strays import owner_mark; print(*owner_mark())"

needs_bubblewrap = pytest.mark.skipif(why_not() is not None, reason=f"no sandbox here: {why_not()}")


def sandbox(*mark: str) -> subprocess.Popen[bytes]:
    """A sandbox that would live on without its parent, as one that was caught in the gap does."""
    program = shutil.which("bwrap")
    assert program is not None
    process = subprocess.Popen([program, "--dev-bind", "/", "/", *mark, "sleep", "60"])
    while b"sleep" not in Path(f"/proc/{process.pid}/cmdline").read_bytes() or not _children(process.pid):
        time.sleep(0.01)
    return process


def _children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


@needs_bubblewrap
def test_the_sandbox_of_the_dead_is_ended_and_nobody_elses() -> None:
    dead = subprocess.run([sys.executable, "-c", MARKED], capture_output=True, text=True, check=True).stdout.split()
    elsewhere = dead[1].replace("OWNER_", "OWNER_9")  # a namespace that is not ours
    reused = owner_mark()[1] + "9"  # our own id, but started at another time
    strays = [sandbox(*dead), sandbox("--unsetenv", reused)]
    others = [sandbox(*owner_mark()), sandbox("--unsetenv", elsewhere), sandbox()]
    try:
        end_strays()  # or a build of a test beside this one, which ends strays too
        for process in strays:
            assert process.wait(5) == -9
        assert [process.poll() for process in others] == [None] * len(others)
    finally:
        for process in (*strays, *others):
            process.kill()
            process.wait()


@needs_bubblewrap
def test_the_mark_changes_nothing_inside() -> None:
    program = shutil.which("bwrap")
    assert program is not None
    inside = [
        subprocess.run([program, "--dev-bind", "/", "/", *words, "env"], capture_output=True, check=True).stdout
        for words in ((), owner_mark())
    ]
    assert inside[0] == inside[1]


def test_the_mark_names_this_process() -> None:
    assert f"_{os.getpid()}_" in owner_mark()[1]
