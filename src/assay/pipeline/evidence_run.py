# SPDX-License-Identifier: Apache-2.0
"""Ask the unit on a place what it runs, verify what it signs, and keep it.

Guards: the record is written only for evidence that verified; its nonce is made of the newest checkpoint of the site's
log, so the record shows after what it was signed. Leaves to others: verification (`stages.field.evidence`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.interfaces.step_book import Say, say_nothing
from assay.model.outcome import Outcome
from assay.model.predicates import EvidenceRecord
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role
from assay.pipeline.places import OpenPlace, open_place, what_answers
from assay.pipeline.proved_unit import attest, parse_wanted, provisioned_app
from assay.pipeline.recovery import conclude
from assay.pipeline.run_journal import Run
from assay.pipeline.trust_file import load_trust
from assay.pipeline.unit_records import run_header, statement_of
from assay.stages.field.evidence import VerifiedEvidence

if TYPE_CHECKING:
    from assay.pipeline.site import Site

VERB = "evidence"


@dataclass(frozen=True)
class EvidenceOrder:
    """What the user asks for; `wait_s` seconds for a place that is taken, `serial` the unit that has to be there."""

    place: str
    trust: Path
    wait_s: float = 0.0
    bench: Path | None = None
    serial: str | None = None


@dataclass(frozen=True)
class EvidenceResult:
    """Evidence that verified, and its record."""

    evidence: VerifiedEvidence
    record: RecordRef


def ask_evidence(site: Site, order: EvidenceOrder, say: Say = say_nothing) -> EvidenceResult:
    """Ask, verify, record. Raises `NotVerified`, `Refused`, link errors, `NotRecorded`."""
    trust, wanted = load_trust(order.trust), parse_wanted(order.serial)
    with open_place(site, order.place, verb=VERB, wait_s=order.wait_s, bench=order.bench, say=say) as place:
        info = provisioned_app(what_answers(place), place, wanted)
        board = place.board
        with site.journals.open_run(
            VERB,
            f"{order.place} {info.serial}",
            serial=info.serial,
            place=order.place,
            board=board.name,
            emulated=board.emulated,
        ) as run:
            checkpoint = site.recorder.checkpoint()
            verified = attest(place, info, checkpoint, trust)
            statement = _statement(site, run, place, checkpoint, verified)
            serial = verified.claims.serial
            record = conclude(site, run, statement, RecordType.EVIDENCE, Role.FIELD, Outcome.PASS, serial=serial)
            return EvidenceResult(verified, record)


def _statement(site: Site, run: Run, place: OpenPlace, checkpoint: bytes, verified: VerifiedEvidence) -> Statement:
    claims, quote = verified.claims, verified.quote
    predicate = EvidenceRecord(
        run=run_header(site, run, place, checkpoint, Outcome.PASS),
        serial=claims.serial,
        nonce_hex=quote.nonce_hex,
        random_hex=quote.random_hex,
        evidence_base64=quote.evidence_base64,
        certificate_sha256=quote.certificate_sha256,
        report=verified.report,
        bootloader_hash=claims.bootloader_hash.hex(),
        security_counter=claims.security_counter,
        reverted_at_boot=claims.reverted,
    )
    subject = Subject(name=f"unit/{claims.serial}", digest={"sha256": quote.certificate_sha256})
    return statement_of(PredicateType.EVIDENCE, predicate, subject)
