# SPDX-License-Identifier: Apache-2.0
"""The real dfu-util and the real uhubctl on USB devices that are programs (`usb_gadgets`): no word of them is made up.

What their mocks cannot show: that the tools take our words, and say what our drivers read.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from flash_project import FlashProject
from power_bench import walk
from test_conformance import conform, passed_all
from test_conformance_power import SLOW, options
from usb_plugged import held, needs_umockdev, plugged, powered

from assay.drivers.flash.dfu_util import DfuFlasher, open_dfu
from assay.errors import InfrastructureError, LinkError, Refused, UnitFailed, UsageFault
from assay.interfaces.flasher import Part
from assay.pipeline.driver_doors import open_power

pytestmark = [needs_umockdev, pytest.mark.timeout(600)]

BASE = 0x08000000
FLASHER = """
[[flashers]]
driver = "dfu-util"
kind = "Internal Flash"
addresses = { app = 0x08000000, radio = 0x08008000 }
memory = [{ base = 0x08000000, size = 0x10000 }]
options = { vendor = 0x0483, product = 0xdf11, alt = "Internal Flash", dfuse = true }
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")


def chip(serial: str = "ABC", socket: str = "1-4", **more: object) -> dict[str, object]:
    return {"kind": "dfu", "serial": serial, "socket": socket, **more}


def flasher(folder: Path, address: str = "ABC") -> DfuFlasher:
    return open_dfu(address, folder=folder / "kept", vendor=0x0483, product=0xDF11, alt="Internal Flash", dfuse=True)


def nothing(_done: int, _all: int) -> None:
    """No progress is shown."""


def test_it_is_written_read_back_and_started(tmp_path: Path) -> None:
    theirs = FlashProject(tmp_path, FLASHER, 'flash = { dfu-util = "ABC" }')
    app, radio = os.urandom(5000), os.urandom(2048)
    files = [f"app={theirs.file('app.bin', app)}", f"radio={theirs.file('radio.bin', radio)}"]
    with plugged(tmp_path, chip()):
        status, done = theirs.flash("--image", files[0], "--image", files[1])
        assert (status, done["outcome"]) == (0, "PASS"), done
        assert held(tmp_path, "1-4")[:5000] == app and held(tmp_path, "1-4")[0x8000:0x8800] == radio
    record = theirs.record(done)
    assert record["found"]["probe"] == "ABC" and [each["by"] for each in record["read_back"]] == ["bytes"] * 2
    said = "".join(theirs.attachment(sha256) for sha256 in record["files"].values())
    assert "File downloaded successfully" in said and "Transitioning to dfuMANIFEST" in said


def test_a_chip_that_is_gone_before_it_told_how_its_start_went(tmp_path: Path) -> None:
    with plugged(tmp_path, chip(leaves_at_once=True)):
        one = flasher(tmp_path)
        one.identify()
        one.reset()
        with pytest.raises(LinkError, match="is in DFU mode"):
            one.identify()
    assert any("Error during download get_status" in each.read_text() for each in (tmp_path / "kept").iterdir())


def test_a_worn_flash_is_a_fail(tmp_path: Path) -> None:
    with plugged(tmp_path, chip(worn=17)):
        one = flasher(tmp_path)
        plan = one.plan([Part("app", BASE, b"a" * 300)])
        one.write(plan, nothing)
        with pytest.raises(UnitFailed, match="differs from 0x8000011 on"):
            one.read_back(plan, nothing)


def test_a_device_without_addresses(tmp_path: Path) -> None:
    data = os.urandom(5000)
    with plugged(tmp_path, chip("XYZ", kind="plain-dfu")):
        one = open_dfu("XYZ", folder=tmp_path / "kept", vendor=0x1209, product=0xDB42)
        assert one.identify().kind == "firmware"
        plan = one.plan([Part("app", None, data)])
        one.write(plan, nothing)
        assert held(tmp_path, "1-4")[:5000] == data
        assert [each.by for each in one.read_back(plan, nothing)] == ["accepted"]


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [(3, UnitFailed, "unable to write memory"), (1, Refused, r"status\(1\)"), (11, Refused, r"status\(11\)")],
)
def test_what_the_chip_refuses(tmp_path: Path, status: int, error: type[Exception], words: str) -> None:
    """errWRITE is the unit's fault; errTARGET is an address, errVENDOR a protected memory."""
    with plugged(tmp_path, chip(refuses=status)):
        one = flasher(tmp_path)
        with pytest.raises(error, match=words):
            one.write(one.plan([Part("app", BASE, b"a" * 300)]), nothing)


def test_what_is_outside(tmp_path: Path) -> None:
    with plugged(tmp_path, chip()):
        one = flasher(tmp_path)
        with pytest.raises(Refused, match="is not writeable"):
            one.write(one.plan([Part("app", BASE + 0x10000, b"a" * 300)]), nothing)
        assert set(held(tmp_path, "1-4")) == {0xFF}


def test_a_cable_that_is_pulled_in_the_middle(tmp_path: Path) -> None:
    with plugged(tmp_path, chip(gone_after=2)):
        one, data = flasher(tmp_path), os.urandom(20_000)
        with pytest.raises(LinkError, match="dfu-util could not write") as told:
            one.write(one.plan([Part("app", BASE, data)]), nothing)
        assert "it went away in the middle" in told.value.remedy
        assert held(tmp_path, "1-4")[:4096] == data[:4096] != held(tmp_path, "1-4")[4096:8192]


def test_two_of_them_are_a_question(tmp_path: Path) -> None:
    with plugged(tmp_path, chip(), chip("DEF", "1-5")):
        with pytest.raises(UsageFault, match=r"2 devices can be it: .*serial number .*, in socket 1-.*, in socket 1-"):
            flasher(tmp_path, "").identify()
        one = flasher(tmp_path, "1-5")
        assert one.identify().probe == "DEF"
        one.write(one.plan([Part("app", BASE, b"a" * 300)]), nothing)
        assert held(tmp_path, "1-5")[:300] == b"a" * 300 and set(held(tmp_path, "1-4")) == {0xFF}


HUB: dict[str, object] = {"kind": "hub", "socket": "1-1", "stuck": 3}


def test_a_port_of_a_hub(tmp_path: Path) -> None:
    with plugged(tmp_path, HUB):
        walk(open_power("uhubctl", "1-1", {"port": 2}))
        assert powered(tmp_path, "1-1") == [1, 3, 4]
        with pytest.raises(InfrastructureError, match="port 3 of USB hub 1-1"):
            open_power("uhubctl", "1-1", {"port": 3}).off()
        with pytest.raises(InfrastructureError):
            open_power("uhubctl", "1-1", {"port": 7}).is_on()


def test_the_flasher_conforms(tmp_path: Path) -> None:
    where = ["--assay-driver-address=ABC", "--assay-driver-absent=GHI", f"--assay-flash-at={BASE:#x}"]
    chosen = options(vendor=0x0483, product=0xDF11, alt="Internal Flash", dfuse=True)
    with plugged(tmp_path, chip()):
        passed_all(conform(tmp_path, "flashers", "--assay-driver=dfu-util", *where, *chosen), 7)


def test_it_conforms(tmp_path: Path) -> None:
    with plugged(tmp_path, HUB):
        where = ["--assay-driver-address=1-1", "--assay-driver-absent=99-1"]
        done = conform(tmp_path, "power", "--assay-driver=uhubctl", *where, *options(port=2), *SLOW)
        passed_all(done, 3 if SLOW else 10)
