# SPDX-License-Identifier: Apache-2.0
"""Somebody else's board as a flash sees it: what answers, which image lies and runs in which slot, what came of it.

Values, and questions about what a server told. Leaves to others: what fits the board (`foreign_checks`), the sequence
(`foreign`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from assay.formats.foreign_image import CheckedForeignImage
from assay.interfaces.clock import Clock
from assay.interfaces.smp_server import ServerSlot, Slots, SmpServer
from assay.model.foreign_board import ForeignBoard

Way = Literal["app", "recovery", "none"]


@dataclass(frozen=True)
class Numbered:
    """An image file for MCUmgr's image number `number`."""

    number: int
    image: CheckedForeignImage

    @property
    def image_hash(self) -> bytes:
        """As the image has it."""
        return self.image.says.image_hash

    @property
    def name(self) -> str:
        """For people."""
        return f"image {self.number} {self.image.says.version}"


@dataclass(frozen=True)
class Answering:
    """What answered: the app's server, or a bootloader's, its image state, and what it says that it is."""

    app: bool
    slots: Slots
    info: str | None = None
    mode: int | None = None


class ForeignUnit(Protocol):
    """What the flow needs: the servers of the app and of recovery on one link, the board, and time."""

    @property
    def board(self) -> ForeignBoard:
        """The board that the bench says is there."""
        ...

    @property
    def app(self) -> SmpServer:
        """The app's server."""
        ...

    @property
    def recovery(self) -> SmpServer:
        """MCUboot's; the same link in another framing, perhaps."""
        ...

    @property
    def clock(self) -> Clock:
        """For waiting."""
        ...


@dataclass(frozen=True)
class ReadBack:
    """Where an image is now, and by whom that was said."""

    number: int
    slot: int
    image_hash: str


@dataclass(frozen=True)
class ForeignReport:
    """How it was written, what was read back, and how many bytes travelled."""

    way: Way
    read_back: tuple[ReadBack, ...]
    bytes_sent: int


def active(slots: Slots, number: int) -> ServerSlot | None:
    return next((row for row in slots if row.active and row.image == number), None)


def is_active(slots: Slots, each: Numbered) -> bool:
    row = active(slots, each.number)
    return row is not None and row.image_hash == each.image_hash


def holds(row: ServerSlot, each: Numbered) -> bool:
    return row.image == each.number and row.image_hash == each.image_hash
