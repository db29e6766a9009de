# SPDX-License-Identifier: Apache-2.0
"""dfu-util: the real program without a device, and a mock of it that prints what its source has it print with one."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path

import pytest
from flash_project import FlashProject

from assay.drivers import usb_devices
from assay.drivers.flash.dfu_util import DfuFlasher, listed, open_dfu
from assay.errors import LinkError, ToolMissing, UnitFailed, UsageFault
from assay.interfaces.flasher import Part

FLASHER = """
[[flashers]]
driver = "dfu-util"
kind = "Internal Flash"
addresses = { app = 0x08000000 }
memory = [{ base = 0x08000000, size = 0x10000 }]
options = { vendor = 0x0483, product = 0xdf11, alt = "Internal Flash", dfuse = true }
"""
LINE = (
    "Found DFU: [0483:df11] ver=0200, devnum={n}, cfg=1, intf=0, "
    'path="1-{n}", alt={alt}, name="{name}", serial="{serial}"'
)
FLASH, OPTION = "@Internal Flash  /0x08000000/02*016Kg", "@Option Bytes  /0x5200201C/01*128 e"

MOCK = """#!{python}
# A mock of dfu-util 0.11 and of a DfuSe device behind it; its memory is a file.
import json, os, sys
state = json.load(open({state!r}))
words = sys.argv[1:]
print("dfu-util 0.11\\n")
if words == ["-l"]:
    print("\\n".join(state["list"]))
    sys.exit(0)
pairs = [word for word in words if word != "-R"]
took = dict(zip(pairs[::2], pairs[1::2]))
open({log!r}, "a").write(json.dumps(words) + "\\n")
if state.get("fails"):
    print(state["fails"], file=sys.stderr)
    sys.exit(74)
memory = {memory!r}
flash = bytearray(open(memory, "rb").read()) if os.path.exists(memory) else bytearray(b"\\xff" * 0x10000)
at, _, size = took.get("-s", "0x08000000").partition(":")
at = int(at or "0", 0) - 0x08000000
if "-D" in took:
    data = open(took["-D"], "rb").read()
    flash[at:at + len(data)] = data
    if state.get("worn") is not None:
        flash[state["worn"]] = 0
    open(memory, "wb").write(flash)
    for percent in (50, 100):
        sys.stdout.write("%cDownload%c[%-25s] %3d%% 100 bytes" % (13, 9, "=" * (percent // 4), percent))
    print()
if "-U" in took:
    assert not os.path.exists(took["-U"])
    open(took["-U"], "wb").write(flash[at:at + int(size)])
"""


class Desk:
    """What `dfu-util -l` lists, and the device's memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state, self.memory, self.log = folder / "state.json", folder / "memory", folder / "log"
        (folder / "bin").mkdir()
        text = MOCK.format(python=sys.executable, state=str(self.state), log=str(self.log), memory=str(self.memory))
        (folder / "bin" / "dfu-util").write_text(text)
        (folder / "bin" / "dfu-util").chmod(stat.S_IRWXU)
        self.put(
            [LINE.format(n=4, alt=0, name=FLASH, serial="ABC"), LINE.format(n=4, alt=1, name=OPTION, serial="ABC")]
        )

    def put(self, lines: list[str], **more: object) -> None:
        import json

        self.state.write_text(json.dumps({"list": lines, **more}))

    def flasher(self, address: str = "", alt: str = "Internal Flash", dfuse: bool = True) -> DfuFlasher:
        return open_dfu(address, folder=self.folder / "kept", vendor=0x0483, product=0xDF11, alt=alt, dfuse=dfuse)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")
    found = Desk(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return found


def nothing(_done: int, _all: int) -> None:
    """No progress is shown."""


def test_it_is_written_and_read_back(desk: Desk, tmp_path: Path) -> None:
    theirs = FlashProject(tmp_path, FLASHER, 'flash = { dfu-util = "ABC" }')
    data = os.urandom(300)
    status, done = theirs.flash("--image", theirs.file("app.bin", data))
    assert (status, done["outcome"]) == (0, "PASS"), done
    assert desk.memory.read_bytes()[:300] == data
    record = theirs.record(done)
    assert record["found"]["probe"] == "ABC" and [each["by"] for each in record["read_back"]] == ["bytes"]
    assert '"-S", ",ABC", "-p", "1-4", "-a", "0"' in desk.log.read_text()


def test_what_was_read_back_differs(desk: Desk) -> None:
    desk.put([LINE.format(n=4, alt=0, name=FLASH, serial="ABC")], worn=17)
    one = desk.flasher("ABC")
    plan = one.plan([Part("app", 0x08000000, b"a" * 64)])
    one.write(plan, nothing)
    with pytest.raises(UnitFailed, match="differs from 0x8000011 on"):
        one.read_back(plan, nothing)


def test_two_devices_are_a_question(desk: Desk) -> None:
    desk.put([LINE.format(n=n, alt=0, name=FLASH, serial=serial) for n, serial in ((4, "ABC"), (5, "DEF"))])
    with pytest.raises(UsageFault, match=r"2 devices can be it: .*ABC, in socket 1-4.*DEF, in socket 1-5"):
        desk.flasher().identify()
    assert desk.flasher("DEF").identify().probe == "DEF" and desk.flasher("1-4").identify().probe == "ABC"
    with pytest.raises(LinkError, match="GHI with alt 'Internal Flash' is in DFU mode") as told:
        desk.flasher("GHI").identify()
    assert "serial number ABC" in told.value.remedy and not desk.log.exists()


def test_a_device_in_its_app_is_not_flashed(desk: Desk) -> None:
    desk.put([LINE.format(n=4, alt=0, name=FLASH, serial="ABC").replace("Found DFU", "Found Runtime")])
    with pytest.raises(LinkError, match="is in DFU mode"):
        desk.flasher().identify()


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ("dfu-util: Error during download get_status: state = 10, status = 7 (errVERIFY)", UnitFailed),
        ("dfu-util: Cannot open DFU device 0483:df11 found on devnum 4 (LIBUSB_ERROR_ACCESS)", LinkError),
        # a cable that is pulled: while it is written, while it is asked, after a detach (dfu-util 0.11's own words)
        ("dfu-util: Error during download (LIBUSB_ERROR_NO_DEVICE)", LinkError),
        ("dfu-util: Error during download get_status (LIBUSB_ERROR_NO_DEVICE)", LinkError),
        ("dfu-util: Lost device after RESET?", LinkError),
    ],
)
def test_a_device_that_says_no(desk: Desk, says: str, error: type[Exception]) -> None:
    desk.put([LINE.format(n=4, alt=0, name=FLASH, serial="ABC")], fails=says)
    one = desk.flasher("ABC")
    with pytest.raises(error, match=re.escape(says.removeprefix("dfu-util: "))):
        one.write(one.plan([Part("app", 0x08000000, b"a" * 64)]), nothing)


def test_a_device_without_addresses_takes_one_image(desk: Desk) -> None:
    one = desk.flasher("ABC", alt="0", dfuse=False)
    plan = one.plan([Part("app", None, b"a" * 64)])
    one.write(plan, nothing)
    assert [each.by for each in one.read_back(plan, nothing)] == ["accepted"]
    with pytest.raises(UsageFault, match="app has an address"):
        one.plan([Part("app", 0x08000000, b"a")])
    with pytest.raises(UsageFault, match="one image at a time"):
        one.plan([Part("app", None, b"a"), Part("radio", None, b"b")])


def test_the_real_one_without_a_device(tmp_path: Path) -> None:
    one = open_dfu("ABC", folder=tmp_path, vendor=0x0483, product=0xDF11, dfuse=True)
    with pytest.raises(LinkError, match="no device 0483:df11 ABC with alt '0' is in DFU mode"):
        one.identify()
    one._found = listed(LINE.format(n=4, alt=0, name=FLASH, serial="ABC"))[0]
    with pytest.raises(LinkError, match="No DFU capable USB device available"):
        one.write(one.plan([Part("app", 0x08000000, b"a")]), nothing)


def test_no_permission_prints_the_udev_line(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sys" / "1-4"
    folder.mkdir(parents=True)
    words = {"idVendor": "0483", "idProduct": "df11", "busnum": "1", "devnum": "4", "serial": "ABC", "product": "DFU"}
    for name, text in words.items():
        (folder / name).write_text(text + "\n")
    node = tmp_path / "bus" / "001" / "004"
    node.parent.mkdir(parents=True)
    node.write_bytes(b"")
    monkeypatch.setattr(usb_devices, "SYS", tmp_path / "sys")
    monkeypatch.setattr(usb_devices, "NODES", tmp_path / "bus")
    assert desk.flasher().identify().probe == "ABC"
    monkeypatch.setattr(usb_devices.os, "access", lambda path, _mode: path != node)
    with pytest.raises(LinkError, match=r"no permission for .*bus/001/004 \(USB 0483:df11 DFU") as told:
        desk.flasher().identify()
    assert 'ATTRS{idVendor}=="0483"' in told.value.remedy and "hidraw" in told.value.remedy


def test_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing) as told:
        open_dfu("", folder=tmp_path, vendor=0x0483, product=0xDF11).identify()
    assert told.value.remedy == "apt-get install dfu-util"


def test_no_usb_id(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="vendor = 99999 is no USB id"):
        open_dfu("", folder=tmp_path, vendor=99999, product=1)
