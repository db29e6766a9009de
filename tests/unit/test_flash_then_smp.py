# SPDX-License-Identifier: Apache-2.0
"""A board with MCUboot that is flashed from outside: the record also has the hash that its app quotes afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from board_server import on_tcp
from flash_project import FlashProject
from nrf_chip import NrfChip, serve_bits
from pseudo_board import PseudoBoard, Slot
from test_flash_openocd import config
from test_foreign_modes import image

BOARD = """
firmware = "mcuboot"
[serial]
baud = 115200
framing = "console"
[smp]
info = "their_board"
reset_timeout_s = 10
[mcuboot]
mode = "swap"
"""
FLASHER = """
[[flashers]]
driver = "openocd"
kind = "nRF52840"
addresses = { 0 = 0x8000, bootloader = 0x0 }
memory = [{ base = 0, size = 0x100000 }]
[flashers.options]
serial = false
config = ["chip.cfg"]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")


def flash(folder: Path, data: bytes, runs: bytes, *words: str) -> tuple[int, Any, FlashProject, NrfChip]:
    board, chip = PseudoBoard("swap", {(0, 0): Slot(runs)}), NrfChip()
    with serve_bits(chip) as port, on_tcp(board) as address:
        config(folder, port)
        theirs = FlashProject(folder, FLASHER, f'port = "{address}"\nflash = {{ openocd = "" }}', BOARD)
        status, done = theirs.flash("--image", theirs.file("app.bin", data), "--flasher", "openocd", *words)
    return status, done, theirs, chip


def test_the_app_quotes_the_hash_of_what_was_written(tmp_path: Path) -> None:
    new = image("1.1.0", size=300)
    status, done, theirs, chip = flash(tmp_path, new, new)
    assert (status, done["outcome"]) == (0, "PASS"), done
    assert bytes(chip.flash[0x8000 : 0x8000 + len(new)]) == new
    record = theirs.record(done)
    assert record["how"] == "quoted" and record["runs"] == [record["images"][0]["image_hash"]]
    assert (record["images"][0]["version"], record["images"][0]["signature"]) == ("1.1.0", "none")


def test_an_app_that_runs_another_image_is_a_fail(tmp_path: Path) -> None:
    """Memory holds what was written, and the bootloader started something else."""
    status, done, _, _ = flash(tmp_path, image("1.1.0", size=300), image("1.0.0", size=300))
    assert (status, done["outcome"]) == (1, "FAIL"), done
    assert "it runs 1.0.0, not app.bin 1.1.0" in done["reason"]


def test_an_image_that_does_not_fit_its_slot_is_refused(tmp_path: Path) -> None:
    board = BOARD + "slot_size = 200\n"
    theirs = FlashProject(tmp_path, FLASHER, 'probe = "P"', board)
    status, done = theirs.flash("--image", theirs.file("app.bin", image("1.1.0", size=300)), "--flasher", "openocd")
    assert status == 4 and "a slot of theirs 200" in done["error"], done
    status, done = theirs.flash(
        "--image", f"1={theirs.file('app.bin', image('1.1.0', size=9))}", "--flasher", "openocd"
    )
    assert status == 4 and "has 1 image(s), numbered from 0" in done["error"], done


def test_a_place_without_a_port_is_not_asked(tmp_path: Path) -> None:
    """It was written and read back; nothing is said about what runs."""
    chip = NrfChip()
    with serve_bits(chip) as port:
        config(tmp_path, port)
        theirs = FlashProject(tmp_path, FLASHER, 'flash = { openocd = "" }', BOARD)
        status, done = theirs.flash("--image", theirs.file("app.bin", image("1.1.0", size=300)), "--flasher", "openocd")
    assert (status, done["outcome"], done["runs"]) == (0, "PASS", []), done
    assert "how" not in theirs.record(done)


def test_what_is_no_image_is_refused_for_a_slot(tmp_path: Path) -> None:
    status, done, _, chip = flash(tmp_path, b"no image", image("1.0.0"))
    assert status == 4 and "not an MCUboot image" in done["error"], done
    assert set(chip.flash) == {0xFF}


def test_a_flasher_that_the_board_does_not_have(tmp_path: Path) -> None:
    status, done, _, _ = flash(tmp_path, image("1.1.0"), image("1.0.0"), "--flasher", "openocs")
    assert status == 2 and "has no flasher 'openocs'" in done["error"] and "openocd" in done["remedy"]
