# SPDX-License-Identifier: Apache-2.0
"""The report and the record of a campaign: what is kept of each brick, what is attached, what is signed.

Guards: every digest in the record was taken here, of the bytes that were used; the report lies beside the record before
the record names it. A campaign that was broken off leaves a record of a run, never a test result.
Leaves to others: the campaign (`powercut_campaign`), the statement's shape (`stages.powercut.statement`).
"""

from __future__ import annotations

import gzip
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay import __version__
from assay.errors import AssayError, StorageError
from assay.model.campaign import Brick, CampaignRun, EpisodeResult
from assay.model.outcome import Outcome
from assay.model.predicates import RunHeader, StepRecord
from assay.model.record import RecordRef, RecordType
from assay.model.trust import Role
from assay.pipeline.recovery import conclude
from assay.pipeline.run_journal import timestamp
from assay.pipeline.unit_records import failed_run
from assay.simulation.nor_flash import NorFault
from assay.stages.powercut.statement import campaign_statement, missing_of

if TYPE_CHECKING:
    from assay.model.board import Board
    from assay.model.powercut import CutPlan, Tear
    from assay.pipeline.powercut_campaign import Campaign
    from assay.pipeline.powercut_trial import Trial, Trier
    from assay.pipeline.run_journal import Run
    from assay.pipeline.site import Site
    from assay.stages.powercut.images import Images

VERB = "powercut"
REPORT = "powercut.json"


@dataclass(frozen=True)
class CampaignFacts:
    """What is known of a campaign before its first cut."""

    site: Site
    run: Run
    plan: CutPlan
    plan_sha256: str
    board: Board
    images: Images
    rom_sha256: str
    emulator: str
    seed: int
    tears: tuple[Tear, ...]
    size: int | None
    checkpoint: bytes
    results: Path


def keep_bricks(facts: CampaignFacts, campaign: Campaign, trier: Trier, kept: dict[str, str]) -> None:
    """Write flash and UART of each brick to the results folder and beside the records; their SHA-256 by name to `kept`.

    What was kept before something ends this is in `kept`.
    """
    for number, (brick, trial) in enumerate(campaign.bricks, 1):
        for name, data in files_of(brick, trial, trier).items():
            kept[f"brick-{number}/{name}"] = _keep(facts, f"brick-{number}/{name}", data)


def files_of(brick: Brick, trial: Trial, trier: Trier) -> dict[str, bytes]:
    """What is kept of a brick: itself, what the unit said, and the flash that the cut left, packed."""
    files = {"brick.json": brick.model_dump_json(indent=2).encode() + b"\n", "uart.txt": trial.said}
    try:
        files["flash.bin.gz"] = gzip.compress(trier.content_after(trial.cut), mtime=0)
    except (NorFault, AssayError) as fault:  # the brick counts, also when its flash cannot be made again
        files["flash.txt"] = str(fault).encode()
    return files


def record_campaign(
    facts: CampaignFacts,
    outcome: Outcome,
    reason: str,
    episodes: tuple[EpisodeResult, ...],
    bricks: tuple[Brick, ...],
    faults: tuple[str, ...],
    files: dict[str, str],
) -> tuple[RecordRef, CampaignRun]:
    """Write the report, make the record durable. Raises StorageError, NotRecorded."""
    header = _header(facts, outcome, reason)
    campaign = CampaignRun(
        run=header,
        plan=facts.plan.name,
        plan_sha256=facts.plan_sha256,
        seed=facts.seed,
        tears=facts.tears,
        sample=facts.size,
        emulator=facts.emulator,
        rom_sha256=facts.rom_sha256,
        bootloader=facts.images.bootloader.named,
        images={word: image.named for word, image in facts.images.apps.items()},
        patches={word: patch.named for word, patch in facts.images.patches.items()},
        radios={word: radio.named for word, radio in facts.images.radios.items()},
        goal=facts.plan.goal,
        episodes=episodes,
        bricks=bricks,
        faults=faults,
        files=files,
    )
    report = json.dumps(campaign.model_dump(mode="json"), indent=2).encode() + b"\n"
    campaign = campaign.model_copy(update={"files": {**files, REPORT: _keep(facts, REPORT, report)}})
    if outcome in (Outcome.PASS, Outcome.FAIL):
        statement, kind = campaign_statement(campaign), RecordType.TEST
    else:
        steps = tuple(_step(episode) for episode in episodes)
        statement, kind = failed_run(header, VERB, None, reason or outcome.value, steps), RecordType.RUN
    return conclude(facts.site, facts.run, statement, kind, Role.BENCH, outcome, reason=reason), campaign


def _header(facts: CampaignFacts, outcome: Outcome, reason: str) -> RunHeader:
    return RunHeader(
        run_id=facts.run.run_id,
        assay=__version__,
        place=f"twin:{facts.board.name}",
        board=facts.board.name,
        emulated=facts.board.emulated,
        started=facts.run.state.started,
        finished=timestamp(facts.site.clock),
        outcome=outcome,
        reason=reason,
        checkpoint=facts.checkpoint.decode(),
    )


def _step(episode: EpisodeResult) -> StepRecord:
    done = f"{episode.cuts} of {episode.planned} cuts, {episode.bricks} bricks"
    outcome = Outcome.FAIL if episode.bricks else Outcome.ABORTED if missing_of(episode) else Outcome.PASS
    return StepRecord(name=episode.name, attempts=1, outcome=outcome, detail=done)


def _keep(facts: CampaignFacts, name: str, data: bytes) -> str:
    """Write a file of the results; answers its SHA-256, under which it lies beside the records too."""
    write_result(facts.results, name, data)
    return facts.site.recorder.attach(data)


def write_result(folder: Path, name: str, data: bytes) -> None:
    """Write a file of the results. Raises StorageError."""
    path = folder / name
    make_results(path.parent)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}", remedy="give another --results") from error


def make_results(folder: Path) -> None:
    """Make a folder for results, in which files can be written. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise StorageError(f"cannot write in {folder}: {error.strerror}", remedy="give another --results") from error
