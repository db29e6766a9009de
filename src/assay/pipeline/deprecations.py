# SPDX-License-Identifier: Apache-2.0
"""What later releases of a module say about older ones, where it matters: before a release is written to a unit.

Guards: a deprecation counts only if the release that says it verifies. No new unit gets a release that ended; a unit in
use is only told of, since a bench has to be able to bring it back to what it ran.
Leaves to others: which versions and days are meant (`model.deprecation`), withdrawals (`withdrawals`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from assay.errors import Refused
from assay.interfaces.step_book import Say
from assay.interfaces.store import Store
from assay.model.artifact import Release
from assay.model.board import Board
from assay.model.deprecation import deprecated
from assay.model.trust import TrustFile
from assay.pipeline.release_gate import verify_release
from assay.pipeline.site import Site


def tell_deprecated(
    site: Site, trust: TrustFile, board: Board, releases: Sequence[Release], say: Say, *, new_unit: bool = False
) -> None:
    """Say which of `releases` are deprecated today (UTC). Raises `Refused` for one that ended, if the unit is new."""
    day, every = site.clock.now().date(), site.store.releases()
    for release in releases:
        same = [each for each in every if (each.name, each.board) == (release.name, release.board)]
        found = deprecated(release, tuple(speakers(site.store, trust, same, {board.name: board})), day)
        if found is None:
            continue
        if found.ended and new_unit:
            remedy = f"take a newer release of {release.name}; units that are in use can still be flashed with this one"
            raise Refused(f"{release.reference} is {found.words}", remedy=remedy)
        say(f"caution: {release.reference} is {found.words}")


def speakers(
    store: Store, trust: TrustFile, releases: Sequence[Release], boards: Mapping[str, Board]
) -> Iterator[Release]:
    """Those that deprecate others, and verify. One that is not for this revision may still speak."""
    for release in releases:
        contract = release.artifact.contract
        if contract is None or not contract.deprecations:
            continue
        board = boards[release.board].model_copy(update={"revision": release.min_revision})
        try:
            yield verify_release(store, trust, release.name, release.version, board).release
        except Refused:
            continue
