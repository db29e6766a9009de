# SPDX-License-Identifier: Apache-2.0
"""What came of a power-cut campaign: counts, bricks, and the predicate that says so under a signature.

Guards: all that makes the campaign again stands in it: plan, seed, tears, sample, and every file by its digest.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from assay.model.identifiers import FileSha256, ImageHash, Name
from assay.model.powercut import Tear
from assay.model.predicates import RunHeader
from assay.model.statement import ResourceDescriptor
from assay.model.value import Value

CAMPAIGN = "urn:assay:powercut:v1"
"""The member of an in-toto test result that holds our `CampaignRun`."""


class Brick(Value):
    """A cut after which the unit was not as it has to be. `what` says how, `replay` is the line that makes it again."""

    cut: str
    seed: int
    operation: str
    area: str
    what: str
    replay: str


class EpisodeResult(Value):
    """What was tried in one episode. `came_up` counts what the unit ran after its cuts, by word; `tried_again` what did
    not go well at first, and on a busy host might for that reason. `planned` are first cuts; of second cuts as many as
    the plan asks for, or as there are first cuts whose recovery writes, where those are fewer.
    """

    name: Name
    operations: int
    erases: int
    programs: int
    cuts: int
    second_cuts: int
    completed: int
    bricks: int
    came_up: dict[str, int]
    planned: int
    planned_second_cuts: int = 0
    planned_completions: int = 0
    tried_again: int = 0


class NamedImage(Value):
    """An image of the campaign: `source` as the plan names it; `release` when it came from the store and verified."""

    source: str
    name: str
    version: str
    file_sha256: FileSha256
    image_hash: ImageHash
    release: str | None = None


class CampaignRun(Value):
    """The extension of the in-toto predicate (`urn:assay:powercut:v1`): what was cut, how often, and what broke.

    `sample` is how many first cuts were drawn of each episode (None: all of them). `files` are the reports beside the
    record.
    """

    run: RunHeader
    plan: Name
    plan_sha256: FileSha256
    seed: int
    tears: tuple[Tear, ...]
    sample: int | None
    emulator: str
    rom_sha256: FileSha256
    bootloader: NamedImage
    images: dict[Name, NamedImage]
    patches: dict[Name, NamedImage] = Field(default={})
    radios: dict[Name, NamedImage] = Field(default={})
    goal: Name
    episodes: tuple[EpisodeResult, ...]
    bricks: tuple[Brick, ...]
    faults: tuple[str, ...]
    files: dict[str, FileSha256]


class CampaignVerdict(Value):
    """Predicate `https://in-toto.io/attestation/test-result/v0.1` of a campaign, with our extension under its name."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    result: Literal["PASSED", "FAILED"]
    configuration: tuple[ResourceDescriptor, ...] = Field(min_length=1)
    passed_tests: tuple[str, ...] = Field(alias="passedTests")
    warned_tests: tuple[str, ...] = Field(default=(), alias="warnedTests")
    failed_tests: tuple[str, ...] = Field(alias="failedTests")
    campaign: CampaignRun = Field(alias=CAMPAIGN)
