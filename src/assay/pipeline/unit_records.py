# SPDX-License-Identifier: Apache-2.0
"""Records about one unit: what every one of them begins with, and the statements around them.

Guards: the subjects of a statement are the files or certificates that it is about, by SHA-256; a run's header says
where, when and after which checkpoint. Leaves to others: making a record durable (`recovery.conclude`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from assay import __version__
from assay.model.artifact import Release
from assay.model.identifiers import Version
from assay.model.outcome import Outcome
from assay.model.policy import PolicyNote
from assay.model.predicates import ImageReference, InterruptedRun, RunHeader, StepRecord
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.value import Value
from assay.pipeline.recovery import run_digest
from assay.pipeline.run_journal import Run, timestamp

if TYPE_CHECKING:
    from assay.pipeline.site import Site


class _Named(Protocol):
    """A place or a board, as far as a header needs it."""

    @property
    def name(self) -> str: ...


class _Board(_Named, Protocol):
    @property
    def emulated(self) -> bool: ...


class _Place(_Named, Protocol):
    @property
    def board(self) -> _Board: ...


def run_header(
    site: Site,
    run: Run,
    place: _Place,
    checkpoint: bytes,
    outcome: Outcome,
    reason: str = "",
    policy: PolicyNote | None = None,
) -> RunHeader:
    """The header of the record of `run`, which ends now; `checkpoint` was the newest when this process began."""
    return RunHeader(
        run_id=run.run_id,
        assay=__version__,
        place=place.name,
        board=place.board.name,
        emulated=place.board.emulated,
        started=run.state.started,
        finished=timestamp(site.clock),
        outcome=outcome,
        reason=reason,
        checkpoint=checkpoint.decode(),
        policy=policy,
    )


def reference_of(release: Release) -> ImageReference:
    """The image of `release`, as a record names it."""
    return ImageReference(
        release=release.reference, file_sha256=release.image.file_sha256, image_hash=release.image.image_hash
    )


def image_subject(release: Release) -> Subject:
    """The image file as the subject of a statement."""
    return Subject(name=release.reference, digest={"sha256": release.image.file_sha256})


def statement_of(kind: PredicateType, predicate: Value, *subjects: Subject) -> Statement:
    """A statement about `subjects`."""
    plain = predicate.model_dump(mode="json", by_alias=True, exclude_none=True)
    return Statement(subject=subjects, predicateType=kind, predicate=plain)


def failed_run(
    header: RunHeader,
    verb: str,
    serial: str | None,
    stopped_at: str,
    steps: tuple[StepRecord, ...],
    *,
    images: dict[str, str] | None = None,
    files: dict[str, str] | None = None,
) -> Statement:
    """The record of a run on a unit that failed before there was all that the verb's own predicate wants.

    `images`: SHA-256 of the files that were to be written, by name; `files`: of what a tool said, which is attached.
    """
    predicate = InterruptedRun(
        run=header, verb=verb, serial=serial, stopped_at=stopped_at, steps=steps, images=images, files=files or None
    )
    subject = Subject(name=f"run/{header.run_id}", digest={"sha256": run_digest(header.run_id)})
    return statement_of(PredicateType.RUN, predicate, subject)


def parse_reference(text: str) -> tuple[str, str | None]:
    """`name@version` or `name` (then the highest version). Raises `UsageFault` for a version that is none."""
    name, at, version = text.partition("@")
    return name, str(Version(version)) if at else None
