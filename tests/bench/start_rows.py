# SPDX-License-Identifier: Apache-2.0
"""Rows about starting: the command itself, and from power on to the first test passed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from life_site import APP, LifeSite
from measuring import Call, in_turn, program, row

from assay.drivers.mcumgr.device import open_device
from assay.drivers.twin.lifecycle import Twin, running_twin
from assay.drivers.twin.twin_folder import TwinFolder
from assay.interfaces.device import Stage

PLACE = "a"


def command_start(rounds: int) -> None:
    """Rows: `assay --help` and `assay --version` against `python -c pass`."""
    python = sys.executable
    taken = in_turn(
        rounds,
        bare=program(python, "-c", "pass"),
        help=program(python, "-m", "assay", "--help"),
        version=program(python, "-m", "assay", "--version"),
    )
    for name in ("help", "version"):
        ours, bare = f"{taken[name] * 1e3:.0f} ms", f"{taken['bare'] * 1e3:.0f} ms (python -c pass)"
        row(f"assay --{name}", ours, bare, taken[name] / taken["bare"])


def _boot(twin: Twin) -> None:
    """Power cycle until the app answers."""
    device = open_device(twin.tty)
    try:
        twin.power.cycle(off_s=0)
        device.wait_ready(Stage.APP, 20)
    finally:
        device.close()


def _first_test(site: LifeSite) -> Call:
    """pytest with one test that asks the unit for its name: plugin, lock, port, proof of the image, test."""
    folder = Path(tempfile.mkdtemp(prefix="assay-bench-"))
    (folder / "test_first.py").write_text("def test_first(unit):\n    assert unit.info.name\n")
    options = ["--assay-place", PLACE, "--assay-release", f"{APP}@1.0.0", "--assay-trust", str(site.trust)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "test_first.py")]
    return program(*command, *options, "--assay-site", str(site.folder))


def first_test_passed(site: LifeSite, rounds: int) -> None:
    """Row: a whole pytest run with one test on the board against the bare boot, and against pytest without a board."""
    bare = Path(tempfile.mkdtemp(prefix="assay-bench-")) / "test_bare.py"
    bare.write_text("def test_bare():\n    pass\n")
    with running_twin(TwinFolder(site.folder / "twins" / PLACE)) as twin:
        taken = in_turn(
            rounds,
            boot=lambda: _boot(twin),
            first=_first_test(site),
            bare=program(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(bare)),
        )
    row("power on to an app that answers", f"{taken['boot'] * 1e3:.0f} ms", "", None)
    floor = taken["boot"] + taken["bare"]
    ours = f"{taken['first'] * 1e3:.0f} ms"
    row("boot to first test passed", ours, f"{floor * 1e3:.0f} ms (boot + bare pytest)", taken["first"] / floor)
