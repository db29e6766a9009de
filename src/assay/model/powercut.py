# SPDX-License-Identifier: Apache-2.0
"""The plan of a power-cut campaign, as people write it, and the names of its cuts.

Guards: a cut is named so that it can be made again (`EPISODE:OP:TEAR[:OP/TEAR]`); the name and the plan's seed say all
of it. Leaves to others: reading TOML (`stages.manifest`), making the states (`simulation`), the run (`pipeline`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from assay.model.identifiers import Name
from assay.model.value import FieldFault, Value

Step = Annotated[
    str,
    StringConstraints(pattern=r"^(send-bootloader|reset|confirm|erase|power-cycle|(upload|test) [a-z0-9][a-z0-9-]*)$"),
]
"""One thing that the host does: over the ROM's loader (`send-bootloader`), over SMP, or at the power switch."""

ImageSource = Annotated[str, StringConstraints(pattern=r"^[^\s@]+(@[0-9.+]+)?$")]
"""`NAME@VERSION` of the site's store, or the path of a signed image, from the plan's folder."""


class Tear(StrEnum):
    """What is left of an operation: nothing, a half, single bits, all zeros (erase only), all of it."""

    BEFORE = "before"
    FIRST = "first"
    LAST = "last"
    BITS = "bits"
    ZEROS = "zeros"
    AFTER = "after"


class PatchSource(Value):
    """A patch from the image `base` to the image `gives` (words of the plan): that of the release, or `file`."""

    base: Name
    gives: Name
    file: str | None = Field(default=None, description="path of a signed patch; default: the one of the release")


class Episode(Value):
    """A part of a unit's life whose flash operations are cut.

    `given` is done first and not cut. After each cut the unit has to come up with one of `may_run`: the word of an
    image, `recovery` (the bootloader waits for an image) or `rom` (the ROM waits for a bootloader). Each image of
    `keeps` has to be whole in a slot then: the one that runs, and the way back. `goal` goes before the plan's.
    `after`: which of `may_run` are left once the unit has acknowledged a step of `cut`; the last such step counts.
    `until`: which of them may come up as long as an image that was asked for has not come in: a request is not lost.
    `together`: with which image which radio has to be there, so that no cut leaves a mixture.
    `writes`: flash areas in which the recording must have operations: else the images are not what the plan means.
    """

    name: Name
    given: tuple[Step, ...] = ()
    cut: tuple[Step, ...] = Field(min_length=1)
    may_run: tuple[Name, ...] = Field(min_length=1)
    after: dict[Step, Annotated[tuple[Name, ...], Field(min_length=1)]] = Field(default={})
    until: dict[Name, Annotated[tuple[Name, ...], Field(min_length=1)]] = Field(default={})
    keeps: tuple[Name, ...] = ()
    together: dict[Name, Name] = Field(default={})
    writes: tuple[str, ...] = Field(default=(), description="names of flash areas of the board")
    goal: Name | None = None


def _count_or_every(value: object) -> object:
    """Said once: the two kinds of which neither fits would each be told."""
    if value == "every" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError("should be a whole number of at least 1, or 'every'")


class CutPlan(Value):
    """What is cut, and how (`campaigns/*.toml`). `goal` is the image that each unit must still be brought to."""

    schema_: Literal["assay.powercut/1"] = Field(alias="schema")
    name: Name
    description: str = ""
    board: Name
    bootloader: ImageSource
    images: dict[Name, ImageSource] = Field(min_length=1)
    patches: dict[Name, PatchSource] = Field(default={})
    radios: dict[Name, ImageSource] = Field(default={})
    goal: Name
    rom: str | None = Field(default=None, description="ELF of the mask ROM, from the plan's folder; default: built")
    seed: int = Field(default=1, ge=0)
    tears: tuple[Literal["before", "first", "last", "bits", "zeros"], ...] = Field(
        default=("before", "first", "last", "bits", "zeros"), min_length=1
    )
    second_cuts: int = Field(default=0, ge=0, description="of each episode")
    completions: Annotated[Annotated[int, Field(ge=1)] | Literal["every"], BeforeValidator(_count_or_every)] = Field(
        default=1, description="updates completed for each kind of cut and outcome; `every`: after each cut"
    )
    episodes: tuple[Episode, ...] = Field(min_length=1)

    @property
    def completes_every(self) -> bool:
        """Whether the update is completed after each cut that is tried, second ones, too."""
        return self.completions == "every"

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name in ("recovery", "rom", *self.patches, *self.radios):
            if name in self.images:
                raise FieldFault(f"{name!r} is a word of its own: call the image otherwise", "images", name)
        for name, patch in self.patches.items():
            if name in self.radios:
                raise FieldFault(f"{name!r} is a patch, too: call the radio otherwise", "radios", name)
            for key in ("base", "gives"):
                if getattr(patch, key) not in self.images:
                    raise FieldFault(f"there is no image {getattr(patch, key)!r}", "patches", name, key)
        if self.goal not in self.images:
            raise FieldFault(f"there is no image {self.goal!r}", "goal")
        names = [episode.name for episode in self.episodes]
        for index, episode in enumerate(self.episodes):
            if names.index(episode.name) != index:
                raise FieldFault(f"there are two episodes {episode.name!r}", "episodes", index, "name")
            self._check(episode, index)
        return self

    def _check(self, episode: Episode, index: int) -> None:
        """Every word of an episode is one that the plan knows."""
        sent = {*self.images, *self.patches, *self.radios}
        for word, known, path in _words(episode, sent, set(self.images), set(self.radios)):
            if word not in known:
                text = f"there is no {word!r} here; expected one of: {', '.join(sorted(known)) or 'none'}"
                raise FieldFault(text, "episodes", index, *path)


def _words(
    episode: Episode, sent: set[str], images: set[str], radios: set[str]
) -> Iterator[tuple[str, set[str], tuple[str | int, ...]]]:
    """The words that an episode uses, what each may be, and where it stands."""
    for key, steps in (("given", episode.given), ("cut", episode.cut)):
        for at, step in enumerate(steps):
            if image := step.partition(" ")[2]:
                yield image, sent, (key, at)
    for at, word in enumerate(episode.may_run):
        yield word, {*images, "recovery", "rom"}, ("may_run", at)
    yield from _words_left("after", episode.after, set(episode.cut), set(episode.may_run))
    yield from _words_left("until", episode.until, images, set(episode.may_run))
    for at, word in enumerate(episode.keeps):
        yield word, images, ("keeps", at)
    for word, radio in episode.together.items():
        yield word, images, ("together", word)
        yield radio, radios, ("together", word)
    if episode.goal is not None:
        yield episode.goal, images, ("goal",)


def _words_left(
    key: str, table: Mapping[str, tuple[str, ...]], known: set[str], may_run: set[str]
) -> Iterator[tuple[str, set[str], tuple[str | int, ...]]]:
    for name, left in table.items():
        yield name, known, (key, name)
        for at, word in enumerate(left):
            yield word, may_run, (key, name, at)


_CUT = re.compile(r"([a-z0-9][a-z0-9-]*):(\d+):([a-z]+)(?::(\d+)/([a-z]+))?")


class Point(Value):
    """A moment within a list of operations: the operation's number, counted from 0, and what is left of it."""

    operation: int = Field(ge=0)
    tear: Tear


class Cut(Value):
    """One cut, or a second one in the recovery from it."""

    episode: Name
    first: Point
    second: Point | None = None

    def __str__(self) -> str:
        text = f"{self.episode}:{self.first.operation}:{self.first.tear}"
        return text + (f":{self.second.operation}/{self.second.tear}" if self.second else "")


def parse_cut(text: str) -> Cut | None:
    """The cut that `str` of a `Cut` names; None when it has not that form."""
    match = _CUT.fullmatch(text)
    if match is None:
        return None
    first = _point(match[2], match[3])
    second = _point(match[4], match[5]) if match[4] else None
    if first is None or (match[4] and second is None):
        return None
    return Cut(episode=match[1], first=first, second=second)


def _point(operation: str, tear: str) -> Point | None:
    return Point(operation=int(operation), tear=Tear(tear)) if tear in set(Tear) else None
