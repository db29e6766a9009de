# SPDX-License-Identifier: Apache-2.0
"""Which release fits which hardware and which other releases, from what a store has; and the versions of formats.

Guards: a row says what `provision`, `flash` and `update` would say, by the same functions.
Leaves to others: whether releases verify (`pipeline.release_gate`); a matrix is an overview, nothing is written by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from assay.interfaces.store import Store
from assay.model.artifact import Release
from assay.model.board import Board
from assay.model.compatibility import hardware_fault, offer_of, offers_of_board, unmet_need
from assay.model.deprecation import deprecated
from assay.pipeline.withdrawals import Withdrawn, withdrawals
from assay.stages.composition.resolve import RESTS_ON


@dataclass(frozen=True)
class Fit:
    """A release on a board: `why_not` is None if the hardware can hold it."""

    board: str
    revision: int
    why_not: str | None


@dataclass(frozen=True)
class Row:
    """One release: what it is, where it fits, with which releases, and what nobody serves.

    `state` is `current`, `deprecated`, `ended` or `withdrawn`; `why` says more of the last three. `alone`: it needs
    nothing but the board.
    """

    release: Release
    state: str
    why: str | None
    hardware: tuple[Fit, ...]
    alone: bool
    fits_with: tuple[str, ...]
    unserved: str | None


def matrix(store: Store, boards: Mapping[str, Board], day: date) -> tuple[Row, ...]:
    """A row for each release of `store`, as of `day` (UTC); those for boards that are not in `boards` fit nothing."""
    releases, taken_back = store.releases(), withdrawals(store)
    states = [_state(each, releases, taken_back, day) for each in releases]
    usable = [each for each, (state, _) in zip(releases, states, strict=True) if state in ("current", "deprecated")]
    return tuple(_row(each, state, why, boards, usable) for each, (state, why) in zip(releases, states, strict=True))


def _state(
    release: Release, releases: Sequence[Release], taken_back: Sequence[Withdrawn], day: date
) -> tuple[str, str | None]:
    for found in taken_back:
        if found.is_about(release):
            return "withdrawn", f"{found.says.at}: {found.says.reason}"
    old = deprecated(release, releases, day)
    if old is None:
        return "current", None
    return ("ended" if old.ended else "deprecated"), old.words


def _row(release: Release, state: str, why: str | None, boards: Mapping[str, Board], usable: Sequence[Release]) -> Row:
    board = boards.get(release.board)
    if board is None:
        return Row(release, state, why, (), False, (), f"there is no board {release.board} in this project")
    fits = (Fit(board.name, board.revision, hardware_fault(release, board)),)
    on_board = offers_of_board(board)
    others = [
        each
        for each in usable
        if each.board == release.board and each.name != release.name and each.kind in RESTS_ON[release.kind]
    ]
    alone = unmet_need(release, on_board) is None
    with_which = tuple(
        each.reference for each in others if not alone and unmet_need(release, (*on_board, offer_of(each))) is None
    )
    unserved = unmet_need(release, (*on_board, *map(offer_of, others)))
    return Row(release, state, why, fits, alone, with_which, unserved)
