# SPDX-License-Identifier: Apache-2.0
"""What came of the faults of a campaign so far: the counts, what a person is told at once, and the table.

Threads note what they found; another may print at any moment. No emulator here; clock and ear are arguments.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fault_outcome import EmulatorDied, Outcome

# Outcomes that are told one by one, at once and in the table. What ran that is neither image is to be looked at.
TOLD = {Outcome.RAN_BAD: "FATAL", Outcome.RAN_OTHER: "OTHER", Outcome.EMULATOR_DIED: "DIED"}
# An emulator that dies now and then cannot carry a wild write; one that dies more often than at one fault in so many,
# and more often than a campaign that has just begun may meet, is broken, and so is what it said of the other faults.
DIED_ONE_IN = 200
DIED_FREE = 3


@dataclass
class Tally:
    """What came of the faults of one way."""

    tried: Counter[Outcome] = field(default_factory=Counter)
    told: dict[Outcome, list[str]] = field(default_factory=lambda: {outcome: [] for outcome in TOLD})


class Ledger:
    """The tallies of one campaign. `what` says of which: board, compiler, seed. `say` takes a line."""

    def __init__(
        self, what: str, ways: Iterable[str], say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tallies = {way: Tally() for way in ways}
        self.what, self.say, self._clock = what, say, clock
        self._lock = threading.Lock()
        self._offered = 0
        self._begun_s: float | None = None
        self._died_at: list[str] = []  # instructions

    def offer(self, count: int) -> None:
        """So many faults more are going to be tried, if there is time."""
        with self._lock:
            self._offered += count
            self._begun_s = self._begun_s if self._begun_s is not None else self._clock()

    def count(self, outcome: Outcome | None = None) -> int:
        """Faults of that outcome so far, or all."""
        counts = [tally.tried for tally in self.tallies.values()]
        return sum(tried.total() if outcome is None else tried[outcome] for tried in counts)

    def note(self, way: str, outcome: Outcome, place: str, fault: str) -> None:
        """What came of one fault at the instruction `place`; `fault` says all of it. Raises EmulatorDied if that is
        what came of too many."""
        with self._lock:
            self._note(way, outcome, place, fault)

    def doubt(self, way: str, outcome: Outcome, place: str, fault: str) -> None:
        """A fault that was noted with this outcome is counted with those that the emulator died of, instead; one that
        was fatal stays that, too. Raises as `note` does."""
        with self._lock:
            if outcome is not Outcome.RAN_BAD:
                self.tallies[way].tried[outcome] -= 1
            self._note(way, Outcome.EMULATOR_DIED, place, fault)

    def _note(self, way: str, outcome: Outcome, place: str, fault: str) -> None:
        tally = self.tallies[way]
        tally.tried[outcome] += 1
        if outcome in TOLD:
            tally.told[outcome].append(fault)
            self.say(f"{TOLD[outcome]} {way}: {fault} ({self.what})")
        if outcome is not Outcome.EMULATOR_DIED:
            return
        self._died_at.append(place)
        died, tried = len(self._died_at), self.count()
        if died > max(DIED_FREE, tried // DIED_ONE_IN):
            raise EmulatorDied(f"QEMU died under {died} of {tried:,} faults, which says nothing good of the others")

    def progress(self) -> str:
        """How far it is."""
        with self._lock:
            minutes = (self._clock() - self._begun_s) / 60 if self._begun_s is not None else 0.0
            rate = f", {self.count() / minutes:.0f} a minute" if minutes > 0 else ""
            return f"{self.what}: {self._summary()}{rate}"

    def _summary(self) -> str:
        text = f"{self.count():,} of {self._offered:,} faults, {self.count(Outcome.RAN_BAD)} fatal"
        return text + (f", emulator died {len(self._died_at)} times" if self._died_at else "")

    def table(self, problem: str = "") -> str:
        """All of it; `problem` says why it is not whole."""
        with self._lock:
            partial = [f"PARTIAL ({problem}): what is not counted here is not known"] if problem else []
            lines = [self.what, *partial, f"{'fault':14}" + "".join(f"{outcome.value:>20}" for outcome in Outcome)]
            for way, tally in self.tallies.items():
                lines.append(f"{way:14}" + "".join(f"{tally.tried[outcome]:20}" for outcome in Outcome))
            for outcome, word in TOLD.items():
                for way, tally in self.tallies.items():
                    lines += [f"{word} {way}: {fault}" for fault in sorted(tally.told[outcome])]
            return "\n".join([*lines, self._last_line(problem)])

    def _last_line(self, problem: str) -> str:
        text = f"PARTIAL ({problem}): {self._summary()}" if problem else self._summary()
        if self._died_at:
            text += f"; of those that it died under nothing is known: {', '.join(sorted(self._died_at))}"
        return text
