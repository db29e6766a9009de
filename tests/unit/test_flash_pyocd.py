# SPDX-License-Identifier: Apache-2.0
"""The real pyOCD with its own flash algorithm and plug-in door, on a mock of a probe and of an nRF52840."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flash_project import FlashProject
from nrf_chip import NrfChip, serve_words
from pyocd_mock_probe import plugged_in
from qemu_chip import qemu_chip

from assay.drivers.flash.pyocd import PyocdFlasher, open_pyocd
from assay.errors import InfrastructureError, LinkError, Refused, ToolMissing, UnitFailed, UsageFault
from assay.interfaces.flasher import Part

FLASHER = """
[[flashers]]
driver = "pyocd"
kind = "0x00052840"
addresses = { app = 0x1000 }
memory = [{ base = 0, size = 0x100000 }]
options = { target = "nrf52840", chip_address = 0x10000060, kind_address = 0x10000100 }
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")


class Desk:
    """A chip behind probe `AAAA1`, and more probes by other names."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, chip: NrfChip, port: int) -> None:
        self.chip, self.folder = chip, folder
        self._patch, self._port = monkeypatch, port
        self.plug(AAAA1=port)

    def plug(self, **probes: int) -> None:
        for name, value in plugged_in(self.folder / "site", **probes).items():
            self._patch.setenv(name, value)

    def flasher(self, uid: str = "AAAA1", **more: Any) -> PyocdFlasher:
        words = {"target": "nrf52840", "chip_address": 0x10000060, "kind_address": 0x10000100, **more}
        return open_pyocd(uid, folder=self.folder / "kept", **words)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    chip = NrfChip()
    with serve_words(chip) as port:
        yield Desk(tmp_path, monkeypatch, chip, port)


def nothing(_done: int, _all: int) -> None:
    """No progress is shown."""


def test_it_is_written_and_read_out(desk: Desk, tmp_path: Path) -> None:
    data = os.urandom(5000)
    desk.chip.flash[0x1000 + 5000 : 0x3000] = b"keep" * 798
    theirs = FlashProject(tmp_path, FLASHER, 'probe = "AAAA1"\nchip = "efcdab8967452301"')
    status, done = theirs.flash("--image", theirs.file("app.bin", data))
    assert (status, done["outcome"]) == (0, "PASS"), done
    assert bytes(desk.chip.flash[0x1000 : 0x1000 + 5000]) == data
    assert bytes(desk.chip.flash[0x1000 + 5000 : 0x3000]) == b"keep" * 798
    record = theirs.record(done)
    assert record["found"] == {
        "probe": "AAAA1",
        "chip": "efcdab8967452301",
        "kind": "0x00052840; Cortex-M4",
        "facts": {"target of pyOCD": "nrf52840", "debug port": "0x2ba01477"},
    }
    assert [(each["by"], each["where"]) for each in record["read_back"]] == [("bytes", "0x1000")]
    assert not desk.chip.halted and desk.chip.erased_all == 0


def test_the_flash_algorithm_is_run_by_a_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU's Cortex-M0 runs pyOCD's algorithm on QEMU's flash controller, which programs by AND and erases pages."""
    data = os.urandom(1500)
    with qemu_chip(tmp_path) as chip, serve_words(chip) as port:
        desk = Desk(tmp_path, monkeypatch, chip, port)
        one = desk.flasher(target="nrf51", kind_address=-1)
        for bytes_now in (b"\0" * 1500, data):  # zeros first: only an erased page takes the second
            plan = one.plan([Part("app", 0x1000, bytes_now)])
            one.write(plan, nothing)
            assert [each.by for each in one.read_back(plan, nothing)] == ["bytes"]
            assert chip.held(0x1000, 1500) == bytes_now
        assert chip.ran > 6


def test_a_probe_is_named_whole(desk: Desk) -> None:
    """pyOCD takes any part of an id; a technician with two probes must not."""
    with pytest.raises(LinkError, match="there is no probe AAA ") as told:
        desk.flasher("AAA").identify()
    assert "AAAA1 (Assay mock of a probe)" in told.value.remedy
    with pytest.raises(UsageFault, match="needs the unique id") as told:
        desk.flasher("").identify()
    assert "AAAA1" in told.value.remedy


def test_another_chip_behind_the_probe(desk: Desk, tmp_path: Path) -> None:
    theirs = FlashProject(tmp_path, FLASHER, 'probe = "AAAA1"\nchip = "0000000000000000"')
    status, done = theirs.flash("--image", theirs.file("app.bin", b"a" * 64))
    assert status == 4 and "is chip efcdab8967452301, the bench says 0000000000000000" in done["error"], done
    assert set(desk.chip.flash) == {0xFF}


def test_a_locked_chip_is_not_unlocked(desk: Desk) -> None:
    """pyOCD does so by default, and erases it."""
    desk.chip.locked = True
    with pytest.raises(Refused, match="APPROTECT enabled"):
        desk.flasher().identify()
    assert (desk.chip.erased_all, desk.chip.locked) == (0, True)


def test_a_worn_flash_is_a_fail(desk: Desk) -> None:
    one, desk.chip.worn = desk.flasher(), 0x1010
    plan = one.plan([Part("app", 0x1000, b"a" * 64)])
    one.write(plan, nothing)
    with pytest.raises(UnitFailed, match="app: what was read back differs from 0x1010 on"):
        one.read_back(plan, nothing)


def test_a_cable_that_is_pulled_in_the_middle(desk: Desk) -> None:
    one, desk.chip.gone_after = desk.flasher(), 1000
    with pytest.raises(LinkError, match=r"ProbeDisconnected|the probe is gone"):
        one.write(one.plan([Part("app", 0x1000, b"abcd" * 3000)]), nothing)


def test_what_is_no_flash_is_not_written(desk: Desk) -> None:
    one = desk.flasher()
    with pytest.raises(Refused, match="no flash region holds 64 bytes at 0x20000000"):
        one.write(one.plan([Part("app", 0x20000000, b"a" * 64)]), nothing)
    assert set(desk.chip.flash) == {0xFF}


def test_a_probe_with_an_old_firmware_and_an_unknown_target(desk: Desk) -> None:
    desk.plug(OLD=0)
    with pytest.raises(InfrastructureError, match="firmware of this probe is too old") as told:
        desk.flasher("OLD").identify()
    assert told.value.remedy == "the probe's firmware is too old: update it with its maker's tool"


def test_an_unknown_target(desk: Desk) -> None:
    with pytest.raises(UsageFault, match="no_such_chip not recognized"):
        desk.flasher(target="no-such-chip").identify()


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.drivers.flash.pyocd.find_spec", lambda _name: None)
    with pytest.raises(ToolMissing) as told:
        open_pyocd("X", folder=tmp_path, target="nrf52840").identify()
    assert told.value.remedy == "pip install 'assay[pyocd]'"
