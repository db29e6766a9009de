# SPDX-License-Identifier: Apache-2.0
"""Which releases of a store may become part of a product on a day, and which may not, and why.

Guards: withdrawn releases are never considered, nor those that ended or that the board cannot hold; a deprecation
counts only if the release that says it verifies.
Leaves to others: choosing (`stages.composition`), and verifying what was chosen (`pipeline.product_resolve`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from assay.interfaces.store import Store
from assay.model.artifact import Release
from assay.model.board import Board
from assay.model.compatibility import hardware_fault
from assay.model.deprecation import deprecated
from assay.model.product import Product
from assay.model.trust import TrustFile
from assay.pipeline.deprecations import speakers
from assay.pipeline.withdrawals import Withdrawn, withdrawals
from assay.stages.composition.resolve import Candidate, LeftOut


@dataclass(frozen=True)
class Considered:
    """What a store has for a product."""

    candidates: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]

    def without(self, release: Release, why: str) -> Considered:
        """The same, less a release that turned out not to count."""
        rest = tuple(each for each in self.candidates if each.release is not release)
        return Considered(rest, (*self.left_out, LeftOut(release.reference, release.board, why)))


def consider(
    store: Store, trust: TrustFile, product: Product, boards: Mapping[str, Board], default: str, day: date
) -> Considered:
    """The releases of the modules of `product` on `boards`, as of `day` (UTC)."""
    wanted = {(module.board or default, module.name) for module in product.modules}
    releases = [each for each in store.releases() if (each.board, each.name) in wanted]
    said_by = tuple(speakers(store, trust, releases, boards))
    taken_back = withdrawals(store)
    candidates, left_out = [], []
    for release in releases:
        why = why_not(release, boards[release.board], taken_back) or _ended(release, said_by, day)
        if why is not None:
            left_out.append(LeftOut(release.reference, release.board, why))
            continue
        old = deprecated(release, said_by, day)
        candidates.append(Candidate(release, old.words if old is not None else None))
    return Considered(tuple(candidates), tuple(left_out))


def why_not(release: Release, board: Board, taken_back: Sequence[Withdrawn]) -> str | None:
    """Why `release` is not for `board`, whatever the day: it was withdrawn, or the hardware cannot hold it."""
    for found in taken_back:
        if found.is_about(release):
            return f"withdrawn on {found.says.at}: {found.says.reason}"
    return hardware_fault(release, board)


def _ended(release: Release, said_by: Sequence[Release], day: date) -> str | None:
    found = deprecated(release, said_by, day)
    return found.words if found is not None and found.ended else None
