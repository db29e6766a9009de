# SPDX-License-Identifier: Apache-2.0
"""How many cuts a campaign makes of each sort, and that one in which some were left out does not pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.model.campaign import EpisodeResult
from assay.model.outcome import Outcome
from assay.model.powercut import Cut, CutPlan, Episode, Point, Tear
from assay.pipeline import powercut_run
from assay.pipeline.manifest_files import load_board
from assay.pipeline.powercut_campaign import Campaign
from assay.pipeline.powercut_pool import Pool, Task
from assay.pipeline.powercut_trial import SECONDS_OF_FIRST, Trial
from assay.simulation.nor_flash import NorFlash, Program
from assay.stages.manifest.read import read_manifest
from assay.stages.powercut.choice import Recording

ROOT = Path(__file__).parents[2]
PLAN = read_manifest((ROOT / "campaigns" / "ast1030-evb.toml").read_bytes(), "plan", CutPlan)
BOARD = load_board(ROOT / "boards" / "ast1030-evb.toml")
OPERATIONS = 40


class Workers(Pool):
    """Answers as workers would whose units do well.

    `writing`: at which operations a cut leaves a unit that writes while it recovers; `seconds`: second cuts that come
    of each such recovery; `loses`: kinds of tasks that are never answered; `every`: an update is completed
    behind each second cut, and not the first of a recovery alone.
    """

    def __init__(self, writing: Iterable[int], seconds: int = SECONDS_OF_FIRST, loses: tuple[str, ...] = (), *,
                 every: bool = False) -> None:  # fmt: skip
        self.writing, self.each, self.loses, self.tasks = set(writing), seconds, loses, list[Task]()
        self.completed = None if every else 1

    def answers(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, list[Trial]]]:
        for task in tasks:
            self.tasks.append(task)
            if task[0] not in self.loses:
                yield task, self._trials(*task)

    def _trials(self, what: str, cut: Cut) -> list[Trial]:
        if what != "seconds":
            wrote = cut.first.operation in self.writing
            return [Trial(cut, "new", "testing", completing=what == "complete", wrote=wrote)]
        seconds = [cut.model_copy(update={"second": Point(operation=at, tear=Tear.BITS)}) for at in range(self.each)]
        trials = [Trial(second, "new", "testing") for second in seconds]
        return [*trials, *(Trial(second, "new", "confirmed", completing=True) for second in seconds[: self.completed])]


def tried(workers: Workers, size: int | None = None, **changes: Any) -> tuple[Campaign, EpisodeResult]:
    """A campaign of one episode, of which every operation is cut."""
    operations = tuple(Program(0x20000 + at, b"\0") for at in range(OPERATIONS))
    chip = NorFlash(BOARD.flash.size, BOARD.flash.erase_size)
    recording = Recording(Episode(name="swap", cut=("reset",), may_run=("new",)), chip, operations, (OPERATIONS,))
    cuts = [Cut(episode="swap", first=Point(operation=at, tear=Tear.BEFORE)) for at in range(OPERATIONS)]
    plan = PLAN.model_copy(update={"second_cuts": 12, "completions": 2, **changes})
    campaign = Campaign(plan, BOARD, 1, size, {"swap": recording}, {"swap": cuts}, "assay")
    campaign.run(workers, lambda _what, _done, _all: None)
    return campaign, campaign.results()[0]


def test_second_cuts_are_made_in_recoveries_that_write_until_there_are_as_many_as_asked_for() -> None:
    workers = Workers(range(5, 30))
    campaign, row = tried(workers)
    drawn = [cut.first.operation for what, cut in workers.tasks if what == "seconds"]
    assert (len(drawn), len(set(drawn)), set(drawn) <= set(range(5, 30))) == (3, 3, True)
    assert (row.second_cuts, row.planned_second_cuts) == (12, 12)
    assert campaign.missing() == ""


def test_recoveries_that_give_fewer_are_made_up_for_by_more_of_them() -> None:
    workers = Workers(range(30), seconds=1)
    _, row = tried(workers)
    assert (row.second_cuts, row.planned_second_cuts) == (12, 12)
    assert len({cut for what, cut in workers.tasks if what == "seconds"}) == 12


def test_where_there_are_too_few_recoveries_all_of_them_are_cut() -> None:
    campaign, row = tried(Workers((3, 17)))
    assert (row.second_cuts, row.planned_second_cuts) == (2 * SECONDS_OF_FIRST, 2)
    assert campaign.missing() == ""
    campaign, row = tried(Workers(()))
    assert (row.second_cuts, row.planned_second_cuts, campaign.missing()) == (0, 0, "")


@pytest.mark.parametrize(
    ("workers", "missing"),
    [
        (Workers(range(30), loses=("boot",)), "swap: 0 of 40 first cuts made, 0 of 1 updates completed"),
        (Workers(range(30), loses=("complete",)), "swap: 3 of 5 updates completed"),
        (Workers(range(30), loses=("seconds",)), "swap: 0 of 12 second cuts made"),
        (Workers(range(30), seconds=0), "swap: 0 of 12 second cuts made"),
        (Workers((1, 2, 3), seconds=0), "swap: 0 of 3 second cuts made"),
    ],
)
def test_what_was_planned_and_not_made_is_told_and_is_no_pass(workers: Workers, missing: str) -> None:
    """An update is completed behind each recovery's second cuts, too: those do not stand in for the others."""
    campaign, _ = tried(workers)
    assert campaign.missing() == missing
    assert powercut_run._judged(campaign) == (Outcome.ERROR, f"the campaign is incomplete: {missing}")


def test_a_sample_completes_an_update_of_each_episode() -> None:
    workers = Workers(range(30))
    _, row = tried(workers, size=12)
    assert row.planned_completions == 3  # one of them behind the second cuts
    assert row.planned_second_cuts == 2


def test_a_plan_may_ask_for_the_update_to_be_completed_after_every_cut() -> None:
    workers = Workers(range(5, 30), every=True)
    campaign, row = tried(workers, completions="every")
    assert [cut.first.operation for what, cut in workers.tasks if what == "complete"] == list(range(OPERATIONS))
    assert row.completed == row.planned_completions == row.cuts + row.second_cuts == OPERATIONS + 12
    assert campaign.missing() == ""


def test_a_sample_of_a_plan_that_completes_every_cut_completes_every_cut_of_the_sample() -> None:
    _, row = tried(Workers(range(30), every=True), size=OPERATIONS, completions="every")
    assert row.completed == row.cuts + row.second_cuts > OPERATIONS


def test_one_that_is_missing_of_every_is_told() -> None:
    campaign, _ = tried(Workers(range(30)), completions="every")  # behind second cuts only the first of a recovery
    assert campaign.missing() == "swap: 43 of 52 updates completed"
