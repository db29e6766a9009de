# SPDX-License-Identifier: Apache-2.0
"""What is on somebody else's board: asked over SMP, nothing is written and nothing is recorded.

Guards: what the board does not tell is None, never a default. Leaves to others: flashing (`foreign_flash`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import DeviceTimeout, LinkError
from assay.interfaces.device import DeviceRefusal, Parameters
from assay.interfaces.smp_server import NoImageGroup, Slots, SmpServer
from assay.interfaces.step_book import Say, say_nothing
from assay.model.foreign_board import ForeignBoard
from assay.pipeline.foreign_place import FIND_TIMEOUT_S, TRY_S, ForeignPlace, open_foreign_place

if TYPE_CHECKING:
    from assay.pipeline.site import Site

VERB = "bench ask"
ECHO = "assay"


@dataclass(frozen=True)
class Told:
    """What a board told: `slots` is None for a server that knows no images; `echo_s` how long an echo takes."""

    board: ForeignBoard
    stage: str
    says: str | None
    mode: int | None
    buffers: Parameters
    slots: Slots | None
    echo_s: float | None


def ask(site: Site, name: str, *, wait_s: float = 0.0, bench: Path | None = None, say: Say = say_nothing) -> Told:
    """Ask the board on the place. Raises what `open_foreign_place` raises, and LinkError when nobody answers."""
    with open_foreign_place(site, name, verb=VERB, wait_s=wait_s, bench=bench, say=say) as place:
        server, slots = _who_answers(place)
        echo_s = _echo(place, server)
        app = echo_s is not None or server.application_info() is not None
        return Told(
            board=place.board,
            stage="app" if app else "bootloader",
            says=server.application_info() if app else None,
            mode=server.bootloader_mode() if app else None,
            buffers=server.parameters(),
            slots=slots,
            echo_s=echo_s,
        )


def _who_answers(place: ForeignPlace) -> tuple[SmpServer, Slots | None]:
    deadline_s = place.clock.monotonic_s() + FIND_TIMEOUT_S
    servers = [place.app] if place.board.recovery is None else [place.app, place.recovery]
    while True:
        for server in servers:
            with suppress(DeviceTimeout):
                try:
                    return server, server.wait_for_slots(TRY_S, "an answer")
                except NoImageGroup:
                    return server, None
        if place.clock.monotonic_s() > deadline_s:
            raise LinkError(
                f"nothing that speaks SMP answers on {place.name} ({place.transport.address}) within "
                f"{FIND_TIMEOUT_S:g} s",
                remedy="check power, cable and port, and baud rate and framing in its board TOML",
            )


def _echo(place: ForeignPlace, server: SmpServer) -> float | None:
    begun_s = place.clock.monotonic_s()
    try:
        same = server.echo(ECHO) == ECHO
    except DeviceRefusal:
        return None
    return place.clock.monotonic_s() - begun_s if same else None
