# SPDX-License-Identifier: Apache-2.0
"""Progress of uploads: bars on a terminal, lines without one, nothing in CI, and never a byte on stdout."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

SHOW = """
import sys
from pathlib import Path
from assay.cli.session import Session
from assay.cli.upload_progress import upload_progress
with upload_progress(Session(Path("x"), False)) as display:
    display.say("write-app: done")
    show = display.progress_for("app demo-sensor@1.0.0")
    for done in range(0, 101, 10):
        show(done * 1000, 100000)
print("rich" in sys.modules)
"""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "FORCE_COLOR")}
    return {**kept, "TERM": "xterm-256color", **more}


def on_terminal(**more: str) -> tuple[str, str]:
    """What goes to stdout, and to a terminal on stderr."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen([sys.executable, "-c", SHOW], stdout=subprocess.PIPE, stderr=theirs, env=environment(**more))
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # the other end was closed
        pass
    os.close(ours)
    assert run.stdout is not None
    out = run.stdout.read().decode()
    assert run.wait(timeout=30) == 0
    return out, shown.decode()


@pytest.mark.parametrize(("more", "said"), [({"CI": "1"}, ""), ({}, "write-app: done\n")])
def test_without_a_terminal_there_are_lines_and_in_ci_nothing(more: dict[str, str], said: str) -> None:
    run = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, env=environment(**more))
    assert (run.stdout, run.stderr) == ("False\n", said), "rich is not imported where nothing is drawn"


def test_on_a_terminal_there_is_a_bar_and_its_lines() -> None:
    out, shown = on_terminal()
    assert out == "True\n"
    assert "write-app: done" in shown
    assert "demo-sensor@1.0.0" in shown
    assert "\x1b[38;5;" in shown or "\x1b[3" in shown


def test_no_color_is_honoured() -> None:
    _, shown = on_terminal(NO_COLOR="1")
    assert "demo-sensor@1.0.0" in shown
    assert "\x1b[38;5;" not in shown
    assert "\x1b[35m" not in shown


def test_ci_on_a_terminal_is_quiet() -> None:
    assert on_terminal(CI="1") == ("False\n", "")
