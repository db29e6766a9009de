# SPDX-License-Identifier: Apache-2.0
"""The statement about a campaign: an in-toto test result on the bootloader and on each image, with all counts inside.

Guards: PASSED is written only when all that was planned was made (first cuts, second ones, completed updates) and
nothing bricked the unit.
Leaves to others: signing and logging, and where the digests come from (the pipeline takes them from the very bytes).
"""

from __future__ import annotations

from assay.model.campaign import CampaignRun, CampaignVerdict, EpisodeResult, NamedImage
from assay.model.outcome import Outcome
from assay.model.statement import PredicateType, ResourceDescriptor, Statement, Subject


def passed(campaign: CampaignRun) -> bool:
    """True when nothing failed and nothing was left out."""
    return (
        campaign.run.outcome is Outcome.PASS
        and not campaign.bricks
        and not campaign.faults
        and bool(campaign.episodes)
        and all(_good(episode) for episode in campaign.episodes)
    )


def campaign_statement(campaign: CampaignRun) -> Statement:
    """in-toto test-result v0.1: the subjects are the files of the bootloader and the images."""
    good = {episode.name for episode in campaign.episodes if _good(episode)}
    verdict = CampaignVerdict(
        result="PASSED" if passed(campaign) else "FAILED",
        configuration=(
            ResourceDescriptor(name="plan", uri=campaign.plan, digest={"sha256": campaign.plan_sha256}),
            ResourceDescriptor(name="rom", digest={"sha256": campaign.rom_sha256}),
            _image("bootloader", campaign.bootloader),
            *(_image(word, image) for word, image in _others(campaign).items()),
            *(ResourceDescriptor(name=name, digest={"sha256": sha}) for name, sha in sorted(campaign.files.items())),
        ),
        passed_tests=tuple(sorted(good)),
        failed_tests=tuple(sorted({episode.name for episode in campaign.episodes} - good)),
        campaign=campaign,
    )
    predicate = verdict.model_dump(mode="json", by_alias=True, exclude_none=True)
    whole = (campaign.bootloader, *campaign.images.values(), *campaign.radios.values())
    named = {image.file_sha256: image.release or image.source for image in whole}
    named.update({patch.file_sha256: patch.source for patch in campaign.patches.values()})
    return Statement(
        subject=tuple(Subject(name=name, digest={"sha256": sha}) for sha, name in named.items()),
        predicateType=PredicateType.TEST_RESULT,
        predicate=predicate,
    )


def _others(campaign: CampaignRun) -> dict[str, NamedImage]:
    """All but the bootloader, by word."""
    return {**campaign.images, **campaign.radios, **campaign.patches}


def missing_of(episode: EpisodeResult) -> str | None:
    """What of an episode was planned and not made; None when it is whole. Nothing that was cut, or no update that was
    completed, is not whole, whatever was planned.
    """
    counts = (
        (episode.cuts, max(1, episode.planned), "first cuts made"),
        (episode.second_cuts, episode.planned_second_cuts, "second cuts made"),
        (episode.completed, max(1, episode.planned_completions), "updates completed"),
    )
    told = [f"{made} of {planned} {what}" for made, planned, what in counts if made < planned]
    return ", ".join(told) or None


def _good(episode: EpisodeResult) -> bool:
    return missing_of(episode) is None and episode.bricks == 0


def _image(word: str, image: NamedImage) -> ResourceDescriptor:
    return ResourceDescriptor(
        name=word,
        uri=image.release,
        digest={"sha256": image.file_sha256},
        annotations={"name": image.name, "version": image.version, "image_hash": image.image_hash},
    )
