# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C at any moment of a verb on a unit: port, place and unit are left in a known state, the verb says in which, and
the same command then finishes."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ctrl_c_campaign import moments, one_unit
from life_site import APP, ROOT, LifeSite, environment, unit_site

from assay.drivers.locks.file_lock import FileLocks
from assay.drivers.serial_transport import open_serial

MOMENTS = 3
BEFORE_PYTHON = -signal.SIGINT
"""On a busy host the signal may come before Python listens to any: nothing of ours had begun."""
SLOWEST_S = 4.0
"""Moments are drawn up to this many seconds after the start of a verb, beyond its end on an idle machine."""


def interrupted(site: LifeSite, line: tuple[str | Path, ...], moment_s: float) -> tuple[int, str]:
    """Status and standard error of a verb that gets Ctrl-C after `moment_s`."""
    verb = subprocess.Popen(
        site.command(*line), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    )
    time.sleep(moment_s)
    verb.send_signal(signal.SIGINT)
    _, said = verb.communicate(timeout=200)
    return verb.returncode, said


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("board", "verb"), [("ast1030-evb", "update"), ("rv32-virt", "flash")])
def test_ctrl_c_at_any_moment(board: str, verb: str, tmp_path: Path) -> None:
    site, dice = unit_site(board, tmp_path / "site"), random.Random(f"{board}/{verb}")
    site.good("twin", "start", "a", "--baud", "460800")  # the upload is most of the verb
    tty = str(site.folder / "twins" / "a" / "tty")
    try:
        for turn in range(MOMENTS):
            version = ("1.1.0", "1.0.0")[turn % 2]
            line = (verb, f"{APP}@{version}", "--place", "a", "--trust", site.trust)
            line += ("--unsafe-allow-older-version", "a test") if verb == "update" else ()
            status, said = interrupted(site, line, dice.uniform(0.3, SLOWEST_S))
            assert FileLocks().holder(tty) is None, said
            open_serial(tty).close()
            if status not in (0, BEFORE_PYTHON):
                assert status == 3 and "ABORTED" in said, said
                assert "Traceback" not in said
                begun = "the same command goes on from there" in said
                assert begun != ("no run was open: nothing is half done" in said), said
                if begun:
                    assert f"port {tty} is closed, place a is free" in said, said
                    assert "the unit: " in said or " in step " not in said, said
            done = site.good(*line)
            assert done["outcome"] == "PASS"
            told = site.good("evidence", "--place", "a", "--trust", site.trust)
            assert (told["version"], told["kept"]) == (version, True)
        site.good("log", "verify", "--trust", site.trust)
    finally:
        site.verb("twin", "stop", "a", "--force")


@pytest.mark.timeout(400)
def test_ctrl_c_at_any_moment_of_a_provisioning(tmp_path: Path) -> None:
    """That the next unit gets the next number is of the campaign, and of `test_provision_kills`."""
    at = moments(MOMENTS, random.Random("provision"))
    assert len(one_unit(tmp_path / "site", "rv32-virt", at, next_unit=False)) == MOMENTS
