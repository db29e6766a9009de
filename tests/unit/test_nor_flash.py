# SPDX-License-Identifier: Apache-2.0
"""The simulated NOR chip and what cuts leave of its operations: never more than a real chip could hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.model.powercut import Tear
from assay.simulation.nor_flash import Erase, NorFault, NorFlash, Program
from assay.simulation.torn_flash import tears_of, torn

SECTOR = 16
SIZE = 4 * SECTOR
contents = st.binary(min_size=SIZE, max_size=SIZE)


def test_programming_clears_bits_and_erasing_sets_them() -> None:
    chip = NorFlash(SIZE, SECTOR)
    chip.apply(Program(3, b"\xf0\x0f"))
    chip.apply(Program(3, b"\x80"))
    assert chip.read(2, 4) == b"\xff\x80\x0f\xff"
    chip.apply(Erase(0, SECTOR))
    assert chip == NorFlash(SIZE, SECTOR)


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (Program(3, b"\x81"), "programmed without erase"),
        (Program(SIZE - 1, b"\0\0"), "do not lie within"),
        (Program(-1, b"\0"), "do not lie within"),
        (Erase(8, SECTOR), "does not lie on sectors"),
        (Erase(SIZE, SECTOR), "do not lie within"),
    ],
)
def test_what_no_chip_can_do_is_a_fault(operation: Program | Erase, words: str) -> None:
    chip = NorFlash(SIZE, SECTOR)
    chip.apply(Program(3, b"\x80"))
    with pytest.raises(NorFault, match=words):
        chip.apply(operation)


@given(contents)
def test_content_is_kept(content: bytes) -> None:
    assert NorFlash.of_content(content, SECTOR).read(0, SIZE) == content


@given(contents, st.binary(min_size=1, max_size=SECTOR), st.sampled_from(list(Tear)), st.text(max_size=4))
def test_a_torn_program_clears_only_what_it_was_to_clear(old: bytes, wanted: bytes, tear: Tear, seed: str) -> None:
    chip = NorFlash.of_content(old, SECTOR)
    data = bytes(a & b for a, b in zip(wanted, old, strict=False))
    left = torn(chip, Program(0, data), tear, seed).read(0, SIZE)
    assert left[len(data) :] == old[len(data) :]
    for was, now, asked in zip(old, left, data, strict=False):
        assert now & ~was & 0xFF == 0, "a bit was set"
        assert tear is Tear.ZEROS or asked & ~now & 0xFF == 0, "a bit was cleared that nobody wanted clear"


@given(contents, st.integers(0, 3), st.sampled_from(list(Tear)))
def test_a_torn_erase_keeps_to_its_sector_and_follows_from_its_seed(old: bytes, sector: int, tear: Tear) -> None:
    chip, operation = NorFlash.of_content(old, SECTOR), Erase(sector * SECTOR, SECTOR)
    left = torn(chip, operation, tear, "7").read(0, SIZE)
    assert left[: sector * SECTOR] == old[: sector * SECTOR]
    assert left[(sector + 1) * SECTOR :] == old[(sector + 1) * SECTOR :]
    assert left == torn(chip, operation, tear, "7").read(0, SIZE)


def test_states_that_are_the_same_are_tried_once() -> None:
    chip, every = NorFlash(SIZE, SECTOR), tuple(Tear)
    assert tears_of(chip, Program(0, b"\xff\xff"), every, str) == []  # it changes nothing
    assert tears_of(chip, Erase(0, SECTOR), every, str) == []
    assert tears_of(chip, Program(0, b"\xfe"), every, str) == [Tear.BEFORE]  # one bit: there or not
    assert tears_of(chip, Program(0, b"\x00\x00"), every, str) == [Tear.BEFORE, Tear.FIRST, Tear.LAST, Tear.BITS]
    chip.apply(Program(0, b"\x00\xf0"))
    assert Tear.ZEROS in tears_of(chip, Erase(0, SECTOR), every, str)
