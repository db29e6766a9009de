# SPDX-License-Identifier: Apache-2.0
"""Drivers come from entry points: the built-in ones are offered, an unknown name and a broken driver are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.drivers.mcumgr.device import over_transport
from assay.drivers.rom_loader import XmodemRomLoader
from assay.drivers.serial_transport import open_serial
from assay.errors import LinkError, ToolMissing, UsageFault
from assay.pipeline import driver_doors


def test_the_built_in_drivers_come_through_the_door() -> None:
    assert driver_doors.transport_driver("serial") is open_serial
    assert driver_doors.device_driver("mcumgr") is over_transport
    assert driver_doors.loader_driver("xmodem-1k") is XmodemRomLoader


def test_an_unknown_driver_is_told_with_what_there_is() -> None:
    with pytest.raises(UsageFault) as told:
        driver_doors.open_power("steam", "", {})
    assert "'steam'" in told.value.message
    assert "twin" in told.value.remedy


def _package(folder: Path, lines: str) -> None:
    info = folder / "bench_drivers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-drivers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(lines)


def test_somebody_elses_driver_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _package(tmp_path, "[assay.power]\nsteam = bench_drivers_steam:Steam\n")
    (tmp_path / "bench_drivers_steam.py").write_text(
        "from assay.errors import LinkError\n"
        "class Steam:\n    def __init__(self, address):\n        self.address = address\n"
        "    def is_on(self):\n        raise LinkError(f'{self.address} is cold', remedy='light it')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LinkError, match="boiler-1 is cold") as caught:
        driver_doors.open_power("steam", "boiler-1", {}).is_on()
    assert caught.value.layer == "power"


def test_a_driver_that_does_not_load_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _package(tmp_path, "[assay.power]\nsteam = not_installed_anywhere:Steam\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ToolMissing, match="not_installed_anywhere"):
        driver_doors.open_power("steam", "", {})


def test_two_packages_with_one_name_are_a_question_and_not_a_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _package(tmp_path, "[assay.power]\ntwin = other:Twin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageFault, match="two installed packages"):
        driver_doors.open_power("twin", "", {})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"port": 1, "hub": "x"}, "no option 'hub'"),
        ({}, "needs the option 'port'"),
    ],
)
def test_options_that_a_power_driver_does_not_take_are_told(options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageFault, match=says):
        driver_doors.open_power("uhubctl", "1-1", options)
