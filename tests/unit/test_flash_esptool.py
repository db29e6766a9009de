# SPDX-License-Identifier: Apache-2.0
"""Espressif chips: the real esptool and espefuse, and a mock of a chip's ROM loader on a pseudo-terminal."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from esp_rom import CIPHER, FLASHER, EspRom
from flash_project import FlashProject

from assay.drivers.flash.esptool import EsptoolFlasher, _failure, _limit_s, open_esptool
from assay.drivers.flash.tool_program import Said, ToolProgram
from assay.errors import DeviceTimeout, LinkError, PlaceBusy, Refused, ToolMissing, UsageFault
from assay.interfaces.flasher import Part


def project(folder: Path, rom: EspRom, chip: str = "", more: str = "") -> FlashProject:
    place = f'port = "{rom.port}"\n' + (f'chip = "{chip}"' if chip else "")
    return FlashProject(folder, FLASHER.replace(" MORE", f", {more}" if more else ""), place)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")


def flasher(port: str, folder: Path, **more: object) -> EsptoolFlasher:
    words = {"chip": "esp32c3", "before": "no-reset", "after": "no-reset", **more}
    return open_esptool("", folder=folder, port=port, **words)  # type: ignore[arg-type]


def nothing(_done: int, _all: int) -> None:
    """No progress is shown."""


def test_the_real_esptool_writes_and_what_it_wrote_is_read_out(tmp_path: Path) -> None:
    app, bootloader = os.urandom(9000), b"boot" * 700
    with EspRom(mac="60:55:f9:01:02:03") as rom:
        theirs = project(tmp_path, rom, chip="6055f9010203")
        files = [f"app={theirs.file('app.bin', app)}", f"bootloader={theirs.file('boot.bin', bootloader)}"]
        status, done = theirs.flash("--image", files[0], "--image", files[1])
    assert (status, done["outcome"]) == (0, "PASS"), done
    assert rom.flash[0x10000 : 0x10000 + 9000] == app and rom.flash[:2800] == bootloader
    assert done["found"]["chip"] == "6055f9010203" and done["found"]["facts"]["flash encryption"] == "off"
    record = theirs.record(done)
    assert [(each["name"], each["where"], each["by"]) for each in record["read_back"]] == [
        ("app", "0x10000", "bytes"),
        ("bootloader", "0x0", "bytes"),
    ]
    said = [theirs.attachment(sha256) for sha256 in record["files"].values()]
    assert any("Hash of data verified." in text for text in said) and theirs.log_verifies()


def test_flash_encryption_is_not_written_over(tmp_path: Path) -> None:
    with EspRom(crypt_cnt=1, secure_boot=True) as rom:
        theirs = project(tmp_path, rom)
        before = bytes(rom.flash)
        status, done = theirs.flash("--image", f"app={theirs.file('app.bin', b'a' * 64)}")
        assert (status, bytes(rom.flash) == before) == (4, True), done
    assert "flash encryption is on" in done["error"] and "by-chip" in done["remedy"]


def test_how_an_encrypted_chip_is_written_is_said_for_such_a_chip_only(tmp_path: Path) -> None:
    with EspRom(crypt_cnt=3) as rom, pytest.raises(Refused, match="flash encryption is off"):
        one = flasher(rom.port, tmp_path, encrypted="by-chip")  # 3: two bits are set, which is off again
        one.write(one.plan([Part("app", 0x10000, b"a" * 64)]), nothing)
    assert set(rom.flash) == {0xFF}


def test_an_encrypted_chip_is_written_as_the_board_says(tmp_path: Path) -> None:
    """By the chip nothing can be compared, and that is said; beforehand each byte is."""
    part = Part("app", 0x10000, b"\xe9" + os.urandom(2047))
    with EspRom(crypt_cnt=1) as rom:
        one = flasher(rom.port, tmp_path, encrypted="by-chip")
        one.write(one.plan([part]), nothing)
        assert bytes(rom.flash[0x10000 : 0x10000 + 2048]) == bytes(byte ^ CIPHER for byte in part.data)
        assert [each.by for each in one.read_back(one.plan([part]), nothing)] == ["accepted"]
    with EspRom(crypt_cnt=1) as rom:
        one = flasher(rom.port, tmp_path, encrypted="beforehand")
        one.write(one.plan([part]), nothing)
        assert bytes(rom.flash[0x10000 : 0x10000 + 2048]) == part.data
        assert [each.by for each in one.read_back(one.plan([part]), nothing)] == ["bytes"]


def test_another_chip_and_another_kind_are_refused(tmp_path: Path) -> None:
    with EspRom(mac="60:55:f9:01:02:04") as rom:
        theirs = project(tmp_path, rom, chip="6055f9010203")
        status, done = theirs.flash("--image", f"app={theirs.file('app.bin', b'a' * 64)}")
        assert status == 4 and "is chip 6055f9010204, the bench says 6055f9010203" in done["error"], done
        with pytest.raises(Exception, match=r"This chip is ESP32-C3, not ESP32-S3|not ESP32-S3"):
            flasher(rom.port, tmp_path, chip="esp32s3").identify()
        assert set(rom.flash) == {0xFF}


def test_a_worn_flash_is_a_fail_also_when_the_chip_tells_another_hash(tmp_path: Path) -> None:
    """esptool believes the chip's MD5; the bytes that are read out are believed more."""
    with EspRom(wears=0x10123, lies_about_md5=True) as rom:
        theirs = project(tmp_path, rom)
        status, done = theirs.flash("--image", f"app={theirs.file('app.bin', b'a' * 5000)}")
    assert (status, done["outcome"]) == (1, "FAIL"), done
    assert "app: what was read back differs from 0x10123 on" in done["reason"] and done["log_index"] == 0


def test_esptools_own_comparison_is_a_fail_too(tmp_path: Path) -> None:
    with EspRom(wears=0x10123) as rom:
        theirs = project(tmp_path, rom)
        status, done = theirs.flash("--image", f"app={theirs.file('app.bin', b'a' * 5000)}")
    assert (status, done["outcome"]) == (1, "FAIL"), done
    assert "MD5 of file does not match" in done["reason"]


def test_an_address_outside_and_an_unknown_image(tmp_path: Path) -> None:
    with EspRom() as rom:
        theirs = project(tmp_path, rom)
        status, done = theirs.flash("--image", f"app={theirs.file('app.bin', bytes(0x3F0001))}")
        assert status == 4 and "4128769 bytes at 0x10000 do not fit" in done["error"], done
        status, done = theirs.flash("--image", f"radio={theirs.file('radio.bin', b'a')}")
        assert status == 2 and "knows no address for 'radio'" in done["error"]
        status, done = theirs.flash(
            "--image", f"app={theirs.file('app.bin', b'a')}",
            "--image", f"bootloader={theirs.file('boot.bin', bytes(0x10001))}",
        )  # fmt: skip
        assert status == 4 and "two images overlap" in done["error"]
    assert rom.commands == []


def test_a_port_that_a_terminal_has_open_is_busy(tmp_path: Path) -> None:
    """esptool itself does not notice, and the two would take each other's bytes."""
    with EspRom() as rom, Path(rom.port).open("rb", buffering=0) as port:
        terminal = subprocess.Popen(["sleep", "60"], stdin=port)
        try:
            with pytest.raises(PlaceBusy, match=rf"{rom.port} is open in sleep .pid {terminal.pid}"):
                flasher(rom.port, tmp_path).identify()
            assert rom.commands == []
        finally:
            terminal.kill()
            terminal.wait()


def test_a_port_that_a_terminal_has_open_is_not_flashed(tmp_path: Path) -> None:
    with EspRom() as rom, Path(rom.port).open("rb", buffering=0) as port:
        theirs = project(tmp_path, rom)
        terminal = subprocess.Popen(["sleep", "60"], stdin=port)
        port.close()
        try:
            status, done = theirs.flash("--image", f"app={theirs.file('app.bin', b'a' * 64)}")
        finally:
            terminal.kill()
            terminal.wait()
    assert status == 3 and f"sleep (pid {terminal.pid})" in done["error"] and done["remedy"], done
    assert rom.commands == []


def test_a_port_that_is_locked_is_busy_and_not_a_bad_cable(tmp_path: Path) -> None:
    lines = (
        "A fatal error occurred: Could not open /dev/x, the port is busy or doesn't exist.",
        "([Errno 11] Could not exclusively lock port /dev/x: [Errno 11] Resource temporarily unavailable)",
    )
    told = _failure(ToolProgram("esptool", "", tmp_path), Said(2, lines, tmp_path), "write", "/dev/x")
    assert isinstance(told, PlaceBusy) and told.message == "/dev/x is used by another program"


def test_a_slow_line_is_given_the_time_that_it_needs() -> None:
    assert _limit_s(16 * 1024 * 1024, 115200) > 24 * 60 + 100


def test_a_dry_run_says_the_words(tmp_path: Path) -> None:
    with EspRom() as rom:
        theirs = project(tmp_path, rom)
        status, done = theirs.flash("--image", f"app={theirs.file('app.bin', b'a' * 64)}", "--dry-run")
    words = done["plan"][0]["words"]
    assert status == 0 and words[:3] == ["esptool", "--chip", "esp32c3"] and "0x10000" in words
    assert rom.commands == []


def test_a_silent_port_a_missing_port_and_no_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    with pytest.raises(LinkError, match="Failed to connect"):
        flasher(os.ttyname(theirs), tmp_path).identify()
    os.close(ours)
    os.close(theirs)
    with pytest.raises(LinkError, match="could not ask the chip what it is"):
        flasher("/dev/no-such-port", tmp_path).identify()
    monkeypatch.setattr(ToolProgram, "path", lambda self: (_ for _ in ()).throw(ToolMissing("x", remedy=self.install)))
    with pytest.raises(ToolMissing) as missing:
        flasher("/dev/no-such-port", tmp_path).identify()
    assert missing.value.remedy == "pip install 'assay[esptool]'"


def test_a_chip_that_goes_silent_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EspRom() as rom:
        one = flasher(rom.port, tmp_path)
        one.identify()
        rom.mute_after = len(rom.commands) + 40
        monkeypatch.setattr("assay.drivers.flash.esptool._limit_s", lambda _size, _baud: 2.0)
        with pytest.raises((LinkError, DeviceTimeout), match=r"esptool did not end within 2 s while it was to write"):
            one.write(one.plan([Part("app", 0x10000, os.urandom(2_000_000))]), nothing)


def test_options_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="encrypted = 'perhaps' is nothing"):
        flasher("/dev/x", tmp_path, encrypted="perhaps")
    with pytest.raises(UsageFault, match="needs a serial port"):
        flasher("", tmp_path)
    with pytest.raises(UsageFault, match="app has no address"):
        flasher("/dev/x", tmp_path).plan([Part("app", None, b"a")])
