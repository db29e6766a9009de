# SPDX-License-Identifier: Apache-2.0
"""A sample of `nox -s soak`: some updates in a row on one unit, disturbed at random."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import soak as campaign
from life_site import BASE, unit_site
from soak import Soak

UPDATES = 5
BEGUN_WITHIN_S = 60.0


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("board", "seed"), [("ast1030-evb", 4), ("rv32-virt", 9)])
def test_a_row_of_updates_without_a_wrong_outcome(board: str, seed: int, tmp_path: Path) -> None:
    soak = Soak(board, seed, tmp_path / "site")
    soak.run(UPDATES)
    assert soak.tried.total() == UPDATES and not soak.wrong, soak.wrong


@pytest.mark.timeout(300)
def test_one_that_is_stopped_tells_what_it_did_and_leaves_nothing(tmp_path: Path) -> None:
    """Twice, as nox does it: the second signal comes while the first one is obeyed."""
    unit_site("ast1030-evb", tmp_path / "site")  # made before it begins, if it was not
    line = [sys.executable, campaign.__file__, "--board", "ast1030-evb", "--updates", "1000", "--seed", "3"]
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:  # short: a twin's socket lies in it
        (Path(folder) / BASE.name).symlink_to(BASE)
        told = {**os.environ, "TMPDIR": folder}
        run = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=told)
        until = time.monotonic() + BEGUN_WITHIN_S
        while not any("assay update" in each and folder in each for each in running()):
            assert time.monotonic() < until and run.poll() is None, "no update begins"
            time.sleep(0.1)
        run.send_signal(signal.SIGINT)
        time.sleep(0.3)
        run.send_signal(signal.SIGTERM)
        out, said = run.communicate(timeout=200)
        assert (run.returncode, "PARTIAL, stopped by a signal: seed 3" in out) == (3, True), out + said
        assert "Traceback" not in said and "| ast1030-evb | good | " in out
        assert [each for each in running() if folder in each] == []
        assert [each.name for each in Path(folder).iterdir()] == [BASE.name]


def running() -> list[str]:
    """The command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found
