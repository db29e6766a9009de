# SPDX-License-Identifier: Apache-2.0
"""A campaign from its recordings to its counts: first cuts, second cuts, completed updates, bricks.

Guards: a brick is told with all that makes it again; the campaign stops when there are so many that more teach nothing.
Leaves to others: recording (`powercut_recording`), one cut (`powercut_trial`), the record (`powercut_record`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from assay.model.board import Board
from assay.model.campaign import Brick, EpisodeResult
from assay.model.powercut import Cut, CutPlan, Tear
from assay.pipeline.powercut_pool import Pool, Task
from assay.pipeline.powercut_trial import SECONDS_OF_FIRST, Trial
from assay.stages.powercut.choice import Recording, area_of, sample, shuffled, some_of_each
from assay.stages.powercut.statement import missing_of

BRICKS_MAX = 20
"""Bricks after which a campaign stops: it has failed, and each costs as much as many good cuts."""
SAMPLE_SHARE = 6
"""In a sample, one update is completed, and one second cut drawn, for this many first cuts."""

Progress = Callable[[str, int, int], None]
"""Called with what is done (`cuts`, `updates completed`, `second cuts`), how many of them, and how many in all."""


@dataclass
class Tally:
    """What came of an episode so far."""

    cuts: int = 0
    second_cuts: int = 0
    completed: int = 0
    bricks: int = 0
    tried_again: int = 0
    planned_second_cuts: int = 0
    planned_completions: int = 0
    came_up: Counter[str] = field(default_factory=Counter)
    trials: dict[Cut, Trial] = field(default_factory=dict)


@dataclass
class Campaign:
    """The cuts of `plan` on `recordings`. `size`: how many first cuts are drawn, None for all."""

    plan: CutPlan
    board: Board
    seed: int
    size: int | None
    recordings: dict[str, Recording]
    chosen: dict[str, list[Cut]]
    replay: str
    tallies: dict[str, Tally] = field(default_factory=dict)
    bricks: list[tuple[Brick, Trial]] = field(default_factory=list)
    stopped: str = ""
    first_cuts_s: float = 0.0

    def __post_init__(self) -> None:
        """Nothing is tried yet."""
        self.tallies = {name: Tally() for name in self.chosen}

    def run(self, pool: Pool, progress: Progress) -> None:
        """Try all. Afterwards `bricks` and `results` tell what came of it, `first_cuts_s` what the first cuts took."""
        begun_s = time.monotonic()
        self._phase("cuts", pool, [("boot", cut) for cuts in self.chosen.values() for cut in cuts], progress)
        self.first_cuts_s = time.monotonic() - begun_s
        self._phase("updates completed", pool, [("complete", cut) for cut in self._to_complete()], progress)
        self._cut_again(pool, progress)

    def results(self) -> tuple[EpisodeResult, ...]:
        """What was tried, by episode."""
        return tuple(self._result(name, tally) for name, tally in self.tallies.items())

    def missing(self) -> str:
        """What was planned and not made; empty when that is nothing."""
        told = ((row.name, missing_of(row)) for row in self.results())
        return "; ".join(f"{name}: {missing}" for name, missing in told if missing)

    def try_one(self, trials: Iterable[Trial]) -> None:
        """Take in trials that were made one by one."""
        for trial in trials:
            self._take("boot", trial)

    def _phase(self, what: str, pool: Pool, tasks: list[Task], progress: Progress) -> None:
        if self.stopped:
            return
        for done, ((kind, cut), trials) in enumerate(pool.answers(tasks), 1):
            for trial in trials:
                self._take(kind, trial)
            if kind == "seconds":
                self.tallies[cut.episode].planned_completions += self._to_complete_behind(trials)
            progress(what, done, len(tasks))
            if len(self.bricks) >= BRICKS_MAX:
                self.stopped = f"stopped after {len(self.bricks)} bricks"
                return

    def _take(self, kind: str, trial: Trial) -> None:
        tally = self.tallies[trial.cut.episode]
        if trial.completed:
            tally.completed += 1
        elif kind == "boot" and trial.cut.second is None:
            tally.cuts += 1
            tally.came_up[trial.word] += 1
            tally.trials[trial.cut] = trial
        elif trial.cut.second is not None and not trial.completing:
            tally.second_cuts += 1
        tally.tried_again += trial.again
        if trial.fault is not None:
            tally.bricks += 1
            self.bricks.append((self._brick(trial, trial.fault), trial))

    def _brick(self, trial: Trial, fault: str) -> Brick:
        cut = trial.cut
        operation = self.recordings[cut.episode].operations[cut.first.operation]
        return Brick(
            cut=str(cut),
            seed=self.seed,
            operation=operation.words,
            area=area_of(self.board, operation),
            what=fault,
            replay=f"{self.replay} --seed {self.seed} --only {cut}",
        )

    def _to_complete(self) -> list[Cut]:
        """Every cut that went well, or some of each kind."""
        found: list[Cut] = []
        for name in self.chosen:
            drawn = self._drawn_to_complete(name)
            self.tallies[name].planned_completions = len(drawn)
            found += drawn
        return found

    def _drawn_to_complete(self, name: str) -> list[Cut]:
        """Of an episode. A kind: what came up, which area was worked on, by which operation, how it was torn."""
        good = self._good(name)
        if self.plan.completions == "every":
            return [trial.cut for trial in good]
        most = None if self.size is None else max(1, self.size // SAMPLE_SHARE // len(self.chosen))
        kinds = [(self._kind(trial), trial.cut) for trial in good]
        return some_of_each(kinds, self.plan.completions, most, f"{self.seed}:complete:{name}")

    def _to_complete_behind(self, trials: list[Trial]) -> int:
        """How many updates belong behind second cuts: one behind each, or behind the first of those of a recovery."""
        seconds = sum(trial.cut.second is not None and not trial.completing for trial in trials)
        return seconds if self.plan.completes_every else min(1, seconds)

    def _good(self, name: str) -> list[Trial]:
        """The first cuts of an episode that went well, in the order in which they were chosen, however they came."""
        trials = self.tallies[name].trials
        return [trials[cut] for cut in self.chosen[name] if cut in trials and trials[cut].fault is None]

    def _kind(self, trial: Trial) -> tuple[str, ...]:
        cut = trial.cut
        operation = self.recordings[cut.episode].operations[cut.first.operation]
        verb = operation.words.partition(" ")[0]
        return (cut.episode, trial.word, trial.detail, area_of(self.board, operation), verb, cut.first.tear.value)

    def _cut_again(self, pool: Pool, progress: Progress) -> None:
        """Draw first cuts whose recovery writes, until as many second cuts are made as the plan asks for."""
        wanted = {name: self._second_cuts_wanted(name) for name in self.chosen}
        waiting: dict[str, Iterator[Cut]] = {}
        for name, number in wanted.items():
            writing = [trial.cut for trial in self._good(name) if trial.wrote]
            waiting[name] = iter(shuffled(writing, f"{self.seed}:second:{name}"))
            self.tallies[name].planned_second_cuts = min(number, len(writing))
        while tasks := [("seconds", cut) for name in waiting for cut in self._next(name, wanted[name], waiting[name])]:
            self._phase("second cuts", pool, tasks, progress)

    def _second_cuts_wanted(self, name: str) -> int:
        """In an episode."""
        if self.size is None:
            return self.plan.second_cuts
        return -(-min(self.plan.second_cuts, len(self.chosen[name])) // SAMPLE_SHARE)

    def _next(self, name: str, wanted: int, waiting: Iterator[Cut]) -> list[Cut]:
        """First cuts to go on with, taken from those `waiting`: each may give `SECONDS_OF_FIRST` second ones."""
        missing = 0 if self.stopped else max(0, wanted - self.tallies[name].second_cuts)
        return list(islice(waiting, -(-missing // SECONDS_OF_FIRST)))

    def _result(self, name: str, tally: Tally) -> EpisodeResult:
        recording = self.recordings[name]
        return EpisodeResult(
            name=name,
            operations=len(recording.operations),
            erases=recording.erases,
            programs=len(recording.operations) - recording.erases,
            planned=len(self.chosen[name]),
            cuts=tally.cuts,
            second_cuts=tally.second_cuts,
            planned_second_cuts=tally.planned_second_cuts,
            completed=tally.completed,
            planned_completions=tally.planned_completions,
            bricks=tally.bricks,
            tried_again=tally.tried_again,
            came_up=dict(sorted(tally.came_up.items())),
        )


def choose(all_cuts: dict[str, list[Cut]], size: int | None, seed: int) -> dict[str, list[Cut]]:
    """All first cuts, or a sample of `size`."""
    return all_cuts if size is None else sample(all_cuts, size, seed)


def tears_of_plan(plan: CutPlan) -> tuple[Tear, ...]:
    """The tears of a plan, as values."""
    return tuple(Tear(name) for name in plan.tears)
