# SPDX-License-Identifier: Apache-2.0
"""When a swap has brought an image in: until then, a unit that was asked for it owes it.

Guards: an image is in when the primary slot holds all of it and the trailer says that it was copied, not before.
Leaves to others: what may come up then (`choice.Recording`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from assay.formats.mcuboot_trailer import is_copied, trailer_bytes
from assay.model.board import Board
from assay.simulation.nor_flash import NorFlash, Operation
from assay.stages.powercut.images import CampaignImage

PRIMARY = "primary"


def came_in(
    board: Board,
    base: NorFlash,
    operations: Sequence[Operation],
    images: Mapping[str, CampaignImage],
    words: Iterable[str],
) -> dict[str, int]:
    """After how many of `operations`, from `base` on, each image of `words` was in; without those that never were.

    Raises NorFault.
    """
    found: dict[str, int] = {}
    missing = set(words)
    chip, end = base.copy(), board.flash.areas[PRIMARY].offset + board.flash.areas[PRIMARY].size
    size = trailer_bytes(board.flash.write_alignment)
    for done in range(len(operations) + 1):
        if not missing:
            break
        if done == 0 or _touches(operations[done - 1], end - size, size):
            newly = {word for word in missing if _is_in(board, chip, images[word].data, size)}
            found |= dict.fromkeys(newly, done)
            missing -= newly
        if done < len(operations):
            chip.apply(operations[done])
    return found


def _touches(operation: Operation, address: int, size: int) -> bool:
    return operation.address < address + size and address < operation.address + operation.size


def _is_in(board: Board, chip: NorFlash, image: bytes, size: int) -> bool:
    area = board.flash.areas[PRIMARY]
    end = chip.read(area.offset + area.size - size, size)
    return is_copied(end, board.flash.write_alignment) and chip.read(area.offset, len(image)) == image
