# SPDX-License-Identifier: Apache-2.0
"""One cut, tried: the flash as the cut leaves it, a boot from it, and what the unit then is and does.

Guards: a silent unit is given a second, longer chance before it counts as bricked: a busy host is no brick.
Leaves to others: which cuts (`stages.powercut.choice`), who tries them at the same time (`powercut_pool`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from assay.drivers.twin.bare_twin import Bench
from assay.errors import LinkError, UnitFailed, UsageFault
from assay.model.powercut import Cut, Point, Tear
from assay.pipeline.powercut_unit import TwinUnit
from assay.simulation.nor_flash import NorFault, NorFlash, Operation
from assay.stages.powercut.choice import Recording, points_of, seed_of, state_at
from assay.stages.powercut.coming_up import SILENT, CameUp, fault_of, wait_up
from assay.stages.powercut.images import Images
from assay.stages.powercut.steps import UP_TIMEOUT_S, complete

PATIENCE = 3
"""Times the usual time-out, for the second chance of a silent unit."""
SECONDS_OF_FIRST = 4
"""Second cuts that are drawn in the recovery from one first cut, since recording it costs as much as three boots."""
SAID_MAX = 64 * 1024
"""Bytes of the UART that are kept of a brick."""


@dataclass(frozen=True)
class Trial:
    """What came of one cut: `fault` is None when all is well. `said` is the UART's transcript of a fault.

    `breach`: the fault is one that no busy host makes. `again`: it was tried a second time, and this is what came then.
    """

    cut: Cut
    word: str
    detail: str
    fault: str | None = None
    completed: bool = False
    said: bytes = b""
    breach: bool = False
    again: bool = False


@dataclass
class Trier:
    """Tries cuts on `bench`. `recordings` by the name of their episode."""

    bench: Bench
    images: Images
    recordings: dict[str, Recording]
    seed: int
    tears: tuple[Tear, ...]
    goal: str
    up_timeout_s: float = UP_TIMEOUT_S
    _cursors: dict[str, tuple[int, NorFlash]] = field(default_factory=dict)

    def boot(self, cut: Cut) -> Trial:
        """Boot from what `cut` leaves."""
        return self._patiently(cut, self.chip_after(cut))

    def _patiently(self, cut: Cut, chip: NorFlash) -> Trial:
        trial = self._boot(cut, chip, self.up_timeout_s)
        if trial.word != SILENT:
            return trial
        return replace(self._boot(cut, chip, PATIENCE * self.up_timeout_s), again=True)

    def complete(self, cut: Cut) -> Trial:
        """Boot from what `cut` leaves, and bring the unit to the goal."""
        return self._complete(cut, self.chip_after(cut))

    def _complete(self, cut: Cut, chip: NorFlash) -> Trial:
        """Twice, if need be: what a busy host has spoiled goes well then, what the firmware has spoiled does not."""
        trial = self._complete_once(cut, chip)
        if trial.fault is None or trial.breach:
            return trial
        return replace(self._complete_once(cut, chip), again=True)

    def _complete_once(self, cut: Cut, chip: NorFlash) -> Trial:
        episode = self.recordings[cut.episode].episode
        goal = episode.goal or self.goal
        with TwinUnit(self.bench, chip, recorded=False) as unit:
            fault = None
            try:
                complete(unit, self.images, goal, episode.together.get(goal))
                unit.end()
            except UnitFailed as error:
                unit.end()
                fault = error.message
            return self._trial(cut, CameUp(goal, "confirmed"), unit, fault, completed=fault is None)

    def seconds(self, cut: Cut) -> list[Trial]:
        """Second cuts in the recovery from the first `cut`, each booted from, the first of them completed too.

        None when the recovery writes nothing.
        """
        operations = self._recovery_from(cut)
        if not operations:
            return []
        chip = self.chip_after(cut)
        points = points_of(chip, operations, self.tears, self.seed, cut.episode, cut.first)
        dice = random.Random(f"{seed_of(self.seed, cut.episode, cut.first)}:second")  # noqa: S311 (a replay, no secret)
        chosen = dice.sample(points, min(SECONDS_OF_FIRST, len(points)))
        trials = [self._second(cut, point, chip, operations) for point in chosen]
        return [*trials, self._complete(trials[0].cut, self._after_second(trials[0].cut, chip, operations))]

    def recovery(self, cut: Cut) -> list[Trial]:
        """Nothing, unless the recovery from the first `cut` raises NorFault: what `seconds` would find in it."""
        self._recovery_from(cut)
        return []

    def chip_after(self, cut: Cut) -> NorFlash:
        """The chip as `cut` leaves it. Raises NorFault, UsageFault when there is no such cut."""
        recording = self.recordings[cut.episode]
        chip = self._after_first(recording, cut.first)
        if cut.second is None:
            return chip
        return self._after_second(cut, chip, self._recovery_from(cut.model_copy(update={"second": None})))

    def content_after(self, cut: Cut) -> bytes:
        """All bytes of the flash as `cut` leaves them."""
        chip = self.chip_after(cut)
        return chip.read(0, chip.size)

    def _second(self, cut: Cut, point: Point, chip: NorFlash, operations: list[Operation]) -> Trial:
        second = cut.model_copy(update={"second": point})
        return self._patiently(second, self._after_second(second, chip, operations))

    def _after_second(self, cut: Cut, chip: NorFlash, operations: list[Operation]) -> NorFlash:
        assert cut.second is not None
        _check_number(cut, cut.second, operations)
        return state_at(chip, operations, cut.second, seed_of(self.seed, cut.episode, cut.first, cut.second))

    def _after_first(self, recording: Recording, point: Point) -> NorFlash:
        """As `Recording.at`, going on from the cut before when that was earlier."""
        name = recording.episode.name
        _check_number(Cut(episode=name, first=point), point, recording.operations)
        number, chip = self._cursors.get(name, (0, recording.base))
        if number > point.operation:
            number, chip = 0, recording.base
        chip = chip.copy()
        for operation in recording.operations[number : point.operation]:
            chip.apply(operation)
        self._cursors[name] = (point.operation, chip)
        here = Point(operation=0, tear=point.tear)
        return state_at(chip, recording.operations[point.operation :], here, seed_of(self.seed, name, point))

    def _recovery_from(self, cut: Cut) -> list[Operation]:
        """What the firmware orders of its flash until it is up again."""
        with TwinUnit(self.bench, self.chip_after(cut), recorded=True) as unit:
            wait_up(unit.device, self.images, self.up_timeout_s, settled=True)
            unit.cut()
            return unit.operations()

    def _boot(self, cut: Cut, chip: NorFlash, timeout_s: float) -> Trial:
        with TwinUnit(self.bench, chip, recorded=False) as unit:
            found = self._up(unit, timeout_s)
            fault = self._fault(cut, found, unit)
            if fault is None:
                fault = self._lost(cut, unit) or self._mixed(cut, found, unit)
            trial = self._trial(cut, found, unit, fault)
            if fault is None or found.settled or trial.breach:
                return trial
        return self._at_rest(cut, chip, timeout_s)

    def _at_rest(self, cut: Cut, chip: NorFlash, timeout_s: float) -> Trial:
        """The same cut, and the unit may go where it wants to before it is looked at: an app under test that fails its
        self-test was on its way back when we took the power from it, which is one cut more. One that passes stays.
        """
        with TwinUnit(self.bench, chip, recorded=False) as unit:
            found = self._up(unit, timeout_s, settled=True)
            fault = self._fault(cut, found, unit) or self._lost(cut, unit) or self._mixed(cut, found, unit)
            return replace(self._trial(cut, found, unit, fault), again=True)

    def _up(self, unit: TwinUnit, timeout_s: float, *, settled: bool = False) -> CameUp:
        try:
            return wait_up(unit.device, self.images, timeout_s, settled=settled)
        except LinkError as error:  # the guest crashed the emulator
            return CameUp(SILENT, error.message)

    def _fault(self, cut: Cut, found: CameUp, unit: TwinUnit) -> str | None:
        """What is wrong with how a unit came up; its power is off afterwards, and exactly so when nothing is."""
        fault = fault_of(found, self.recordings[cut.episode].may_run(cut.first))
        if fault is None:
            unit.power_off()
        else:
            unit.end()
        return fault

    def _lost(self, cut: Cut, unit: TwinUnit) -> str | None:
        """What the unit has lost that this episode has to keep."""
        for word in self.recordings[cut.episode].episode.keeps:
            if not unit.holds(self.images.apps[word].data):
                return f"no slot holds the whole of {word} any more"
        return None

    def _mixed(self, cut: Cut, found: CameUp, unit: TwinUnit) -> str | None:
        """That the radio does not go with the image that runs."""
        radio = self.recordings[cut.episode].episode.together.get(found.word)
        if radio is None or unit.radio_is(self.images.radios[radio].data):
            return None
        return f"the unit runs {found.word}, and its radio is not {radio}: updated by halves"

    def _trial(self, cut: Cut, found: CameUp, unit: TwinUnit, fault: str | None, *, completed: bool = False) -> Trial:
        if unit.hits:
            fault = f"the firmware programmed without erase: {unit.hits[0]}"
        said = unit.said[:SAID_MAX] if fault else b""
        return Trial(cut, found.word, found.detail, fault, completed, said, breach=bool(unit.hits))


def tried(trier: Trier, what: str, cut: Cut) -> list[Trial]:
    """One task: `boot` or `complete` a cut, draw `seconds` for it, or record its `recovery` alone."""
    try:
        if what in ("seconds", "recovery"):
            return trier.seconds(cut) if what == "seconds" else trier.recovery(cut)
        return [trier.boot(cut) if what == "boot" else trier.complete(cut)]
    except NorFault as fault:
        return [Trial(cut, "fault", "", f"the firmware uses its flash wrongly in the recovery: {fault}")]


def _check_number(cut: Cut, point: Point, operations: tuple[Operation, ...] | list[Operation]) -> None:
    if point.operation >= len(operations):
        message = f"{cut}: there are {len(operations)} operations, numbered from 0"
        raise UsageFault(message, remedy="name an operation of this plan, with these images")
