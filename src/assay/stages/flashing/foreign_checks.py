# SPDX-License-Identifier: Apache-2.0
"""What somebody else's board would not take or not start: refused before the first byte.

Leaves to others: whether the images are to be trusted (`formats.foreign_image`), the sequence (`foreign`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from assay.errors import Refused, WrongBoard
from assay.formats.foreign_image import Flag
from assay.interfaces.smp_server import ServerSlot, Slots
from assay.model.foreign_board import ForeignBoard
from assay.stages.flashing.foreign_unit import Answering, Numbered, active

_MODES = {1: "swap", 2: "overwrite-only", 3: "swap", 4: "direct-xip", 5: "direct-xip", 6: "ram-load", 9: "swap"}
"""MCUboot's modes as Zephyr's OS group tells them (`enum mcuboot_mode`); others are of no use here."""


def check_board(board: ForeignBoard, found: Answering) -> None:
    """It is the board that the bench says, as far as such a board tells. Raises `WrongBoard`."""
    wanted = board.smp.info
    if found.app and wanted is not None and wanted not in (found.info or ""):
        says = f"says {found.info!r}" if found.info else "does not say what it is"
        raise WrongBoard(
            f"what answers {says}; the board TOML of {board.name} expects {wanted!r} in it",
            remedy="connect the right board, or correct smp.info; nothing was written",
        )
    told = _MODES.get(found.mode) if found.mode is not None else None
    if told is not None and told != board.mcuboot.mode:
        raise WrongBoard(
            f"its MCUboot was built for {told}, the board TOML of {board.name} says {board.mcuboot.mode}",
            remedy="correct mcuboot.mode; nothing was written",
        )


def check_images(board: ForeignBoard, images: Sequence[Numbered]) -> None:
    """What can be told without the board. Raises `Refused`."""
    for each in images:
        if each.number >= board.mcuboot.images:
            raise Refused(
                f"{each.name}: {board.name} has {board.mcuboot.images} image(s), numbered from 0",
                remedy="correct the number, or mcuboot.images in the board TOML",
            )
        size = board.mcuboot.slot_size
        if size is not None and len(each.image.data) > size:
            raise Refused(
                f"{each.name} has {len(each.image.data)} bytes, a slot of {board.name} {size}", remedy="make it smaller"
            )
        _check_kind(board, each)


def _check_kind(board: ForeignBoard, each: Numbered) -> None:
    says = each.image.says
    if says.flags & Flag.NON_BOOTABLE:
        raise Refused(f"{each.name} is marked as not bootable", remedy="give the image of the app")
    if (board.mcuboot.mode == "ram-load") != bool(says.flags & Flag.RAM_LOAD):
        has = "has" if says.flags & Flag.RAM_LOAD else "has no"
        raise Refused(
            f"{each.name} {has} load address, and {board.name} is a board with mode {board.mcuboot.mode}",
            remedy="sign it for this board (imgtool --load-addr for ram-load, and for no other mode)",
        )


def check_starts(board: ForeignBoard, slots: Slots, each: Numbered) -> None:
    """It would be started from the slot that it goes to. Raises `Refused`."""
    mcuboot, running = board.mcuboot, active(slots, each.number)
    if running is None:
        return
    if mcuboot.sequence.confirms and not running.confirmed and running.image_hash != each.image_hash:
        raise Refused(
            f"the unit tests {running.version} and did not confirm it: another image would be lost",
            remedy="switch its power off and on: it goes back to its confirmed version",
        )
    if mcuboot.sequence.highest_version_boots and _number(each.image.says.version) <= _number(running.version):
        raise Refused(
            f"{each.name} is not higher than {running.version}, which runs: with mode {mcuboot.mode} MCUboot starts "
            "the highest version",
            remedy="sign it with a higher version, or flash it by the bootloader's recovery (--recovery)",
        )
    if mcuboot.mode == "direct-xip" and mcuboot.slots:
        _check_link_address(board, each, running)


def _check_link_address(board: ForeignBoard, each: Numbered, running: ServerSlot) -> None:
    """An image that runs in place is linked for one slot: the one that is free. As its header says, else as the
    reset vector of a Cortex-M tells.
    """
    free = 1 - running.slot
    slots, says = board.mcuboot.slots, each.image.says
    address = says.load_address if says.flags & Flag.ROM_FIXED else _reset_vector(each)
    linked = [slot for slot, place in enumerate(slots) if place.base <= address < place.base + place.size]
    if linked and linked != [free]:
        raise Refused(
            f"{each.name} is linked for slot {linked[0]} ({address:#x}), which runs {running.version}: slot {free} "
            "is free",
            remedy=f"give the image that is linked for slot {free}",
        )


def _number(version: str) -> tuple[int, ...]:
    """As MCUboot compares versions: without the build number. Servers write `1.2.3`, `1.2.3.4` or `1.2.3+4`."""
    parts = version.replace("+", ".").split(".")
    return tuple(int(part) if part.isdecimal() else 0 for part in parts[:3])


def _reset_vector(each: Numbered) -> int:
    """The second word of a Cortex-M vector table, which is where a program begins."""
    says = each.image.says
    start = says.payload_start
    if says.encrypted or len(each.image.data) < start + 8:
        return 0
    return int(struct.unpack_from("<I", each.image.data, start + 4)[0])
