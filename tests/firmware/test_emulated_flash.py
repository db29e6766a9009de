# SPDX-License-Identifier: Apache-2.0
"""The emulator says of itself when bits are programmed that were not erased: where it said nothing, there were none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import serial
from qemu_board import QemuBoard, wait_for
from run_host import read_mutants
from signed_build import FIRMWARE, Workshop

NO_ERASE = "nothing is erased before it is programmed"
COMES_UP = "ASSAY-(BOOT|APP) 1 .*\n"


def without_erase(workshop: Workshop, folder: Path) -> bytes:
    """The bootloader with that fault, signed by the workshop's key."""
    (fault,) = (mutant for mutant in read_mutants() if mutant.why == NO_ERASE)
    tree = folder / "firmware"
    shutil.copytree(FIRMWARE, tree, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    source = tree / "core" / fault.file
    text = source.read_text()
    for right, wrong in fault.edits:
        text = text.replace(right, wrong)
    source.write_text(text)
    for file in (workshop.key(), workshop.key().with_suffix(".pub")):
        shutil.copy(file, folder)
    return Workshop(workshop.board, folder, workshop.cache, firmware=tree).bootloader()


@pytest.mark.timeout(600)
def test_a_bootloader_that_does_not_erase_is_heard_by_the_oracle(workshop: Workshop, tmp_path: Path) -> None:
    if workshop.board != "ast1030-evb":
        pytest.skip("the flash model of this board says nothing: there the replay of power-cut campaigns finds it")
    board = QemuBoard(workshop.toml, workshop.build("rom") / "part.elf", tmp_path)
    board.program({"boot": without_erase(workshop, tmp_path), "primary": workshop.app("1.0.0"),
                   "secondary": workshop.app("1.1.0", extra="--pad")})  # fmt: skip
    board.on()
    try:
        with serial.Serial(board.port, 115200, timeout=0.05) as link:
            wait_for(link, COMES_UP)
        assert board.oracle_hits() != []
    finally:
        board.close()
