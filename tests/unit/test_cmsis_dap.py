# SPDX-License-Identifier: Apache-2.0
"""The real pyOCD and the real OpenOCD on a debug probe with a chip that is a program (`usb_gadgets`): CMSIS-DAP 2 on
USB, SWD behind it. No plug-in of ours stands in the way, as with `pyocd_mock_probe`, and no other wire.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from flash_project import FlashProject
from test_conformance import conform, passed_all
from test_conformance_power import options
from test_flash_pyocd import FLASHER as PYOCD
from usb_plugged import held, needs_umockdev, plugged

from assay.drivers.flash.openocd import open_openocd
from assay.drivers.flash.pyocd import open_pyocd
from assay.errors import LinkError
from assay.interfaces.flasher import Flasher, Part

pytestmark = [needs_umockdev, pytest.mark.timeout(600)]

CHIP = "efcdab8967452301"
FLASHERS = f"""{PYOCD}
[[flashers]]
driver = "openocd"
kind = "nRF52840"
addresses = {{ app = 0x1000 }}
memory = [{{ base = 0, size = 0x100000 }}]
[flashers.options]
config = ["interface/cmsis-dap.cfg", "no-core.cfg", "target/nrf52.cfg"]
transport = "swd"
chip_address = 0x10000060
kind_address = 0x10000100
"""
CONFIG = {"config": ["interface/cmsis-dap.cfg", "no-core.cfg", "target/nrf52.cfg"], "transport": "swd"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")
    (tmp_path / "no-core.cfg").write_text("set WORKAREASIZE 0\n")  # nothing runs code that is put into RAM


def probe(serial: str = "AAAA1", socket: str = "1-4", **more: object) -> dict[str, object]:
    return {"kind": "probe", "serial": serial, "socket": socket, **more}


def by_pyocd(folder: Path, serial: str = "AAAA1") -> Flasher:
    return open_pyocd(serial, folder=folder / "kept", target="nrf52840", chip_address=0x10000060)


def by_openocd(folder: Path, serial: str = "AAAA1") -> Flasher:
    return open_openocd(serial, folder=folder / "kept", chip_address=0x10000060, **CONFIG)  # type: ignore[arg-type]


BOTH = pytest.mark.parametrize("opened", [by_pyocd, by_openocd])


def nothing(_done: int, _all: int) -> None:
    """No progress is shown."""


@pytest.mark.parametrize("tool", ["pyocd", "openocd"])
def test_it_is_written_and_read_out(tool: str, tmp_path: Path) -> None:
    data = os.urandom(1500)
    theirs = FlashProject(tmp_path, FLASHERS, f'probe = "AAAA1"\nchip = "{CHIP}"')
    with plugged(tmp_path, probe()):
        status, done = theirs.flash("--flasher", tool, "--image", f"app={theirs.file('app.bin', data)}")
    assert (status, done.get("outcome")) == (0, "PASS"), done
    assert held(tmp_path, "1-4")[0x1000 : 0x1000 + 1500] == data
    record = theirs.record(done)
    assert (record["found"]["probe"], record["found"]["chip"]) == ("AAAA1", CHIP)
    assert [(each["by"], each["where"]) for each in record["read_back"]] == [("bytes", "0x1000")]


@BOTH
def test_of_two_probes_the_named_one_is_used(opened: Callable[..., Flasher], tmp_path: Path) -> None:
    with plugged(tmp_path, probe(), probe("BBBB2", "1-5", unique=7)):
        assert opened(tmp_path, "AAAA1").identify().chip == CHIP
        one = opened(tmp_path, "BBBB2")
        assert one.identify().chip == "0700000000000000"
        one.write(one.plan([Part("app", 0x1000, b"a" * 300)]), nothing)
    assert held(tmp_path, "1-5")[0x1000:0x112C] == b"a" * 300 and set(held(tmp_path, "1-4")) == {0xFF}


@BOTH
def test_a_probe_that_is_not_there(opened: Callable[..., Flasher], tmp_path: Path) -> None:
    with plugged(tmp_path, probe()), pytest.raises(LinkError) as told:
        opened(tmp_path, "CCCC3").identify()
    assert told.value.remedy


@BOTH
def test_a_cable_that_is_pulled_in_the_middle(opened: Callable[..., Flasher], tmp_path: Path) -> None:
    data = os.urandom(30_000)
    with plugged(tmp_path, probe(gone_after=3_000)):
        one = opened(tmp_path)
        with pytest.raises(LinkError, match="could not write") as told:
            one.write(one.plan([Part("app", 0x1000, data)]), nothing)
        assert "it went away in the middle" in told.value.remedy
    assert held(tmp_path, "1-4")[0x1000 : 0x1000 + len(data)] != data


def test_openocd_conforms_over_it(tmp_path: Path) -> None:
    where = [
        "--assay-driver-address=AAAA1",
        "--assay-driver-absent=CCCC3",
        "--assay-flash-at=0x1000",
        "--assay-flash-bytes=400",
    ]
    with plugged(tmp_path, probe()):
        passed_all(conform(tmp_path, "flashers", "--assay-driver=openocd", *where, *options(**CONFIG)), 7)
