# SPDX-License-Identifier: Apache-2.0
"""What is on a unit, as far as this site knows: board, mask ROM, and the bootloader with the hash measured there.

Guards: a bootloader counts as what the release with its hash says only if that release verifies. One that no release
of the store has offers nothing.
Leaves to others: whether that is enough (`model.compatibility`), measuring.
"""

from __future__ import annotations

from assay.interfaces.store import Store
from assay.model.board import Board
from assay.model.compatibility import Offer, offer_of, offers_of_board
from assay.model.trust import TrustFile
from assay.pipeline.release_gate import verify_release


def offers_on_unit(store: Store, trust: TrustFile, board: Board, bootloader_hash: str) -> tuple[Offer, ...]:
    """All that a unit of `board` whose bootloader has the image hash `bootloader_hash` offers.

    What others rest on has to verify: `NotVerified` and its kin when the bootloader's release does not.
    """
    named = [
        verify_release(store, trust, release.name, release.version, board, withdrawn=True).release
        for release in store.releases()
        if (release.kind, release.board, release.image.image_hash) == ("bootloader", board.name, bootloader_hash)
    ]
    # What was verified is what the store finds under the name: another release of that name is not on the unit.
    there = [release for release in named if release.image.image_hash == bootloader_hash]
    unknown = Offer(f"its bootloader, hash {bootloader_hash[:16]}, is of no release in this site's store and")
    return (*offers_of_board(board), *(map(offer_of, there) if there else [unknown]))
