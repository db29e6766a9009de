# SPDX-License-Identifier: Apache-2.0
"""Which cuts are made: all of an episode's recording, or a sample; which second cuts, and which updates are completed.

Guards: the same recording, plan and seed give the same choice, and each choice spreads over what differs.
Leaves to others: making them (`pipeline`).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from assay.model.board import Board
from assay.model.powercut import Cut, Episode, Point, Tear
from assay.simulation.nor_flash import Erase, NorFlash, Operation
from assay.simulation.torn_flash import tears_of, torn

T = TypeVar("T")
OUTSIDE = "outside"
"""No flash area of the board."""


@dataclass(frozen=True)
class Recording:
    """What the firmware ordered of its flash in the steps of an episode that are cut, from `base` on.

    `acknowledged`: for each of these steps, how many operations there were when the unit had acknowledged it;
    `came_in`: for each image of the episode's `until`, after how many it was in.
    """

    episode: Episode
    base: NorFlash
    operations: tuple[Operation, ...]
    acknowledged: tuple[int, ...]
    came_in: Mapping[str, int] = field(default_factory=dict)

    def may_stay(self, point: Point) -> tuple[str, ...]:
        """What the unit may be at rest after a cut at `point`: what was acknowledged before it must not be lost."""
        allowed = self.episode.may_run
        for step, number in zip(self.episode.cut, self.acknowledged, strict=True):
            if number <= done_at(point):
                allowed = self.episode.after.get(step, allowed)
        return allowed

    def may_run(self, point: Point, since: Collection[str] = ()) -> tuple[str, ...]:
        """What may come up first then: an image that was asked for and has not come in must. `since`: images that have,
        in the recovery from the cut.
        """
        allowed = self.may_stay(point)
        for image, left in self.episode.until.items():
            if image not in since and done_at(point) < self.came_in.get(image, done_at(point) + 1):
                allowed = tuple(word for word in allowed if word in left)
        return allowed

    def at(self, point: Point, seed: str) -> NorFlash:
        """The chip after a cut at `point`."""
        return state_at(self.base, self.operations, point, seed)

    @property
    def erases(self) -> int:
        """How many of the operations erase."""
        return sum(isinstance(operation, Erase) for operation in self.operations)


def done_at(point: Point) -> int:
    """How many operations were done when the power went at `point`."""
    return point.operation + (point.tear is Tear.AFTER)


def state_at(base: NorFlash, operations: Sequence[Operation], point: Point, seed: str) -> NorFlash:
    """`base` after the operations before `point`, and what the tear leaves of that one. Raises NorFault."""
    chip = base.copy()
    for operation in operations[: point.operation]:
        chip.apply(operation)
    return torn(chip, operations[point.operation], point.tear, seed)


def seed_of(seed: int, episode: str, *points: Point) -> str:
    """What the dice of one torn state are seeded with."""
    return ":".join([str(seed), episode, *(f"{point.operation}/{point.tear}" for point in points)])


def points_of(base: NorFlash, operations: Sequence[Operation], tears: tuple[Tear, ...], seed: int, name: str,
              *before: Point) -> list[Point]:  # fmt: skip
    """All different states that cuts in `operations` leave; the last is the one after all of them. Raises NorFault."""
    chip, found = base.copy(), []
    for index, operation in enumerate(operations):

        def dice(tear: Tear, index: int = index) -> str:
            return seed_of(seed, name, *before, Point(operation=index, tear=tear))

        found += [Point(operation=index, tear=tear) for tear in tears_of(chip, operation, tears, dice)]
        chip.apply(operation)
    return [*found, Point(operation=len(operations) - 1, tear=Tear.AFTER)] if operations else []


def cuts_of(recording: Recording, tears: tuple[Tear, ...], seed: int) -> list[Cut]:
    """All first cuts of an episode, in the order of its operations. Raises NorFault."""
    name = recording.episode.name
    points = points_of(recording.base, recording.operations, tears, seed, name)
    return [Cut(episode=name, first=point) for point in points]


def sample(cuts: dict[str, list[Cut]], size: int, seed: int) -> dict[str, list[Cut]]:
    """`size` cuts in all, spread evenly over the episodes as far as they have that many; in their order."""
    chosen: dict[str, list[Cut]] = {}
    rest = size
    for left, name in zip(range(len(cuts), 0, -1), sorted(cuts, key=lambda each: len(cuts[each])), strict=True):
        share = min(len(cuts[name]), max(1, rest // left))
        rest -= share
        chosen[name] = drawn(cuts[name], share, f"{seed}:sample:{name}")
    return {name: chosen[name] for name in cuts}


def shuffled(items: Sequence[T], seed: str) -> list[T]:
    """All of `items`, in an order of the seed's."""
    return random.Random(seed).sample(items, len(items))  # noqa: S311 (a replay, no secret)


def drawn(items: Sequence[T], size: int, seed: str) -> list[T]:
    """`size` of `items`, or all, in their order."""
    numbers = random.Random(seed).sample(range(len(items)), min(size, len(items)))  # noqa: S311 (a replay, no secret)
    return [items[number] for number in sorted(numbers)]


def some_of_each(items: Iterable[tuple[Hashable, T]], each: int, most: int | None, seed: str) -> list[T]:
    """Up to `each` of the items of every kind, at most `most` in all, in their order."""
    kinds: dict[Hashable, list[tuple[int, T]]] = defaultdict(list)
    for number, (kind, item) in enumerate(items):
        kinds[kind].append((number, item))
    chosen = [pick for kind, members in kinds.items() for pick in drawn(members, each, f"{seed}:{kind}")]
    chosen = chosen if most is None else drawn(sorted(chosen, key=lambda pick: pick[0]), most, f"{seed}:most")
    return [item for _, item in sorted(chosen, key=lambda pick: pick[0])]


def area_of(board: Board, operation: Operation) -> str:
    """The flash area that an operation lies in; OUTSIDE when in none."""
    for name, area in board.flash.areas.items():
        if area.offset <= operation.address and operation.address + operation.size <= area.offset + area.size:
            return name
    return OUTSIDE
