# SPDX-License-Identifier: Apache-2.0
"""All places of a bench at once, as somebody looks on: who has each, what runs there, and its last lines.

Guards: nothing is opened, locked or written to: lines are the copies that whoever has a port sends (`console_tap`); a
place that vanishes is only missing from the next look. Leaves to others: finding places, and showing them (`cli`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from assay.drivers.console_tap import Tap
from assay.errors import AssayError
from assay.pipeline import quarantine
from assay.pipeline.console_watch import ConsoleText

if TYPE_CHECKING:
    from assay.pipeline.site import Site

LINES_KEPT = 200
"""Lines of each place: more than any terminal is high."""
DATAGRAMS_MAX = 64
"""Taken from one place in one look, so that one that floods does not keep the others from being heard."""
WAIT_S = 0.001


@dataclass(frozen=True)
class PlaceRow:
    """A place: an entry of the bench file, or a twin of the site."""

    name: str
    board: str
    port: str
    kind: str
    state: str
    holder: dict[str, Any] | None
    used_by: str | None
    waiting: tuple[str, ...] = ()

    @property
    def user(self) -> str:
        """Who has it, short; empty when nobody has."""
        if self.holder is None:
            return self.used_by or ""
        return f"{self.holder['user']} ({self.holder['pid']})"


@dataclass(frozen=True)
class PlaceNow:
    """A place at one moment. `runs`: the verb and its step, and what for. `quarantine`: why tests keep away."""

    row: PlaceRow
    runs: str
    lines: tuple[str, ...]
    quarantine: str = ""


@dataclass
class _Heard:
    """The lines of one place."""

    tap: Tap
    text: ConsoleText = field(default_factory=ConsoleText)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LINES_KEPT))


class BenchWatch:
    """`look` asks for the places, which takes some time; `listen` takes what was said meanwhile, and never waits."""

    def __init__(self, site: Site, rows: Callable[[], Iterable[PlaceRow]]) -> None:
        self._site = site
        self._rows = rows
        self._heard: dict[str, _Heard] = {}
        self._seen: tuple[list[PlaceRow], dict[str, str]] = ([], {})
        self._away: dict[str, str] = {}
        self._away_of: bytes | None = None
        self.fault = ""

    def look(self) -> tuple[list[PlaceRow], dict[str, str]]:
        """The places, and what runs on each, by name. What cannot be read is in `fault`, beside what was seen last."""
        try:
            self._seen, self.fault = (list(self._rows()), self._steps()), ""
            self._look_for_quarantines()
        except (AssayError, OSError) as error:
            self.fault = str(error)
        return self._seen

    def listen(self, rows: Iterable[PlaceRow]) -> None:
        """Hear the places in `rows`, and forget all others."""
        ports = {row.port for row in rows}
        for port in [port for port in self._heard if port not in ports]:
            self._heard.pop(port).tap.close()
        for port in ports - self._heard.keys():
            try:
                self._heard[port] = _Heard(Tap(port))
            except AssayError as error:
                self.fault = str(error)
        for heard in self._heard.values():
            _take(heard)

    def lines(self, row: PlaceRow) -> tuple[str, ...]:
        """The last lines of the place, the newest last."""
        heard = self._heard.get(row.port)
        return tuple(heard.lines) if heard is not None else ()

    def now(self, row: PlaceRow, steps: dict[str, str]) -> PlaceNow:
        """`row`, with what runs there, what it said, and whether tests keep away from it."""
        return now(row, steps, self.lines(row), self._away.get(row.name, ""))

    def close(self) -> None:
        """Listen no more; a second call does nothing."""
        for heard in self._heard.values():
            heard.tap.close()
        self._heard.clear()

    def _look_for_quarantines(self) -> None:
        """Records are read again only when the log has grown."""
        checkpoint = self._site.folder / "log" / "checkpoint"
        of = checkpoint.read_bytes() if checkpoint.exists() else b""
        if of != self._away_of:
            found = quarantine.states(self._site) if of else {}
            self._away = {name: state.why for name, state in found.items() if state.quarantined}
            self._away_of = of

    def _steps(self) -> dict[str, str]:
        """What runs on each place by the journal: verb and step. A site that never ran anything gets no journal."""
        if not (self._site.folder / "journal.sqlite").exists():
            return {}
        runs = self._site.journals.open_runs()
        return {str(run.place): f"{run.verb}, {run.stopped_at}" for run in runs if run.place}


def now(row: PlaceRow, steps: dict[str, str], lines: tuple[str, ...], away: str = "") -> PlaceNow:
    """`row`, with what runs there: a step of the journal belongs to who holds the place, and to nobody else."""
    if row.holder is None:
        return PlaceNow(row, f"in quarantine: {away}" if away else "", lines, away)
    verb = str(row.holder["verb"])
    step = steps.get(row.name, "")
    runs = step if step.startswith(f"{verb},") else verb
    return PlaceNow(row, f"{runs}: {row.holder['note']}" if row.holder.get("note") else runs, lines, away)


def _take(heard: _Heard) -> None:
    for _ in range(DATAGRAMS_MAX):
        lost, data = heard.tap.read(WAIT_S)
        if lost:
            heard.lines.append(f"({lost} bytes were lost: more came than is looked at)")
        heard.lines.extend(event.text for event in heard.text.heard(data) if event.kind == "line")
        if not data:
            return
