# SPDX-License-Identifier: Apache-2.0
"""A flash of somebody else's board: images in, a unit that says that it runs them and a record out.

Guards: an image whose signature nobody could verify is refused, or used because somebody said so, which is recorded;
one that is wrong is never used. PASS only with the hash read back and the record durable.
Leaves to others: how it is written (`stages.flashing.foreign`), the image files (`foreign_images`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import ExitStatus, UnitFailed
from assay.interfaces.step_book import ProgressFor, Say, StepBook
from assay.model.foreign_board import ForeignBoard
from assay.model.outcome import Outcome
from assay.model.policy import Point, PolicyNote
from assay.model.predicates import ForeignFlash, ForeignSlot, RunHeader
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role
from assay.pipeline.foreign_images import CANNOT, ImageChoice, check_emulated, reference_of
from assay.pipeline.foreign_place import ForeignPlace, into_recovery, open_foreign_place, what_answers
from assay.pipeline.policy_gate import enforce_unreleased
from assay.pipeline.recovery import conclude, keep_skipped
from assay.pipeline.run_journal import Run
from assay.pipeline.trust_file import load_trust
from assay.pipeline.unit_records import failed_run, run_header, statement_of
from assay.stages.flashing import foreign, foreign_checks
from assay.stages.flashing.foreign_unit import Answering, ForeignReport, Numbered

if TYPE_CHECKING:
    from assay.pipeline.site import Site

VERB = "flash"
RECOVERY_WAIT_S = 60.0
"""Seconds for a person to press two buttons."""

BOOTLOADER_IS_MUTE = "check of the board: a bootloader does not say which one it is, so that is the bench file's word"
NOTHING_EXPECTED = "check of the board: its board TOML expects nothing of what it says (smp.info)"
"""What a record does not say besides, when nobody could compare what was there with its board TOML."""


@dataclass(frozen=True)
class ForeignOrder:
    """What the user asks for: `images` are files by MCUmgr's image number; `unverified`: use them also when nobody
    could verify who signed them; `recovery`: by the bootloader.
    """

    images: tuple[tuple[int, Path], ...]
    place: str
    trust: Path
    wait_s: float = 0.0
    bench: Path | None = None
    recovery: bool = False
    unverified: bool = False
    skip_policy: str | None = None


@dataclass(frozen=True)
class ForeignResult:
    """What was done; `report` is None when the unit failed."""

    outcome: Outcome
    status: ExitStatus
    reason: str
    remedy: str
    record: RecordRef
    images: tuple[Numbered, ...]
    says: str
    cannot: tuple[str, ...]
    report: ForeignReport | None


def flash_foreign(site: Site, order: ForeignOrder, say: Say, progress_for: ProgressFor) -> ForeignResult:
    """Flash the board on the place. Raises `Refused` and its kin before anything is written, link errors,
    `NotRecorded`; FAIL is an answer, with a record.
    """
    trust = load_trust(order.trust)
    with open_foreign_place(site, order.place, verb=VERB, wait_s=order.wait_s, bench=order.bench, say=say) as place:
        images = ImageChoice(order.images, order.trust, order.unverified).verified(trust, place.board, say)
        check_emulated(trust, place.board)
        foreign_checks.check_images(place.board, images)
        policy = enforce_unreleased(site, trust, Point.FLASH, skip=order.skip_policy, say=say)
        found = what_answers(place)
        foreign_checks.check_board(place.board, found)
        if order.recovery:
            found = into_recovery(place, found, say, RECOVERY_WAIT_S)
        say(f"{order.place}: {_describe(place.board, found)}")
        for unchecked in _unchecked(place.board, found):
            say(f"{order.place}: no {unchecked}")
        return _run(site, place, found, images, StepTellers(say, progress_for), policy)


@dataclass(frozen=True)
class StepTellers:
    """Where steps and uploads are shown."""

    say: Say
    progress_for: ProgressFor


def _run(
    site: Site,
    place: ForeignPlace,
    found: Answering,
    images: tuple[Numbered, ...],
    tell: StepTellers,
    policy: PolicyNote,
) -> ForeignResult:
    board, checkpoint = place.board, site.recorder.checkpoint()
    hashes = " ".join(each.image_hash.hex() for each in images)
    with site.journals.open_run(
        VERB, f"{place.name} {hashes}", serial=None, place=place.name, board=board.name, emulated=board.emulated
    ) as run:
        book = StepBook(run, tell.say, tell.progress_for)
        keep_skipped(book, policy)
        report, failure = None, None
        try:
            report = foreign.flash(place, found, images, book)
        except UnitFailed as error:
            failure = error
        outcome, reason = (Outcome.FAIL, failure.message) if failure else (Outcome.PASS, "")
        header = run_header(site, run, place, checkpoint, outcome, reason, policy)
        record = _record(site, run, header, _Told(board, found, images, report), book)
        status, remedy = (failure.status, failure.remedy) if failure else (ExitStatus.PASS, "")
        says, cannot = found.info or "", _cannot(board, found)
        return ForeignResult(outcome, status, reason, remedy, record, images, says, cannot, report)


@dataclass(frozen=True)
class _Told:
    """What a record is made of."""

    board: ForeignBoard
    found: Answering
    images: tuple[Numbered, ...]
    report: ForeignReport | None


def _record(site: Site, run: Run, header: RunHeader, told: _Told, book: StepBook) -> RecordRef:
    if told.report is None:
        images = {each.name: each.image.file_sha256 for each in told.images}
        kind, statement = RecordType.RUN, failed_run(header, VERB, None, book.stopped_at, book.records, images=images)
    else:
        kind, statement = RecordType.FOREIGN_FLASH, _statement(header, told, told.report, book)
    return conclude(site, run, statement, kind, Role.STATION, header.outcome, reason=header.reason)


def _statement(header: RunHeader, told: _Told, report: ForeignReport, book: StepBook) -> Statement:
    predicate = ForeignFlash(
        run=header,
        images=tuple(reference_of(each) for each in told.images),
        mode=told.board.mcuboot.mode,
        way=report.way,
        says=told.found.info or "",
        read_back=tuple(
            ForeignSlot(number=each.number, slot=each.slot, image_hash=each.image_hash) for each in report.read_back
        ),
        how="quoted",
        bytes_sent=report.bytes_sent,
        cannot=_cannot(told.board, told.found),
        steps=book.records,
    )
    subjects = [Subject(name=each.name, digest={"sha256": each.image.file_sha256}) for each in told.images]
    return statement_of(PredicateType.FOREIGN_FLASH, predicate, *subjects)


def _cannot(board: ForeignBoard, found: Answering) -> tuple[str, ...]:
    return (*CANNOT, *_unchecked(board, found))


def _unchecked(board: ForeignBoard, found: Answering) -> tuple[str, ...]:
    """Why nobody compared what is there with the board TOML before the first byte; empty when somebody did."""
    if found.info is None and not found.app:
        return (BOOTLOADER_IS_MUTE,)
    return (NOTHING_EXPECTED,) if board.smp.info is None else ()


def _describe(board: ForeignBoard, found: Answering) -> str:
    if not found.app:
        return f"the bootloader's recovery of a {board.name} answers"
    running = ", ".join(f"{row.version} in slot {row.slot}" for row in found.slots if row.active)
    return f"{found.info or 'an SMP server'} answers; it runs {running or 'what it does not tell'}"
