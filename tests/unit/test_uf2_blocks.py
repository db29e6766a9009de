# SPDX-License-Identifier: Apache-2.0
"""UF2 files with blocks that no flash gets among the others, and images that would share a block."""

from __future__ import annotations

import pytest
from test_flash_uf2 import RP2040, block

from assay.drivers.flash.uf2_volume import open_uf2
from assay.errors import NotVerified, Refused
from assay.formats.uf2 import Segment, read_uf2
from assay.interfaces.flasher import Part

NOT_FLASH = 0x2001
ONE, TWO = b"a" * 256, b"b" * 256


def test_a_block_with_words_is_counted_and_not_written() -> None:
    """As the format has them: "embedded source code or debug info", numbered with the others."""
    words = block(1, 3, 0, b"source code", flags=NOT_FLASH)
    read = read_uf2(block(0, 3, 0, ONE) + words + block(2, 3, 0x100, TWO))
    assert read.families == ((RP2040, (Segment(0, ONE + TWO),)),)


@pytest.mark.parametrize(
    "raw",
    [
        block(0, 3, 0, ONE) + block(1, 3, 0, b"words", flags=NOT_FLASH),
        block(0, 3, 0, ONE) + block(0, 3, 0, b"words", flags=NOT_FLASH) + block(2, 3, 0x100, TWO),
        block(0, 2, 0, ONE) + block(1, 3, 0, b"words", flags=NOT_FLASH),
        block(0, 3, 0, ONE) + block(0, 3, 0x100, TWO) + block(1, 3, 0, b"words", flags=NOT_FLASH),
        block(0, 2, 0, ONE) + block(1, 3, 0x100, TWO),
    ],
)
def test_no_words_stand_for_a_block_that_is_missing(raw: bytes) -> None:
    with pytest.raises(NotVerified, match="missing, or there twice"):
        read_uf2(raw)


def test_images_that_share_a_block_are_refused() -> None:
    flasher = open_uf2("/nowhere", family=RP2040, board_id="RPI-RP2")
    first = Part("a", 0x10000000, b"a" * 100)
    with pytest.raises(Refused, match="0x10000064 is in the last block of what ends at 0x10000064"):
        flasher.plan([first, Part("b", 0x10000064, b"b" * 100)])
    assert len(flasher.plan([first, Part("b", 0x10000100, b"b" * 100)]).parts) == 2
    assert len(flasher.plan([Part("a", 0x10000000, ONE), Part("b", 0x10000100, TWO)]).parts) == 2
