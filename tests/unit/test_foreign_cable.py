# SPDX-License-Identifier: Apache-2.0
"""Somebody else's board, whose cable is pulled at any byte: one clear error, and the next flash ends well.

Moments are bytes on the line, by a seed, over all of a flash: so each is hit, on whatever machine.
"""

from __future__ import annotations

import random

import pytest
from pseudo_board import BoardLink
from test_foreign_modes import NEW, Bench, bench

from assay.errors import ExitStatus, LinkError

SEED, CUTS = 4, 60
MODES = ("swap", "overwrite-only", "direct-xip")


class CutLink(BoardLink):
    """A link that breaks when `left` bytes went over it, as the serial driver tells it."""

    def __init__(self, unit: Bench, left: float) -> None:
        super().__init__(unit.board)
        self.left, self.used = left, 0

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        return self._count(super().read(max_bytes, timeout_s))

    def write(self, data: bytes) -> None:
        super().write(self._count(data))

    def _count(self, data: bytes) -> bytes:
        self.used += len(data)
        if self.used > self.left:
            raise LinkError("the port pseudo is gone", remedy="plug it in")
        return data


def over(link: CutLink, unit: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The bench with its board behind `link`."""
    monkeypatch.setattr("test_foreign_modes.BoardLink", lambda _board: link)
    return unit


@pytest.mark.parametrize("mode", MODES)
def test_a_cable_that_is_pulled_at_any_byte(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = CutLink(bench(mode), float("inf"))
    over(whole, Bench(whole.board, bench(mode).toml), monkeypatch).flash(NEW)
    dice, hit = random.Random(SEED), 0
    for _ in range(CUTS // len(MODES)):
        unit = bench(mode)
        with monkeypatch.context() as cut:
            link = CutLink(unit, dice.randrange(1, whole.used))
            with pytest.raises(LinkError) as told:
                over(link, unit, cut).flash(NEW)
        hit += 1
        assert told.value.status is ExitStatus.ERROR and told.value.message and told.value.remedy
        again = CutLink(unit, float("inf"))
        unit.board.now_s += 5.0  # somebody plugs it in
        report = over(again, unit, monkeypatch).flash(NEW)
        assert report.read_back[0].image_hash and unit.board.slots[0, report.read_back[0].slot].data == NEW
    assert hit == CUTS // len(MODES)
