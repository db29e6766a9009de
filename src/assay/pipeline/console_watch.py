# SPDX-License-Identifier: Apache-2.0
"""The console of a place, as long as somebody looks: from its port, or beside whoever has the port.

Guards: beside a running verb nothing is written and no byte taken away; who waits for the place gets it; a unit that is
reset or unplugged is waited for; what comes is text, whatever the unit sends. Leaves to others: showing it
(`cli.console`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from assay.errors import LinkError, PlaceBusy
from assay.formats.visible_text import visible
from assay.interfaces.step_book import Say
from assay.interfaces.transport import Transport
from assay.pipeline.places import find_place, open_port
from assay.protocols.smp.framing import Damage, Demultiplexer, Event, Frame, Framing, Line

if TYPE_CHECKING:
    from assay.pipeline.site import Site

VERB = "console"
TICK_S = 0.05
BITS_PER_BYTE = 10
READ_MAX = 65536  # bytes
QUIET_S = 0.3  # a line without its end, such as a prompt, is shown when nothing followed for so long
RETRY_S = 0.3
BUSY_LOOK_S = 0.5
LINE_LOOK_S = 0.2  # longer than a verb without --wait stands in the line
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ESCAPED = re.compile(r"\\x[0-9a-f]{2}|\\u\{[0-9a-f]+\}")


@dataclass(frozen=True)
class Heard:
    """A line of the unit, an SMP frame between the lines, or what happened to the link."""

    kind: Literal["line", "frame", "note"]
    text: str


def watch(
    site: Site,
    name: str,
    *,
    bench: Path | None,
    typed: Callable[[], bytes],
    listen: bool,
    own: bool,
    say: Say,
) -> Iterator[Heard | None]:
    """What the console says, without end; None at least each tenth of a second. `typed` gives what is to be sent; with
    `listen` the port is never opened, with `own` a place that somebody uses is an error.

    Raises UsageFault for a place that there is not; PlaceBusy; LinkError when the unit is not there at the start.
    """
    was_there, told = False, ""
    while True:
        try:
            if listen:
                yield from _beside(site, name, bench, typed, once=False)
            with open_port(site, name, verb=VERB, bench=bench, say=say) as transport:
                was_there, told = True, ""
                yield Heard("note", f"connected to {transport.address}")
                address = find_place(site, name, bench=bench)
                line = _Line((address.port, *address.doors))
                yield from _own(transport, typed, address.board.serial.baud, (lambda: "") if own else line.waits)
            yield from line.until_taken()
            yield from _beside(site, name, bench, typed, once=True)
        except PlaceBusy as busy:
            if own:
                raise
            was_there = True
            yield Heard("note", f"listening only: {busy.message}")
            yield from _beside(site, name, bench, typed, once=True)
        except LinkError as error:
            if not was_there:
                raise
            if error.message != told:
                told = error.message
                yield Heard("note", f"waiting for the unit: {error.message}")
            yield from _pause(RETRY_S)


def _own(
    transport: Transport, typed: Callable[[], bytes], baud: int, waits: Callable[[], str]
) -> Iterator[Heard | None]:
    """What comes, while what is typed is sent no faster than a line of `baud` bit/s takes it, and no slower; until
    somebody `waits` for the place.
    """
    text, free_s = ConsoleText(), 0.0
    while True:
        if who := waits():
            yield Heard("note", f"gives way to {who}")
            return
        now_s = time.monotonic()
        if now_s >= free_s and (data := typed()):
            transport.write(data)
            free_s = now_s + len(data) * BITS_PER_BYTE / baud
        wait_s = min(TICK_S, free_s - now_s) if free_s > now_s else TICK_S
        yield from text.heard(transport.read(READ_MAX, wait_s))
        yield None


class _Line:
    """Who stands in the line of the place that we have. Who only tries is gone at the next look; another console can
    listen.
    """

    def __init__(self, doors: tuple[str, ...]) -> None:
        from assay.drivers.locks.file_lock import FileLocks

        self._locks, self._doors = FileLocks(), doors
        self._seen: set[str] = set()
        self._looked_s = 0.0

    def waits(self) -> str:
        """Who waits, for people; empty when nobody has waited for two looks."""
        if time.monotonic() - self._looked_s < LINE_LOOK_S:
            return ""
        self._looked_s = time.monotonic()
        before = self._seen
        waiting = self._locks.waiting_of(self._doors)
        self._seen = {who for who in waiting if not who.startswith(f"assay {VERB} ")}
        return min(before & self._seen, default="")

    def until_taken(self) -> Iterator[None]:
        """Until who waited has the place, or does not want it any more."""
        while self._locks.holder_of(self._doors) is None and self._locks.waiting_of(self._doors):
            yield None
            time.sleep(TICK_S)


def _beside(
    site: Site, name: str, bench: Path | None, typed: Callable[[], bytes], *, once: bool
) -> Iterator[Heard | None]:
    """What the port's user reads, until it is done with it (`once`)."""
    from assay.drivers.console_tap import Tap
    from assay.drivers.locks.file_lock import FileLocks

    port = find_place(site, name, bench=bench).port
    text, looked_s = ConsoleText(), time.monotonic()
    with Tap(port) as tap:
        while True:
            if typed():
                while typed():
                    pass
                yield Heard("note", f"not sent: somebody else uses {name}, and this console only listens")
            lost, data = tap.read(TICK_S)
            if lost:
                yield Heard("note", f"{lost} bytes were lost: this terminal is slower than the unit")
            yield from text.heard(data)
            yield None
            if once and time.monotonic() - looked_s > BUSY_LOOK_S:
                looked_s = time.monotonic()
                if FileLocks().holder(port) is None:
                    return


def _pause(seconds: float) -> Iterator[None]:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        yield None
        time.sleep(TICK_S)


class ConsoleText:
    """Bytes to lines that are safe to show."""

    def __init__(self) -> None:
        self._parts = Demultiplexer(Framing.CONSOLE)
        self._last_s = time.monotonic()
        self._open = False

    def heard(self, data: bytes) -> Iterator[Heard]:
        """The lines and frames that are whole with `data`."""
        now_s = time.monotonic()
        if data:
            self._last_s, self._open = now_s, not data.endswith(b"\n")
            yield from self._shown(self._parts.feed(data))
        elif self._open and now_s - self._last_s > QUIET_S:
            self._open = False
            yield from self._shown(self._parts.feed(b"\n"))

    def _shown(self, events: list[Event]) -> Iterator[Heard]:
        for event in events:
            if isinstance(event, Line):
                yield Heard("line", _readable(event.text))
            elif isinstance(event, Frame):
                yield Heard("frame", f"SMP frame of {len(event.data)} bytes")
            elif isinstance(event, Damage):
                yield Heard("frame", f"damaged SMP frame: {event.reason}")


def _readable(text: str) -> str:
    plain = visible(_COLOUR.sub("", text.replace("\r", "")).expandtabs())
    strange = len(_ESCAPED.findall(plain))
    return plain if strange * 4 <= len(text) else f"({len(text)} bytes that are no text)"
