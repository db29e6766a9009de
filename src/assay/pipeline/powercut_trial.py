# SPDX-License-Identifier: Apache-2.0
"""One cut, tried: the flash as the cut leaves it, a boot from it, and what the unit then is and does.

Guards: a silent unit is given a second, longer chance before it counts as bricked: a busy host is no brick. That goes
for the recoveries that are recorded, too, and what they write outside the flash areas is a fault.
Leaves to others: which cuts (`stages.powercut.choice`), who tries them at the same time (`powercut_pool`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from assay.drivers.twin.bare_twin import Bench
from assay.errors import LinkError, UnitFailed, UsageFault
from assay.model.powercut import Cut, Tear
from assay.pipeline.powercut_unit import TwinUnit
from assay.simulation.nor_flash import NorFault, NorFlash, Operation
from assay.stages.powercut.choice import OUTSIDE, Recording, area_of, done_at, points_of, seed_of, state_at
from assay.stages.powercut.coming_in import came_in
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

    `completing`: an update was to be completed. `wrote`: the unit has changed its flash while it came up. `breach`: the
    fault is one that no busy host makes. `again`: it was tried a second time, and this is what came then.
    """

    cut: Cut
    word: str
    detail: str
    fault: str | None = None
    completing: bool = False
    said: bytes = b""
    wrote: bool = False
    breach: bool = False
    again: bool = False

    @property
    def completed(self) -> bool:
        """Whether an update was completed."""
        return self.completing and self.fault is None


@dataclass(frozen=True)
class Left:
    """What a cut leaves: the chip, what may come up from it first, and what the unit may be once it is at rest."""

    chip: NorFlash
    may_run: tuple[str, ...]
    may_stay: tuple[str, ...]


@dataclass(frozen=True)
class Recovery:
    """A recovery that was recorded, until the unit was at rest; `trial` says how that went."""

    operations: list[Operation]
    trial: Trial


@dataclass
class Trier:
    """Tries cuts on `bench`. `recordings` by the name of their episode; `every`: second cuts are all completed."""

    bench: Bench
    images: Images
    recordings: dict[str, Recording]
    seed: int
    tears: tuple[Tear, ...]
    goal: str
    up_timeout_s: float = UP_TIMEOUT_S
    every: bool = False
    _cursors: dict[str, tuple[int, NorFlash]] = field(default_factory=dict)

    def boot(self, cut: Cut) -> Trial:
        """Boot from what `cut` leaves."""
        return self._patiently(cut, self.left_by(cut))

    def _patiently(self, cut: Cut, left: Left) -> Trial:
        trial = self._boot(cut, left, self.up_timeout_s)
        if trial.word != SILENT:
            return trial
        return replace(self._boot(cut, left, PATIENCE * self.up_timeout_s), again=True)

    def complete(self, cut: Cut) -> Trial:
        """Boot from what `cut` leaves, and bring the unit to the goal."""
        return self._complete(cut, self.left_by(cut).chip)

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
            return self._trial(cut, CameUp(goal, "confirmed"), unit, fault, completing=True)

    def seconds(self, cut: Cut) -> list[Trial]:
        """Second cuts in the recovery from the first `cut`, each booted from, the first of them (or all) completed too.

        None when the recovery writes nothing; the recovery itself when that goes wrong.
        """
        left = self.left_by(cut)
        recovery = self._recovery_from(cut, left)
        if recovery.trial.fault is not None or not recovery.operations:
            return self._faults(recovery)
        points = points_of(left.chip, recovery.operations, self.tears, self.seed, cut.episode, cut.first)
        dice = random.Random(f"{seed_of(self.seed, cut.episode, cut.first)}:second")  # noqa: S311 (a replay, no secret)
        chosen = dice.sample(points, min(SECONDS_OF_FIRST, len(points)))
        cuts = [cut.model_copy(update={"second": point}) for point in chosen]
        came = self._came_in(cut, left, recovery.operations)
        lefts = [self._left_by_second(second, left, recovery.operations, came) for second in cuts]
        trials = [self._patiently(second, behind) for second, behind in zip(cuts, lefts, strict=True)]
        trials[0] = replace(trials[0], again=trials[0].again or recovery.trial.again)
        completed = list(zip(cuts, lefts, strict=True))[: None if self.every else 1]
        return [*trials, *(self._complete(second, behind.chip) for second, behind in completed)]

    def recovery(self, cut: Cut) -> list[Trial]:
        """What is wrong with the recovery from the first `cut`, recorded: what `seconds` would find in it."""
        return self._faults(self._recovery_from(cut, self.left_by(cut)))

    def left_by(self, cut: Cut) -> Left:
        """What `cut` leaves. Raises NorFault, UsageFault when there is no such cut, UnitFailed when the unit does not
        recover from the first of two.
        """
        recording = self.recordings[cut.episode]
        chip = self._after_first(recording, cut)
        left = Left(chip, recording.may_run(cut.first), recording.may_stay(cut.first))
        if cut.second is None:
            return left
        recovery = self._recovery_from(cut.model_copy(update={"second": None}), left)
        if recovery.trial.fault is not None:
            raise UnitFailed(recovery.trial.fault, remedy="see what it said: uart.txt")
        came = self._came_in(cut, left, recovery.operations)
        return self._left_by_second(cut, left, recovery.operations, came)

    def content_after(self, cut: Cut) -> bytes:
        """All bytes of the flash as `cut` leaves them."""
        chip = self.left_by(cut).chip
        return chip.read(0, chip.size)

    def _came_in(self, cut: Cut, left: Left, operations: list[Operation]) -> Mapping[str, int]:
        """After how many of these `operations`, a recovery from what the first cut has `left`, images were in."""
        until = self.recordings[cut.episode].episode.until
        return came_in(self.bench.board, left.chip, operations, self.images.apps, until)

    def _left_by_second(self, cut: Cut, left: Left, operations: list[Operation], came: Mapping[str, int]) -> Left:
        """What the second cut leaves, in a recovery in which images `came` in."""
        assert cut.second is not None
        _check_number(cut, cut.second.operation, operations)
        since = {image for image, number in came.items() if number <= done_at(cut.second)}
        seed = seed_of(self.seed, cut.episode, cut.first, cut.second)
        chip = state_at(left.chip, operations, cut.second, seed)
        return Left(chip, self.recordings[cut.episode].may_run(cut.first, since), left.may_stay)

    def _after_first(self, recording: Recording, cut: Cut) -> NorFlash:
        """As `Recording.at`, going on from the cut before when that was earlier."""
        name, point = recording.episode.name, cut.first
        _check_number(cut, point.operation, recording.operations)
        number, chip = self._cursors.get(name, (0, recording.base))
        if number > point.operation:
            number, chip = 0, recording.base
        chip = chip.copy()
        for operation in recording.operations[number : point.operation]:
            chip.apply(operation)
        self._cursors[name] = (point.operation, chip)
        here = point.model_copy(update={"operation": 0})
        return state_at(chip, recording.operations[point.operation :], here, seed_of(self.seed, name, point))

    def _recovery_from(self, cut: Cut, left: Left) -> Recovery:
        """What the firmware orders of its flash until it is up again; a silent unit gets its second chance."""
        recovery = self._recorded_from(cut, left, self.up_timeout_s)
        if recovery.trial.word != SILENT:
            return recovery
        recovery = self._recorded_from(cut, left, PATIENCE * self.up_timeout_s)
        return replace(recovery, trial=replace(recovery.trial, again=True))

    def _recorded_from(self, cut: Cut, left: Left, timeout_s: float) -> Recovery:
        with TwinUnit(self.bench, left.chip, recorded=True) as unit:
            found, fault = self._come_up(unit, left, timeout_s, at_rest=True)
            if fault is None:
                unit.cut()
            else:
                unit.end()
            operations = unit.operations()
            stray = next((each for each in operations if area_of(self.bench.board, each) == OUTSIDE), None)
            if stray is not None:
                fault = f"{stray.words} lies in no flash area of the board"
            trial = self._trial(cut, found, unit, fault and f"in the recovery from the cut: {fault}")
            return Recovery(operations, replace(trial, breach=trial.breach or stray is not None))

    def _faults(self, recovery: Recovery) -> list[Trial]:
        return [recovery.trial] if recovery.trial.fault is not None else []

    def _boot(self, cut: Cut, left: Left, timeout_s: float) -> Trial:
        """A unit that misses something while it is not at rest is started from the same cut once more, and may go where
        it wants to before it is looked at: an app under test that fails its self-test was on its way back when we took
        the power from it, which is one cut more. One that passes stays.
        """
        trial, settled = self._looked_at(cut, left, timeout_s)
        if trial.fault is None or settled or trial.breach:
            return trial
        return replace(self._looked_at(cut, left, timeout_s, at_rest=True)[0], again=True)

    def _looked_at(self, cut: Cut, left: Left, timeout_s: float, *, at_rest: bool = False) -> tuple[Trial, bool]:
        """What came of a boot, and whether the unit would have stayed as it was."""
        with TwinUnit(self.bench, left.chip, recorded=False) as unit:
            found, fault = self._come_up(unit, left, timeout_s, at_rest=at_rest)
            if fault is not None:
                unit.end()
                return self._trial(cut, found, unit, fault), found.settled
            unit.power_off()  # exactly: the flash is looked at
            wrote = unit.changed()
            fault = self._lost(cut, unit) or self._mixed(cut, found, unit)
            return replace(self._trial(cut, found, unit, fault), wrote=wrote), found.settled

    def _come_up(self, unit: TwinUnit, left: Left, timeout_s: float, *, at_rest: bool) -> tuple[CameUp, str | None]:
        """What the unit is first, or once it is at rest, and what is wrong with that."""
        found = self._up(unit, timeout_s)
        fault = fault_of(found, left.may_run)
        if fault is not None or found.settled or not at_rest:
            return found, fault
        found = self._up(unit, timeout_s, settled=True)
        return found, fault_of(found, left.may_stay)

    def _up(self, unit: TwinUnit, timeout_s: float, *, settled: bool = False) -> CameUp:
        try:
            return wait_up(unit.device, self.images, timeout_s, settled=settled)
        except LinkError as error:  # the guest crashed the emulator
            return CameUp(SILENT, error.message)

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

    def _trial(self, cut: Cut, found: CameUp, unit: TwinUnit, fault: str | None, *, completing: bool = False) -> Trial:
        if unit.hits:
            fault = f"the firmware programmed without erase: {unit.hits[0]}"
        said = unit.said[:SAID_MAX] if fault else b""
        return Trial(cut, found.word, found.detail, fault, completing, said, breach=bool(unit.hits))


def tried(trier: Trier, what: str, cut: Cut) -> list[Trial]:
    """One task: `boot` or `complete` a cut, draw `seconds` for it, or record its `recovery` alone."""
    try:
        if what in ("seconds", "recovery"):
            return trier.seconds(cut) if what == "seconds" else trier.recovery(cut)
        return [trier.boot(cut) if what == "boot" else trier.complete(cut)]
    except NorFault as fault:
        return [Trial(cut, "fault", "", f"the firmware uses its flash wrongly in the recovery: {fault}")]
    except UnitFailed as error:
        return [Trial(cut, "fault", "", error.message)]


def _check_number(cut: Cut, number: int, operations: tuple[Operation, ...] | list[Operation]) -> None:
    if number >= len(operations):
        message = f"{cut}: there are {len(operations)} operations, numbered from 0"
        raise UsageFault(message, remedy="name an operation of this plan, with these images")
