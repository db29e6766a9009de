# SPDX-License-Identifier: Apache-2.0
"""Recording the episodes of a campaign: each once, on a twin, over the ROM's loader and SMP.

Guards: what was recorded leads to what the flash file holds; what breaks the rules of NOR, leaves the flash areas, or
makes QEMU's oracle speak is a fault of the firmware, and told as one.
Leaves to others: which cuts come of it (`stages.powercut.choice`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assay.drivers.twin.bare_twin import Bench
from assay.drivers.twin.twin_folder import CHIP_ID_BYTES, blank_flash
from assay.errors import LinkError, UnitFailed, UsageFault
from assay.model.powercut import Episode
from assay.pipeline.powercut_unit import TwinUnit
from assay.simulation.nor_flash import NorFault, NorFlash
from assay.stages.powercut.choice import OUTSIDE, Recording, area_of
from assay.stages.powercut.coming_in import came_in
from assay.stages.powercut.images import Images
from assay.stages.powercut.steps import come_up, do_step

if TYPE_CHECKING:
    from assay.model.board import Board

POWER_CYCLE = "power-cycle"
CHIP_ID = bytes(range(CHIP_ID_BYTES))
"""Of a campaign's twins: nothing in a campaign depends on it, and a recording is the same each time."""


@dataclass
class Recorder:
    """Records on `bench`. Lives that begin alike are lived once, up to each power cycle that is not cut."""

    bench: Bench
    images: Images
    say: Callable[[str], None]
    _lived: dict[tuple[str, ...], NorFlash] = field(default_factory=dict)

    def record(self, episode: Episode) -> Recording:
        """The flash operations of `episode`. Raises UnitFailed for a fault of the firmware, link errors."""
        self.say(f"recording {episode.name}")
        try:
            return self._record(episode)
        except LinkError as error:
            self.say(f"  once more, since a busy host can spoil a time-out: {error.message}")
            return self._record(episode)

    def _record(self, episode: Episode) -> Recording:
        lived, rest = _divided(episode.given)
        try:
            return self._recorded(episode, self._after(lived), rest)
        except NorFault as fault:
            raise _firmware_fault(episode, str(fault)) from fault

    def _recorded(self, episode: Episode, chip: NorFlash, rest: tuple[str, ...]) -> Recording:
        with TwinUnit(self.bench, chip, recorded=True) as unit:
            come_up(unit, self.images)
            for step in rest:
                do_step(unit, step, self.images)
            mark = len(unit.operations())
            acknowledged = []
            for step in episode.cut:
                do_step(unit, step, self.images)
                acknowledged.append(len(unit.operations()) - mark)
            unit.cut()
            operations = unit.operations()
            if unit.hits:
                raise _firmware_fault(episode, f"QEMU says: {unit.hits[0]}")
        for operation in operations:
            if area_of(self.bench.board, operation) == OUTSIDE:
                raise _firmware_fault(episode, f"{operation.words} lies in no flash area of the board")
        base = chip.copy()
        for operation in operations[:mark]:
            base.apply(operation)
        cut = tuple(operations[mark:])
        came = came_in(self.bench.board, base, cut, self.images.apps, episode.until)
        return Recording(episode, base, cut, tuple(acknowledged), came)

    def _after(self, steps: tuple[str, ...]) -> NorFlash:
        """The chip after `steps` from a blank one, without power."""
        if not steps:
            board = self.bench.board
            return NorFlash.of_content(blank_flash(board, CHIP_ID), board.flash.erase_size)
        if steps not in self._lived:
            lived, rest = _divided(steps)
            with TwinUnit(self.bench, self._after(lived), recorded=False) as unit:
                come_up(unit, self.images)
                for step in rest:
                    do_step(unit, step, self.images)
                self._lived[steps] = unit.cut()
        return self._lived[steps]


def check_writes(recording: Recording, board: Board) -> None:
    """Raises UsageFault for an episode that does not write where its plan says: nothing would be cut there."""
    episode = recording.episode
    written = {area_of(board, operation) for operation in recording.operations}
    if not written:
        raise UsageFault(f"episode {episode.name!r} writes nothing to the flash", remedy="correct its steps")
    for area in episode.writes:
        if area not in written:
            raise UsageFault(
                f"episode {episode.name!r} writes nothing to {area!r}, and its plan says that it does",
                remedy=f"correct its steps, its images or `writes`; it writes to: {', '.join(sorted(written))}",
            )


def _divided(given: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What comes before the last power cycle, and what comes after it."""
    if POWER_CYCLE not in given:
        return (), given
    last = len(given) - 1 - given[::-1].index(POWER_CYCLE)
    return given[:last], given[last + 1 :]


def _firmware_fault(episode: Episode, what: str) -> UnitFailed:
    return UnitFailed(f"episode {episode.name}: {what}", remedy="correct the firmware: it uses its flash wrongly")
