# SPDX-License-Identifier: Apache-2.0
"""The real OpenOCD, with its own driver of the nRF52's flash, on a mock of such a chip behind JTAG."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flash_project import FlashProject
from nrf_chip import NrfChip, serve_bits

from assay.drivers.flash.openocd import open_openocd, tcl_word
from assay.drivers.flash.probe_failures import UNPLUGGED
from assay.errors import DeviceTimeout, InfrastructureError, LinkError, StorageError, ToolMissing, UsageFault
from assay.interfaces.flasher import Part

CONFIG = """\
jtag newtap nrf52 cpu -irlen 4 -expected-id 0x4ba00477
dap create nrf52.dap -chain-position nrf52.cpu
target create nrf52.cpu cortex_m -dap nrf52.dap
flash bank nrf52.flash nrf5 0x00000000 0 1 1 nrf52.cpu
cortex_m reset_config sysresetreq
"""
FLASHER = """
[[flashers]]
driver = "openocd"
kind = "nRF52840"
addresses = {{ app = 0x1000 }}
memory = [{{ base = 0, size = 0x100000 }}]
[flashers.options]
serial = false
config = ["chip.cfg"]
commands = ["adapter speed 1000"]
chip_address = 0x10000060
kind_address = 0x10000100
"""


def config(folder: Path, port: int) -> str:
    remote = f"adapter driver remote_bitbang\nremote_bitbang port {port}\nremote_bitbang host 127.0.0.1\n"
    (folder / "chip.cfg").write_text(remote + CONFIG)
    return str(folder / "chip.cfg")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")


def project(folder: Path, chip: str = "efcdab8967452301") -> FlashProject:
    return FlashProject(folder, FLASHER.format(), f'port = "/dev/null"\nchip = "{chip}"')


def nothing(_done: int, _all: int) -> None:
    """No progress is shown."""


def test_it_is_written_verified_and_dumped(tmp_path: Path) -> None:
    data, chip = os.urandom(1500), NrfChip()
    with serve_bits(chip) as port:
        config(tmp_path, port)
        theirs = project(tmp_path)
        status, done = theirs.flash("--image", theirs.file("app.bin", data))
    assert (status, done["outcome"]) == (0, "PASS"), done
    assert bytes(chip.flash[0x1000 : 0x1000 + 1500]) == data and not chip.halted
    record = theirs.record(done)
    assert record["found"]["chip"] == "efcdab8967452301" and "nRF52840-xxAA" in record["found"]["kind"]
    assert [(each["where"], each["by"]) for each in record["read_back"]] == [("0x1000", "bytes")]
    assert any("verified 1500 bytes" in theirs.attachment(each) for each in record["files"].values())


def test_another_chip_gets_nothing(tmp_path: Path) -> None:
    chip = NrfChip(unique=1)
    with serve_bits(chip) as port:
        config(tmp_path, port)
        theirs = project(tmp_path)
        status, done = theirs.flash("--image", theirs.file("app.bin", b"a" * 64))
    assert status == 4 and "is chip 0100000000000000, the bench says efcdab8967452301" in done["error"], done
    assert set(chip.flash) == {0xFF}


def test_another_kind_gets_nothing(tmp_path: Path) -> None:
    chip = NrfChip(part=0x52833)
    with serve_bits(chip) as port:
        config(tmp_path, port)
        theirs = project(tmp_path)
        status, done = theirs.flash("--image", theirs.file("app.bin", b"a" * 64))
    assert status == 4 and "expects 'nRF52840'" in done["error"], done
    assert set(chip.flash) == {0xFF}


def test_a_worn_flash_is_a_fail(tmp_path: Path) -> None:
    chip = NrfChip()
    chip.worn = 0x1010
    with serve_bits(chip) as port:
        config(tmp_path, port)
        theirs = project(tmp_path)
        status, done = theirs.flash("--image", theirs.file("app.bin", b"a" * 64))
    assert (status, done["outcome"]) == (1, "FAIL"), done
    assert "0x00001010" in done["reason"] or "checksum mismatch" in done["reason"], done
    said = theirs.record(done)
    assert said["images"] == {"app.bin": hashlib.sha256(b"a" * 64).hexdigest()}
    assert any("mismatch" in theirs.attachment(digest) for digest in said["files"].values()), said
    assert theirs.log_verifies()
    for digest in said["files"].values():
        (tmp_path / ".assay" / "attachments" / digest).unlink()
    assert not theirs.log_verifies()


@pytest.mark.parametrize("name", ["a b", "[exec id]", "{x", "y}", "$HOME", 'q"q', "back\\slash", "semi;colon #x"])
def test_a_path_is_one_word_of_tcl(tmp_path: Path, name: str) -> None:
    """A file of that name is read by the real OpenOCD, and nothing of the name is run."""
    folder = tmp_path / name
    folder.mkdir()
    chip = NrfChip()
    with serve_bits(chip) as port:
        one = open_openocd("", folder=folder, config=(config(tmp_path, port),), serial=False)
        one.write(one.plan([Part("app", 0x1000, b"abcd")]), nothing)
    assert bytes(chip.flash[0x1000:0x1004]) == b"abcd"


def test_a_cable_that_is_pulled_in_the_middle(tmp_path: Path) -> None:
    chip = NrfChip()
    with serve_bits(chip) as port:
        one = open_openocd("", folder=tmp_path, config=(config(tmp_path, port),), serial=False)
        chip.gone_after = 300
        with pytest.raises(LinkError, match=r"openocd could not write: .*remote_bitbang_read_sample") as told:
            one.write(one.plan([Part("app", 0x1000, b"abcd" * 200)]), nothing)
    assert told.value.remedy == UNPLUGGED
    assert bytes(chip.flash[0x1000 : 0x1000 + 800]) != b"abcd" * 200


def test_words_of_tcl() -> None:
    assert tcl_word("/a b/[c]{d}$e;f") == r"/a\ b/\[c\]\{d\}\$e\;f"
    with pytest.raises(UsageFault):
        tcl_word("a\nshutdown")


def test_no_probe_no_serial_number_and_no_file(tmp_path: Path) -> None:
    probe = ("interface/cmsis-dap.cfg", "target/rp2040.cfg")
    with pytest.raises(LinkError, match="unable to find a matching CMSIS-DAP device"):
        open_openocd("E6614", folder=tmp_path, config=probe).identify()
    with pytest.raises(UsageFault, match="needs the serial number of its probe"):
        open_openocd("", folder=tmp_path, config=probe)
    with pytest.raises(UsageFault, match=r"Can't find nowhere\.cfg"):
        open_openocd("E6614", folder=tmp_path, config=("nowhere.cfg",)).identify()
    with pytest.raises(LinkError):
        open_openocd("", folder=tmp_path, config=(config(tmp_path, 1),), serial=False).identify()


Stand = Callable[[str], None]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Puts a script in OpenOCD's place: for what the real one says only to a probe that is not here."""

    def put(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "openocd").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "openocd").chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return put


@pytest.mark.parametrize(
    ("says", "error", "words", "remedy"),
    [
        ("Open On-Chip Debugger 0.11.0", ToolMissing, "0.11 is too old, 0.12 is needed", "newer"),
        ("Error: libusb_open() failed with LIBUSB_ERROR_ACCESS", LinkError, "LIBUSB_ERROR_ACCESS", "70-assay.rules"),
        ("Error: error writing data: No such device (it may have been disconnected)", LinkError, "No such", "cables"),
        ("Error: CMSIS-DAP command CMD_DAP_TFER failed.", LinkError, "CMD_DAP_TFER", "cables"),
        ("Error: The firmware of the probe is too old", InfrastructureError, "too old", "maker's tool"),
        ("Error: something else\n\n>>>>>>\n", InfrastructureError, r"status 1\): Error: something else", "02-openocd"),
    ],
)
def test_what_it_says_is_told(
    tmp_path: Path, stand_in: Stand, says: str, error: type[Exception], words: str, remedy: str
) -> None:
    stand_in(f'[ "$1" = --version ] && echo "{says if "Chip" in says else "Open On-Chip Debugger 0.12.0"}" && exit 0\n'
             f"printf '{says}\\n'; exit 1")  # fmt: skip
    with pytest.raises(error, match=words) as told:
        open_openocd("E6614", folder=tmp_path / "kept", config=("x.cfg",)).identify()
    assert remedy in told.value.remedy  # type: ignore[attr-defined]


@pytest.mark.parametrize("says", ["ASSAY chip soup", "ASSAY kind 0x", "ASSAY chip 0x123456789a", "ASSAY kind  "])
def test_words_that_are_none_are_an_error_of_ours(tmp_path: Path, stand_in: Stand, says: str) -> None:
    stand_in(f'[ "$1" = --version ] && echo "Open On-Chip Debugger 0.12.0" && exit 0\necho "{says}"')
    one = open_openocd("E6614", folder=tmp_path / "kept", config=("x.cfg",), chip_address=1, kind_address=1)
    with pytest.raises(InfrastructureError, match="could not tell what the chip is"):
        one.identify()


def test_a_tool_that_only_says_that_it_did_is_not_believed(tmp_path: Path, stand_in: Stand) -> None:
    stand_in("exit 0")
    one = open_openocd("E6614", folder=tmp_path / "kept", config=("x.cfg",))
    plan = one.plan([Part("app", 0x1000, b"abcd")])
    with pytest.raises(InfrastructureError, match="could not verify what it wrote"):
        one.write(plan, nothing)
    with pytest.raises(InfrastructureError, match=r"ended well and left no app\.back"):
        one.read_back(plan, nothing)


def test_a_folder_that_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"a file")
    with pytest.raises(StorageError, match=r"cannot keep in .*kept what openocd says"):
        open_openocd("E6614", folder=tmp_path / "kept", config=("x.cfg",)).identify()


def ends(pid: int) -> bool:
    """True when the process is gone, or dead and not collected, within 20 s: a killed one has yet to run for that."""
    for _ in range(200):
        try:
            if (Path("/proc") / str(pid) / "stat").read_text().split()[2] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_one_that_hangs_is_ended_with_its_children(
    tmp_path: Path, stand_in: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.drivers.flash.openocd.ASK_S", 5.0)
    child = tmp_path / "child"
    stand_in(f'[ "$1" = --version ] && echo "Open On-Chip Debugger 0.12.0" && exit 0\n'
             f"sleep 300 & echo $! > {child}; echo Info : asking; wait")  # fmt: skip
    begun_s = time.monotonic()
    with pytest.raises(DeviceTimeout, match=r"did not end within 5 s while it was to ask the chip .* Info : asking"):
        open_openocd("E6614", folder=tmp_path / "kept", config=("x.cfg",)).identify()
    assert time.monotonic() - begun_s < 30
    assert ends(int(child.read_text()))


def test_a_child_that_keeps_the_pipe_open_is_not_waited_for(tmp_path: Path, stand_in: Stand) -> None:
    stand_in('[ "$1" = --version ] && (sleep 300 &) ; echo "Open On-Chip Debugger 0.1.0"')
    with pytest.raises(ToolMissing, match="too old"):
        open_openocd("E6614", folder=tmp_path / "kept", config=("x.cfg",)).identify()
