# SPDX-License-Identifier: Apache-2.0
"""A flash at the bench: a place and a verified release in, a unit that runs it and a record out.

Guards: a release that is not for this unit is refused before the first byte; PASS only with the hash read back and the
record durable; what was written is recorded, also when the unit does not prove itself afterwards.
Leaves to others: how it is written (`stages.flashing`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import AssayError, ExitStatus, InfrastructureError, Refused, UnitFailed
from assay.interfaces.device import DeviceInfo, Progress
from assay.interfaces.place import Found
from assay.interfaces.step_book import ProgressFor, Say, StepBook
from assay.model.artifact import VerifiedImage
from assay.model.compatibility import check_needs, offers_of_board
from assay.model.outcome import Outcome
from assay.model.policy import Point, PolicyNote
from assay.model.predicates import Flash, RunHeader
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType, Statement
from assay.model.trust import Role, TrustFile
from assay.pipeline import driver_doors
from assay.pipeline.deprecations import tell_deprecated
from assay.pipeline.places import DEVICE, OpenPlace, describe, find_place, open_place, what_answers
from assay.pipeline.policy_facts import unit_facts
from assay.pipeline.policy_gate import Question, enforce
from assay.pipeline.proved_unit import attest, parse_wanted, provisioned_app
from assay.pipeline.recovery import conclude
from assay.pipeline.release_gate import verify_release
from assay.pipeline.run_journal import Run
from assay.pipeline.trust_file import load_trust
from assay.pipeline.unit_offers import offers_on_unit
from assay.pipeline.unit_records import (
    failed_run,
    image_subject,
    parse_reference,
    reference_of,
    run_header,
    statement_of,
)
from assay.stages.flashing import execute
from assay.stages.flashing.execute import FlashReport

if TYPE_CHECKING:
    from assay.pipeline.site import Site

VERB = "flash"
SIGNER_BEGINS = 0.25  # of what is uploaded is there


@dataclass(frozen=True)
class FlashOrder:
    """What the user asks for; `release` is `name@version`, `wait_s` seconds for a place that is taken, `serial` the
    unit that has to be there: it proves so before and after.
    """

    release: str
    place: str
    trust: Path
    wait_s: float = 0.0
    bench: Path | None = None
    serial: str | None = None
    skip_policy: str | None = None


@dataclass(frozen=True)
class FlashResult:
    """What was done; `report` is None when the unit failed. `status` is of the verb."""

    outcome: Outcome
    status: ExitStatus
    reason: str
    remedy: str
    record: RecordRef
    image: VerifiedImage
    serial: str | None
    report: FlashReport | None


def flash(site: Site, order: FlashOrder, say: Say, progress_for: ProgressFor) -> FlashResult:
    """Flash the unit on the place. Raises `Refused` and its kin before anything is written, link errors, `NotRecorded`.

    FAIL, and a unit that does not prove itself afterwards (ERROR, status REFUSED), are answers, with a record.
    """
    trust, wanted = load_trust(order.trust), parse_wanted(order.serial)
    name, version = parse_reference(order.release)
    with open_place(site, order.place, verb=VERB, wait_s=order.wait_s, bench=order.bench, say=say) as place:
        image = verify_release(site.store, trust, name, version, place.board)
        found = what_answers(place)
        execute.check_fits(image.release, place.board, found)
        _check_needs(site, trust, place, found, image)
        work = _Flashing(site, place, found, image, trust, wanted, site.recorder.checkpoint())
        work.prove()
        execute.check_state(place, found, image)
        say(f"{order.place}: {describe(found)}")
        tell_deprecated(site, trust, place.board, [image.release], say)
        work.ask_policy(order.skip_policy, say)
        board, key = place.board, f"{order.place} {found.chip.hex()} {image.release.reference}"
        with site.journals.open_run(
            VERB, key, serial=work.serial, place=order.place, board=board.name, emulated=board.emulated
        ) as run:
            return work.carry_out(run, StepBook(run, say, _with_signer(site.keys.start_ahead, progress_for)))


def load_ahead(site: Site, order: FlashOrder) -> None:
    """Load the programs and models of what `flash` does before it asks the unit anything, and the public key of the
    log: processes that are forked afterwards have them. No file stays open, no process is left, and nothing is decided
    here; whatever is wrong is left for `flash` to tell.
    """
    with suppress(AssayError, OSError):
        board = find_place(site, order.place, bench=order.bench).our_board
        driver_doors.device_driver(DEVICE)
        driver_doors.loader_driver(board.loader.protocol)
        name, version = parse_reference(order.release)
        verify_release(site.store, load_trust(order.trust), name, version, board)
        try:
            site.signers.public_key(Role.LOG)
        finally:
            site.keys.close()


def _with_signer(start_ahead: Callable[[], None], progress_for: ProgressFor) -> ProgressFor:
    """Displays of `progress_for` under which the signer process begins when a part of an upload is there: the line is
    busy for long enough then, and of several places none has to begin beside the signers of others.
    """

    def with_signer(what: str) -> Progress:
        show = progress_for(what)
        begun = False

        def progress(done: int, total: int) -> None:
            nonlocal begun
            show(done, total)
            if not begun and done >= total * SIGNER_BEGINS:
                begun = True
                start_ahead()

        return progress

    return with_signer


def _check_needs(site: Site, trust: TrustFile, place: OpenPlace, found: Found, image: VerifiedImage) -> None:
    """The unit offers what the release needs; a bootloader has the board and its ROM below it. Raises `Refused`."""
    offers = offers_of_board(place.board)
    if image.release.kind != "bootloader" and (there := execute.bootloader_there(place, found)) is not None:
        offers = offers_on_unit(site.store, trust, place.board, there)
    check_needs(image.release, offers)


@dataclass
class _Flashing:
    """What was found on the place, and what shall be written to it; `wanted` is the unit that has to be there."""

    site: Site
    place: OpenPlace
    found: Found
    image: VerifiedImage
    trust: TrustFile
    wanted: str | None
    checkpoint: bytes
    policy: PolicyNote | None = None

    @property
    def serial(self) -> str | None:
        """The serial number that the unit says it has."""
        return self.found.serial if isinstance(self.found, DeviceInfo) else None

    def prove(self) -> None:
        """The unit that was asked for is there, by its own evidence. Raises `Refused` and its kin."""
        if self.wanted is not None:
            attest(self.place, provisioned_app(self.found, self.place, self.wanted), self.checkpoint, self.trust)

    def ask_policy(self, skip: str | None, say: Say) -> None:
        """The site's policies allow it. Raises `Refused`."""
        unit = unit_facts(self.found, self.image.release, proved=self.wanted is not None)
        question = Question(Point.FLASH, self.image, self.place.board, self.trust, unit)
        self.policy = enforce(self.site, question, skip=skip, say=say)

    def carry_out(self, run: Run, book: StepBook) -> FlashResult:
        """Write it, let the unit prove itself again, and record it."""
        report: FlashReport | None = None
        failure: AssayError | None = None
        try:
            report = execute.flash(self.place, self.found, self.image, book)
            self.prove()
        except UnitFailed as error:
            failure = error
        except (Refused, InfrastructureError) as error:
            if report is None:
                raise
            failure = error
        outcome, reason = _judge(failure)
        header = run_header(self.site, run, self.place, self.checkpoint, outcome, reason, self.policy)
        if report is None:
            images = {self.image.release.reference: self.image.release.image.file_sha256}
            stopped = (book.stopped_at, book.records)
            kind, statement = RecordType.RUN, failed_run(header, VERB, self.serial, *stopped, images=images)
        else:
            kind, statement = RecordType.FLASH, self._statement(header, report, book)
        record = conclude(self.site, run, statement, kind, Role.STATION, outcome, serial=self.serial, reason=reason)
        status, remedy = (failure.status, failure.remedy) if failure else (ExitStatus.PASS, "")
        return FlashResult(outcome, status, reason, remedy, record, self.image, self.serial, report)

    def _statement(self, header: RunHeader, report: FlashReport, book: StepBook) -> Statement:
        predicate = Flash(
            run=header,
            serial=self.serial,
            chip=self.found.chip.hex(),
            image=reference_of(self.image.release),
            slot=report.slot,
            read_back=report.read_back,
            how=report.how,
            bytes_sent=report.bytes_sent,
            steps=book.records,
        )
        return statement_of(PredicateType.FLASH, predicate, image_subject(self.image.release))


def _judge(failure: AssayError | None) -> tuple[Outcome, str]:
    """FAIL is about the unit; who it is was not proved when the work was done and something else went wrong: ERROR."""
    if failure is None:
        return Outcome.PASS, ""
    if isinstance(failure, UnitFailed):
        return Outcome.FAIL, failure.message
    return Outcome.ERROR, f"written and read back, and the unit did not prove itself afterwards: {failure.message}"
