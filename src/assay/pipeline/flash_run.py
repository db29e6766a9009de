# SPDX-License-Identifier: Apache-2.0
"""A flash at the bench: a place and a verified release in, a unit that runs it and a record out.

Guards: a release that is not for this unit is refused before the first byte; PASS only with the hash read back and the
record durable. Leaves to others: how it is written (`stages.flashing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import UnitFailed
from assay.interfaces.device import DeviceInfo
from assay.interfaces.place import Found
from assay.interfaces.step_book import ProgressFor, Say, StepBook
from assay.model.artifact import VerifiedImage
from assay.model.outcome import Outcome
from assay.model.predicates import Flash
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType
from assay.model.trust import Role
from assay.pipeline.places import OpenPlace, describe, open_place, what_answers
from assay.pipeline.recovery import conclude
from assay.pipeline.release_gate import verify_release
from assay.pipeline.run_journal import Run
from assay.pipeline.trust_file import load_trust
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


@dataclass(frozen=True)
class FlashOrder:
    """What the user asks for; `release` is `name@version`, `wait_s` seconds for a place that is taken."""

    release: str
    place: str
    trust: Path
    wait_s: float = 0.0
    bench: Path | None = None


@dataclass(frozen=True)
class FlashResult:
    """What was done; `report` is None when the unit failed."""

    outcome: Outcome
    reason: str
    record: RecordRef
    image: VerifiedImage
    serial: str | None
    report: FlashReport | None


def flash(site: Site, order: FlashOrder, say: Say, progress_for: ProgressFor) -> FlashResult:
    """Flash the unit on the place. Raises `Refused` and its kin, link errors, `NotRecorded`; FAIL is an answer."""
    trust = load_trust(order.trust)
    name, version = parse_reference(order.release)
    with open_place(site, order.place, verb=VERB, wait_s=order.wait_s, bench=order.bench) as place:
        image = verify_release(site.store, trust, name, version, place.board)
        found = what_answers(place)
        execute.check_fits(image.release, place.board, found)
        say(f"{order.place}: {describe(found)}")
        board, key = place.board, f"{order.place} {found.chip.hex()} {image.release.reference}"
        with site.journals.open_run(
            VERB, key, serial=_serial(found), place=order.place, board=board.name, emulated=board.emulated
        ) as run:
            return _carry_out(site, run, place, found, image, StepBook(run, say, progress_for))


def _carry_out(
    site: Site, run: Run, place: OpenPlace, found: Found, image: VerifiedImage, book: StepBook
) -> FlashResult:
    checkpoint, serial = site.recorder.checkpoint(), _serial(found)
    outcome, reason, report = Outcome.PASS, "", None
    try:
        report = execute.flash(place, found, image, book)
    except UnitFailed as failure:
        outcome, reason = Outcome.FAIL, failure.message
    header = run_header(site, run, place, checkpoint, outcome, reason)
    if report is None:
        kind = RecordType.RUN
        statement = failed_run(header, VERB, serial, book.stopped_at, book.records)
    else:
        kind = RecordType.FLASH
        predicate = Flash(
            run=header,
            serial=serial,
            chip=found.chip.hex(),
            image=reference_of(image.release),
            slot=report.slot,
            read_back=report.read_back,
            how=report.how,
            bytes_sent=report.bytes_sent,
            steps=book.records,
        )
        statement = statement_of(PredicateType.FLASH, predicate, image_subject(image.release))
    record = conclude(site, run, statement, kind, Role.STATION, outcome, serial=serial, reason=reason)
    return FlashResult(outcome, reason, record, image, serial, report)


def _serial(found: Found) -> str | None:
    return found.serial if isinstance(found, DeviceInfo) else None
