# SPDX-License-Identifier: Apache-2.0
"""What is burnt in a chip is read by the real espefuse, from the real espefuse's own emulation of a chip's eFuses
(`--virt`): every kind that it knows, as it comes and with fuses that espefuse itself burnt. Nothing here burns any.

The emulation stands where the port would be: a program `espefuse` on PATH adds `--virt` to the words of the driver.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from esp_rom import FLASHER, EspRom
from flash_project import FlashProject

from assay.drivers.flash.esptool import EsptoolFlasher, open_esptool
from assay.errors import InfrastructureError

REAL = Path(sys.executable).with_name("espefuse")
UNTOLD = {"esp32e22"}
"""Kinds whose eFuses espefuse knows without one for flash encryption."""
KINDS_LEAST = 14
"""Kinds of chip that espefuse 5.6 emulates; a later one may know more."""


def kinds() -> list[str]:
    """All that the installed espefuse knows, by its folders: it is not imported here either."""
    found = find_spec("espefuse")
    assert found is not None and found.origin is not None
    return sorted(folder.name for folder in (Path(found.origin).parent / "efuse").glob("esp32*"))


@dataclass
class Fuses:
    """The eFuses of one emulated chip, in a file."""

    chip: str
    file: Path

    @property
    def names(self) -> tuple[str, str]:
        """Of the counter of flash encryption, and of what turns secure boot on."""
        return ("FLASH_CRYPT_CNT", "ABS_DONE_1") if self.chip == "esp32" else ("SPI_BOOT_CRYPT_CNT", "SECURE_BOOT_EN")

    def burn(self, *words: str) -> None:
        """By the real espefuse, before the driver looks."""
        virtual = (str(REAL), "--chip", self.chip, "--virt", "--path-efuse-file", str(self.file), "--do-not-confirm")
        subprocess.run([*virtual, "burn-efuse", *words], check=True, capture_output=True, timeout=60)

    def flasher(self, folder: Path, port: str = "/dev/no-such-port") -> EsptoolFlasher:
        return open_esptool("", folder=folder, port=port, chip=self.chip, before="no-reset", after="no-reset")


@pytest.fixture
def fuses(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fuses:
    """Of the kind that the test names, else of an ESP32-C3; as it comes from its maker."""
    made = Fuses(getattr(request, "param", "esp32c3"), tmp_path / "efuses")
    beside = tmp_path / "bin" / "espefuse"
    beside.parent.mkdir()
    beside.write_text(f'#!/bin/sh\nexec "{REAL}" --virt --path-efuse-file "{made.file}" "$@"\n')
    beside.chmod(0o755)
    monkeypatch.setenv("PATH", str(beside.parent), prepend=":")
    monkeypatch.setenv("CI", "1")
    monkeypatch.chdir(tmp_path)
    return made


def test_the_kinds_are_found() -> None:
    assert len(kinds()) >= KINDS_LEAST and {"esp32", "esp32c3", "esp32s3", "esp32p4"} <= set(kinds())


@pytest.mark.parametrize("fuses", sorted(set(kinds()) - UNTOLD), indirect=True)
def test_what_is_burnt_is_read_of_every_kind(fuses: Fuses, tmp_path: Path) -> None:
    """And the eFuses are as before: what the driver runs is a command that reads."""
    one, (count, boot) = fuses.flasher(tmp_path / "said"), fuses.names
    assert one._burnt() == ("off", "off")
    fuses.burn(count, "1", boot, "1")
    burnt = fuses.file.read_bytes()
    assert one._burnt() == ("on", "on")
    assert fuses.file.read_bytes() == burnt


def test_an_even_count_of_bits_is_off_again(fuses: Fuses, tmp_path: Path) -> None:
    told = []
    for count in ("1", "3"):
        fuses.burn("SPI_BOOT_CRYPT_CNT", count)
        told.append(fuses.flasher(tmp_path / "said")._burnt())
    assert told == [("on", "off"), ("off", "off")]


def test_an_old_secure_boot_of_the_esp32_counts(tmp_path: Path, fuses: Fuses) -> None:
    fuses.chip = "esp32"
    fuses.burn("ABS_DONE_0", "1")
    assert fuses.flasher(tmp_path / "said")._burnt() == ("off", "on")


def test_a_chip_whose_emulated_fuses_say_encryption_gets_nothing(fuses: Fuses, tmp_path: Path) -> None:
    """By the verb; the rest of the chip is the mock of its ROM, whose own eFuses say that encryption is off."""
    fuses.burn("SPI_BOOT_CRYPT_CNT", "1")
    burnt = fuses.file.read_bytes()
    with EspRom() as rom:
        theirs = FlashProject(tmp_path, FLASHER.replace(" MORE", ""), f'port = "{rom.port}"\n')
        status, done = theirs.flash("--image", f"app={theirs.file('app.bin', b'a' * 64)}")
    assert status == 4 and "flash encryption is on" in done["error"], done
    assert set(rom.flash) == {0xFF} and fuses.file.read_bytes() == burnt


@pytest.mark.parametrize(
    ("fuses", "says"),
    [("esp32e22", "does not tell of this esp32e22 whether flash encryption"), ("esp8266", "could not read the eFuses")],
    indirect=["fuses"],
)
def test_what_espefuse_does_not_tell_is_never_off(fuses: Fuses, tmp_path: Path, says: str) -> None:
    """Kinds that it does not know, or not so far."""
    with pytest.raises(InfrastructureError, match=f"espefuse {says}"):
        fuses.flasher(tmp_path / "said")._burnt()
