# SPDX-License-Identifier: Apache-2.0
"""The place of a flash from outside: which flasher, held by whom, opened how, and which unit is meant.

Guards: the place is locked before a tool starts; a unit that happens to be there alone is none that
anybody named.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from assay.backends.entry_points import comes_with_assay
from assay.errors import UsageFault
from assay.formats.near_names import did_you_mean
from assay.interfaces.flasher import Flasher
from assay.interfaces.step_book import Say
from assay.model.bench import NO_PORTS
from assay.model.flasher_settings import FlasherSettings, PlainBoard
from assay.model.foreign_board import ForeignBoard
from assay.model.ssh import SSH_SCHEME
from assay.pipeline import driver_doors
from assay.pipeline.driver_faults import answerable_flasher
from assay.pipeline.manifest_files import AnyBoard
from assay.pipeline.place_hold import hold
from assay.pipeline.places import PlaceAddress
from assay.stages.flashing.by_flasher import Expected


def with_flashers(board: AnyBoard) -> ForeignBoard | PlainBoard:
    """`board`, when it has flashers. Raises `UsageFault`."""
    if isinstance(board, ForeignBoard | PlainBoard) and board.flashers:
        return board
    raise UsageFault(f"the board TOML of {board.name} names no flasher", remedy="add [[flashers]] to it")


def chosen(board: AnyBoard, name: str | None) -> FlasherSettings:
    """The board's flasher of that name, or its only one. Raises `UsageFault`."""
    flashers = with_flashers(board).flashers
    known = [each.called for each in flashers]
    if name is None and len(flashers) == 1:
        return flashers[0]
    if name is None:
        raise UsageFault(f"{board.name} has several flashers", remedy=f"say --flasher, one of: {', '.join(known)}")
    found = next((each for each in flashers if each.called == name), None)
    if found is None:
        raise UsageFault(
            f"{board.name} has no flasher '{name}'", remedy=f"{did_you_mean(name, known)}known: {', '.join(known)}"
        )
    return found


def held_place(
    address: PlaceAddress, settings: FlasherSettings, held: ExitStack, *, verb: str, wait_s: float, say: Say
) -> PlaceAddress:
    """The place, ours until `held` is left, with the port that it has now. Raises as `place_hold.hold` does."""
    console = driver_doors.flasher_takes(settings.driver, "port") or isinstance(address.board, ForeignBoard)
    return replace(address, port=hold(address, held, verb=verb, wait_s=wait_s, say=say, console=console))


def port_of(address: PlaceAddress) -> str:
    """Its serial port; empty for a place that has none."""
    other = address.labgrid is not None and address.port == address.labgrid.url
    return "" if other or address.port.startswith((*NO_PORTS, SSH_SCHEME)) else address.port


@contextmanager
def opened(address: PlaceAddress, settings: FlasherSettings, folder: Path) -> Iterator[Flasher]:
    """The flasher, whose tool is ended with the block; what it says goes to `folder`."""
    where = address.flash.get(settings.called, _probe(address, settings) or "")
    port, ssh = port_of(address), address.ssh
    flasher = answerable_flasher(
        settings.driver,
        lambda: driver_doors.open_flasher(settings.driver, where, settings.options, folder=folder, port=port, ssh=ssh),
        bounded=not comes_with_assay("flashers", settings.driver),
    )
    with closing(flasher):
        yield flasher


def check_named(address: PlaceAddress, settings: FlasherSettings) -> None:
    """A unit that is whatever happens to be there alone is none that anybody named. Raises `UsageFault`."""
    by_port = driver_doors.flasher_takes(settings.driver, "port") and port_of(address)
    by_host = driver_doors.flasher_takes(settings.driver, "ssh") and address.ssh
    if by_port or by_host or settings.called in address.flash or _probe(address, settings) or address.chip:
        return
    name, place = settings.called, address.name
    raise UsageFault(
        f"the bench does not say which unit {place} is to the flasher {name}, and the one that is there may be another",
        remedy=f'add flash = {{ {name} = "..." }}, probe or chip to the place (what is there: assay bench ask {place} '
        f"--flasher {name}); nothing was written",
    )


def _probe(address: PlaceAddress, settings: FlasherSettings) -> str | None:
    """The place's probe, for a flasher that may go by one: not one that works over the port, or over the host."""
    own_way = any(driver_doors.flasher_takes(settings.driver, what) for what in driver_doors.OWN_WAYS)
    return None if own_way else address.probe


def expected(address: PlaceAddress, settings: FlasherSettings) -> Expected:
    """Who has to be there, by bench and board."""
    probe = None if settings.called in address.flash else _probe(address, settings)
    chip = address.chip.hex() if address.chip else None
    return Expected(address.name, address.board.name, probe, chip, settings.kind)
