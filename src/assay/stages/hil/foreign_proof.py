# SPDX-License-Identifier: Apache-2.0
"""What somebody else's board shows before and after a test: that its server names the images under test as active.

Guards: no test counts without that. It is no proof: the hash is quoted from the image's TLV by the firmware under test,
and which unit this is nobody can say.
Leaves to others: where the expected hashes come from, and whether it is the board that was meant (the pipeline).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assay.errors import InfrastructureError, at_layer
from assay.interfaces.device import Console
from assay.interfaces.power import Power
from assay.interfaces.smp_server import ServerSlot, Slots, SmpServer
from assay.model.foreign_board import ForeignBoard
from assay.model.foreign_unit import ForeignSlotSeen
from assay.stages.hil.unit_under_test import UnitPower

HASH_DIGITS = 16
_FLASH = "flash it: assay flash --image FILE --place PLACE --trust TRUST"


@dataclass(frozen=True)
class ForeignExpected:
    """An image under test: MCUmgr's number of it, its hash, and what people call it."""

    number: int
    image_hash: bytes
    name: str


@dataclass(frozen=True)
class ForeignAnswer:
    """What answered: the app's server or a bootloader's, the image state, and what it says that it is."""

    address: str
    app: bool
    slots: Slots
    says: str


@dataclass(frozen=True)
class ForeignUnit:
    """The unit on the place, whose server named the images under test as active just before this test."""

    place: str
    board: ForeignBoard
    images: tuple[ForeignExpected, ...]
    says: str
    slots: Slots

    @property
    def serial(self) -> None:
        """No such board has one that it can prove."""
        return

    @property
    def emulated(self) -> bool:
        """True for a board that is one of an emulator."""
        return self.board.emulated

    def seen(self) -> tuple[ForeignSlotSeen, ...]:
        """The slots, for an event or a record."""
        return tuple(_seen(row) for row in self.slots)


class ForeignPower(UnitPower):
    """Power of a board that takes no question while it starts: `on` returns when it has nothing more to say."""

    def __init__(
        self, power: Power, console: Console, sleep: Callable[[float], None], server: SmpServer, board: ForeignBoard
    ) -> None:
        super().__init__(power, console, sleep)
        self._server = server
        self._board = board

    def on(self) -> None:
        """Power on, and silence while the unit boots."""
        super().on()
        settle(self._server, self._board)


def settle(server: SmpServer, board: ForeignBoard) -> None:
    """Say nothing until a board that was just reset has started (docs/adr/0163)."""
    server.listen(board.smp.reset_quiet_s, board.smp.reset_timeout_s)


def ask(server: SmpServer, board: ForeignBoard) -> ForeignAnswer:
    """Wait for a server, and hear what it says. Raises link errors."""
    with at_layer("link"):
        if server.reset_asked:
            settle(server, board)
        slots = server.wait_for_slots(board.smp.reset_timeout_s, "the app")
        app = server.is_app()
        return ForeignAnswer(server.address, app, slots, (server.application_info() if app else None) or "")


def check_runs(answer: ForeignAnswer, images: Sequence[ForeignExpected]) -> None:
    """The app answers, and names the images as active. Raises InfrastructureError of layer flasher."""
    with at_layer("flasher"):
        if not answer.app:
            raise InfrastructureError(f"{answer.address}: the bootloader answers, no app runs", remedy=_FLASH)
        for each in images:
            _check(each, answer.slots)


def _check(each: ForeignExpected, slots: Slots) -> None:
    active = next((row for row in slots if row.image == each.number and row.active), None)
    if active is not None and active.image_hash == each.image_hash:
        return
    told = (active.image_hash or b"").hex()[:HASH_DIGITS] if active is not None else ""
    raise InfrastructureError(
        f"the unit says that it runs {told or 'no image of that number'}, under test is {each.name} "
        f"({each.image_hash.hex()[:HASH_DIGITS]})",
        remedy=_FLASH,
    )


def _seen(row: ServerSlot) -> ForeignSlotSeen:
    return ForeignSlotSeen(
        number=row.image,
        slot=row.slot,
        version=row.version,
        image_hash=row.image_hash.hex() if row.image_hash is not None else None,
        active=row.active,
        confirmed=row.confirmed,
    )
