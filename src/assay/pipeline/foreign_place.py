# SPDX-License-Identifier: Apache-2.0
"""A place with somebody else's board: make it ours, and see what answers there.

Guards: the place is locked before its port is opened; only MCUmgr's own questions are asked, so that a stranger's board
runs no command by accident. Leaves to others: what is written (`stages.flashing.foreign`).
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from assay.errors import DeviceTimeout, Interrupted, LinkError, UsageFault, WrongUnit
from assay.interfaces.clock import Clock
from assay.interfaces.power import Power
from assay.interfaces.smp_server import ServerSlot, SmpServer
from assay.interfaces.step_book import Say, say_nothing
from assay.interfaces.transport import Transport
from assay.model.flasher_settings import PlainBoard
from assay.model.foreign_board import ForeignBoard, Recovery
from assay.model.foreign_board import SmpServer as Settings
from assay.pipeline import driver_doors
from assay.pipeline.manifest_files import AnyBoard
from assay.pipeline.place_hold import hold
from assay.pipeline.places import PlaceAddress, find_place, switch_of
from assay.stages.flashing.foreign_unit import Answering

if TYPE_CHECKING:
    from assay.pipeline.site import Site

SERVER = "mcumgr"
FIND_TIMEOUT_S = 10.0
"""Seconds until something answers: a board that was just switched on verifies and perhaps swaps first."""
TRY_S = 2.5
"""Seconds for each framing that the board may speak."""


@dataclass
class ForeignPlace:
    """A place with somebody else's board (`stages.flashing.foreign_unit.ForeignUnit`), ours until it is closed."""

    name: str
    board: ForeignBoard
    transport: Transport
    app: SmpServer
    recovery: SmpServer
    clock: Clock
    power: Power | None = None
    features: tuple[str, ...] = ()
    _held: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()
        if isinstance(error, Interrupted):
            error.add_note(f"port {self.transport.address} is closed, place {self.name} is free")


def open_foreign_place(
    site: Site, name: str, *, verb: str, wait_s: float = 0.0, bench: Path | None = None, say: Say = say_nothing
) -> ForeignPlace:
    """Lock the place and open its port. Raises `PlaceBusy` naming the holder after `wait_s` seconds, `UsageFault`,
    `LinkError`; `WrongUnit` when the bench names a chip, which nobody could compare.
    """
    address = find_place(site, name, bench=bench)
    board = _that_speaks_smp(name, address.board)
    if address.chip is not None:
        raise _no_chip_over_smp(name, address.chip, board)
    with ExitStack() as held:
        port = hold(address, held, verb=verb, wait_s=wait_s, say=say)
        return _connected(site, replace(address, port=port), board, held, bench, heard_as=address.port)


def _no_chip_over_smp(name: str, chip: bytes, board: ForeignBoard) -> WrongUnit:
    flashers = ", ".join(each.called for each in board.flashers)
    by = f"flash it by a flasher that reads the chip (--flasher, of: {flashers}), or " if flashers else ""
    return WrongUnit(
        f"the bench says that chip {chip.hex()} has to answer on {name}, and its chip cannot be told over SMP",
        remedy=f"{by}take `chip` out of the place in bench.toml; nothing was written",
    )


def _that_speaks_smp(name: str, board: AnyBoard) -> ForeignBoard:
    if isinstance(board, ForeignBoard):
        return board
    if isinstance(board, PlainBoard):
        raise UsageFault(
            f"{name} has a {board.name}, on which nothing speaks SMP", remedy="flash it by one of its flashers"
        )
    raise UsageFault(
        f"{name} has a {board.name}, for which releases are made here",
        remedy="flash a release: assay flash NAME@VERSION",
    )


def _connected(
    site: Site, address: PlaceAddress, board: ForeignBoard, held: ExitStack, bench: Path | None, *,
    heard_as: str, later: bool = False,
) -> ForeignPlace:  # fmt: skip
    """Open the port of a place that is ours (`later`: once its device is there); it is closed with the place that is
    given back.
    """
    from assay.drivers.reopening_transport import ReopeningTransport

    name, first = address.name, None if later else address.port

    def open_now() -> Transport:
        nonlocal first
        port, first = first or _port_now(site, address, bench), None
        return driver_doors.open_transport(port, board.serial.baud, heard_as=heard_as)

    with held:
        transport = ReopeningTransport(address.port, open_now, later=later)
        held.callback(transport.close)
        app, recovery = _server(transport, board, board.smp), _recovery(transport, board)
        power, features = switch_of(address, transport), address.features
        return ForeignPlace(name, board, transport, app, recovery, site.clock, power, features, held.pop_all())


def _port_now(site: Site, address: PlaceAddress, bench: Path | None) -> str:
    """The port of a device that came back: under another name, perhaps. Raises `LinkError`."""
    return address.port if address.labgrid is not None else find_place(site, address.name, bench=bench).port


def _server(transport: Transport, board: ForeignBoard, settings: Settings) -> SmpServer:
    return driver_doors.server_driver(SERVER)(
        transport,
        baud=board.serial.baud,
        framing=board.serial.framing,
        version=settings.version,
        tells=settings.parameters,
        buffers=settings.buffers,
        answer_timeout_s=settings.answer_timeout_s,
        erase_timeout_s=settings.erase_timeout_s,
    )


def _recovery(transport: Transport, board: ForeignBoard) -> SmpServer:
    settings = board.recovery or Recovery()
    return driver_doors.server_driver(SERVER)(
        transport,
        baud=board.serial.baud,
        framing=settings.framing,
        version=settings.version,
        tells=settings.parameters,
        buffers=settings.buffers,
        answer_timeout_s=board.smp.answer_timeout_s,
        erase_timeout_s=board.smp.erase_timeout_s,
    )


def what_answers(place: ForeignPlace, timeout_s: float = FIND_TIMEOUT_S) -> Answering:
    """The app's server, or a bootloader's. Raises `LinkError` that says what came instead."""
    deadline_s = place.clock.monotonic_s() + timeout_s
    only_recovery = place.board.recovery is not None and place.board.recovery.only
    while True:
        if not only_recovery:
            with suppress(DeviceTimeout):
                place.app.wait_for_slots(TRY_S, "an answer")
                return _ask(place)
        if place.board.recovery is not None:
            with suppress(DeviceTimeout):
                return Answering(False, place.recovery.wait_for_slots(TRY_S, "an answer"))
        if place.clock.monotonic_s() > deadline_s:
            break
    last = place.recovery if only_recovery else place.app
    try:
        return Answering(not only_recovery, last.wait_for_slots(TRY_S, "an answer"))
    except LinkError as error:
        raise LinkError(
            f"nothing that speaks SMP answers on {place.name} within {timeout_s:g} s: {error.message}",
            remedy=_remedy(place),
        ) from error


def _ask(place: ForeignPlace) -> Answering:
    if not place.app.is_app():
        return Answering(False, place.recovery.slots())
    return Answering(True, place.app.slots(), place.app.application_info(), place.app.bootloader_mode())


def _remedy(place: ForeignPlace) -> str:
    recovery = place.board.recovery
    plain = "check power, cable and port, and baud rate and framing in its board TOML"
    return f"{plain}; its recovery: {recovery.how}" if recovery is not None and recovery.how else plain


def running_after_flash(
    site: Site, address: PlaceAddress, board: ForeignBoard, image: int, bench: Path | None = None
) -> ServerSlot | None:
    """The slot of `image` that runs, on a place that is ours and that was just reset by a flasher. Raises LinkError."""
    timeout_s = board.smp.reset_timeout_s
    with _connected(site, address, board, ExitStack(), bench, heard_as=address.port, later=True) as place:
        place.app.listen(board.smp.reset_quiet_s, timeout_s)
        slots = place.app.wait_for_slots(timeout_s, "the app after the flash")
        return next((row for row in slots if row.active and row.image == image), None)


def into_recovery(place: ForeignPlace, found: Answering, say: Say, wait_s: float) -> Answering:
    """Bring the board into MCUboot's serial recovery, or wait while a person does; what its app said stays known.

    Raises `UsageFault`, `LinkError`.
    """
    if not found.app:
        return found
    settings = place.board.recovery
    if settings is None:
        raise UsageFault(
            f"the board TOML of {place.board.name} knows no recovery",
            remedy="add a [recovery] table, or flash by the app",
        )
    if settings.enter == "reset":
        place.app.ask_reset(into_recovery=True)
        place.recovery.listen(place.board.smp.reset_quiet_s, wait_s)
    else:
        say(f"{place.name}: bring it into its bootloader's recovery now{': ' if settings.how else ''}{settings.how}")
    deadline_s = place.clock.monotonic_s() + wait_s
    while place.clock.monotonic_s() < deadline_s:
        with suppress(LinkError):  # a port that goes away with the app comes back with the bootloader
            slots = place.recovery.wait_for_slots(TRY_S, "the bootloader's recovery")
            if not place.recovery.is_app():
                return Answering(False, slots, found.info)
        place.clock.sleep(TRY_S / 5)
    raise DeviceTimeout(
        f"waited {wait_s:g} s for the bootloader's recovery on {place.name}, and the app still answers or nobody does",
        remedy=settings.how or "see the board's manual for the way into its recovery",
    )
