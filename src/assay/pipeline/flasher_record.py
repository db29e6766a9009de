# SPDX-License-Identifier: Apache-2.0
"""What a flash from outside leaves: a signed record of who was there, what was written, and what was read back.

Guards: what the tool said is kept with the record, also of a flash that failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.interfaces.flasher import FlashPlan, Identity, ReadBack
from assay.interfaces.step_book import StepBook
from assay.model.flasher_settings import FlasherSettings, PlainBoard
from assay.model.foreign_board import ForeignBoard
from assay.model.outcome import Outcome
from assay.model.policy import PolicyNote
from assay.model.predicates import FlasherRead, RunHeader, ToolFlash, ToolIdentity, ToolImage
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role
from assay.pipeline.flasher_images import ImageFile
from assay.pipeline.flasher_place import with_flashers
from assay.pipeline.places import PlaceAddress
from assay.pipeline.recovery import conclude
from assay.pipeline.run_journal import Run
from assay.pipeline.unit_records import failed_run, statement_of

if TYPE_CHECKING:
    from assay.pipeline.site import Site

VERB = "flash"

CANNOT = (
    "identity: the board has no serial number or key of ours; which unit this was is known by its probe, chip or place",
    "evidence: what was read back is what the tool says that memory holds, not what the board says that it runs",
)
"""What a record about such a flash never says, in the record itself."""


@dataclass(frozen=True)
class FlashJob:
    """What a run is about."""

    site: Site
    address: PlaceAddress
    settings: FlasherSettings
    images: tuple[ImageFile, ...]
    plan: FlashPlan
    found: Identity
    folder: Path
    policy: PolicyNote
    bench: Path | None = None

    @property
    def name(self) -> str:
        """The place's."""
        return self.address.name

    @property
    def board(self) -> ForeignBoard | PlainBoard:
        """One that has flashers."""
        return with_flashers(self.address.board)


@dataclass(frozen=True)
class Told:
    """What was read back, and what the board says that it runs."""

    read: tuple[ReadBack, ...]
    runs: tuple[str, ...]


def record(job: FlashJob, run: Run, header: RunHeader, book: StepBook, told: Told) -> RecordRef:
    """Sign and log it, and close the run. Raises `NotRecorded`."""
    files = {file.name: job.site.recorder.attach(file.read_bytes()) for file in sorted(job.folder.glob("*.txt"))}
    if header.outcome is Outcome.PASS:
        kind, statement = RecordType.TOOL_FLASH, _statement(job, header, book, told, files)
    else:
        kind, statement = RecordType.RUN, _failed(job, header, book, files)
    return conclude(job.site, run, statement, kind, Role.STATION, header.outcome, reason=header.reason)


def _failed(job: FlashJob, header: RunHeader, book: StepBook, files: dict[str, str]) -> Statement:
    images = {each.path.name: each.file_sha256 for each in job.images}
    return failed_run(header, VERB, None, book.stopped_at, book.records, images=images, files=files)


def _statement(job: FlashJob, header: RunHeader, book: StepBook, told: Told, files: dict[str, str]) -> Statement:
    predicate = ToolFlash(
        run=header,
        flasher=job.settings.called,
        driver=job.settings.driver,
        found=_identity(job.found),
        images=tuple(_image(each) for each in job.images),
        read_back=tuple(
            FlasherRead(
                name=each.name, where=_where(each.where), size=each.size, sha256=each.sha256, by=each.by,
                detail=each.detail,
            )
            for each in told.read
        ),
        runs=told.runs,
        how="quoted" if told.runs else None,
        cannot=CANNOT,
        files=files,
        steps=book.records,
    )  # fmt: skip
    subjects = [Subject(name=each.path.name, digest={"sha256": each.file_sha256}) for each in job.images]
    return statement_of(PredicateType.TOOL_FLASH, predicate, *subjects)


def _identity(found: Identity) -> ToolIdentity:
    return ToolIdentity(probe=found.probe, chip=found.chip, kind=found.kind, facts=dict(found.facts))


def _image(each: ImageFile) -> ToolImage:
    image = each.mcuboot
    return ToolImage(
        name=each.name,
        file_sha256=each.file_sha256,
        signature=each.signature.value,
        key=image.key if image else None,
        version=image.says.version if image else None,
        image_hash=image.says.image_hash.hex() if image else None,
    )


def _where(where: int | str | None) -> str | None:
    return f"{where:#x}" if isinstance(where, int) else where
