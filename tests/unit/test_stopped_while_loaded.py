# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while the program itself is loaded: a line and a status of ours, no traceback of Python's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

INTERRUPTS = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"


def test_ctrl_c_while_it_is_loaded(tmp_path: Path) -> None:
    """A soak met it: on a busy machine there is a third of a second for it."""
    (tmp_path / "click.py").write_text(INTERRUPTS)
    told = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "assay", "--help"], capture_output=True, text=True, env=told, check=False
    )
    assert (done.returncode, done.stderr) == (3, "ABORTED: stopped before anything was done\n")
