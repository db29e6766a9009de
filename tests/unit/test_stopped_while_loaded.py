# SPDX-License-Identifier: Apache-2.0
"""A signal while the program itself is loaded, or tells what it found: a line and a status of ours, no traceback of
Python's, whose status 1 would be FAIL.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STOPS_AT = """
import os, signal, sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["STOP_AT"]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Stop())
"""
STOPS_IN_TEXT = STOPS_AT.replace("os.kill(os.getpid(), signal.SIGINT)", "exec('raise KeyboardInterrupt')")
"""As a signal that comes while a dataclass is made: from then on Python wants to end by SIGINT."""
STOPPED_AS_IT_TELLS = """
import os, signal, sys
from assay.cli import main, session
session._print = lambda text: os.kill(os.getpid(), signal.SIGTERM)
sys.argv = ["assay", "completion", "bash"]
main.run()
"""


@pytest.mark.parametrize("stops", [STOPS_AT, STOPS_IN_TEXT], ids=["anywhere", "in-text"])
@pytest.mark.parametrize("module", ["assay.errors", "assay.cli.main", "click"])
def test_ctrl_c_while_it_is_loaded(module: str, stops: str, tmp_path: Path) -> None:
    """A soak met it: on a busy machine there is a third of a second for it."""
    (tmp_path / "sitecustomize.py").write_text(stops)
    told = {**os.environ, "PYTHONPATH": str(tmp_path), "STOP_AT": module}
    line = [sys.executable, "-m", "assay", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, env=told, check=False)
    assert (done.returncode, done.stderr) == (3, "ABORTED: stopped before anything was done\n")


def test_a_signal_while_the_answer_is_told() -> None:
    line = [sys.executable, "-c", STOPPED_AS_IT_TELLS]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    said = "ABORTED: stopped by SIGTERM when the work was done, while its answer was told\n"
    assert (done.returncode, done.stderr) == (3, said)


def test_ctrl_c_while_a_verb_is_loaded_is_no_death_by_signal(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(STOPS_IN_TEXT)
    told = {**os.environ, "PYTHONPATH": str(tmp_path), "STOP_AT": "assay.cli.provision"}
    line = [sys.executable, "-m", "assay", "provision", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, env=told, check=False)
    assert (done.returncode, done.stderr.lstrip("\n")) == (3, "ABORTED: stopped before anything was done\n")
