# SPDX-License-Identifier: Apache-2.0
"""Ask the unit on a place what it runs, verify what it signs, and keep it.

Guards: the record is written only for evidence that verified; its nonce is made of the newest checkpoint of the site's
log, so the record shows after what it was signed. Leaves to others: verification (`stages.field.evidence`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import Refused, WrongBoard
from assay.interfaces.device import DeviceInfo, Stage
from assay.interfaces.place import Found
from assay.model.identifiers import parse_serial
from assay.model.outcome import Outcome
from assay.model.predicates import EvidenceRecord
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role, TrustFile
from assay.pipeline.places import OpenPlace, describe, open_place, what_answers
from assay.pipeline.recovery import conclude
from assay.pipeline.run_journal import Run
from assay.pipeline.trust_file import load_trust
from assay.pipeline.unit_records import run_header, statement_of
from assay.stages.field import evidence
from assay.stages.field.evidence import VerifiedEvidence

if TYPE_CHECKING:
    from assay.pipeline.site import Site

VERB = "evidence"


@dataclass(frozen=True)
class EvidenceOrder:
    """What the user asks for; `wait_s` seconds for a place that is taken."""

    place: str
    trust: Path
    wait_s: float = 0.0
    bench: Path | None = None


@dataclass(frozen=True)
class EvidenceResult:
    """Evidence that verified, and its record."""

    evidence: VerifiedEvidence
    record: RecordRef


def ask_evidence(site: Site, order: EvidenceOrder) -> EvidenceResult:
    """Ask, verify, record. Raises `NotVerified`, `Refused`, link errors, `NotRecorded`."""
    trust = load_trust(order.trust)
    with open_place(site, order.place, verb=VERB, wait_s=order.wait_s, bench=order.bench) as place:
        info = provisioned_app(what_answers(place), place)
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


def provisioned_app(found: Found, place: OpenPlace) -> DeviceInfo:
    """The app of a unit with an identity; `Refused` says what is there instead."""
    if not isinstance(found, DeviceInfo) or found.stage is not Stage.APP:
        raise Refused(
            f"on {place.name}: {describe(found)}; only an app answers for the unit",
            remedy="provision it (assay provision), or flash an app (assay flash)",
        )
    if found.serial is None:
        raise Refused(f"the unit on {place.name} has no identity yet", remedy="provision it: assay provision")
    parse_serial(found.serial)
    return found


def attest(place: OpenPlace, info: DeviceInfo, checkpoint: bytes, trust: TrustFile) -> VerifiedEvidence:
    """Fresh evidence of the unit on the place, verified; it is the unit and the board that answered before."""
    verified = evidence.ask(place.device, checkpoint, secrets.token_bytes(evidence.RANDOM_BYTES), trust)
    claims = verified.claims
    if (claims.chip, claims.serial) != (info.chip, info.serial):
        raise WrongBoard(
            f"unit {claims.serial} gives evidence, unit {info.serial} answered on {place.name}",
            remedy="leave the unit on its place, and ask again",
        )
    if (claims.board, claims.revision) != (place.board.name, place.board.revision):
        raise WrongBoard(
            f"the evidence is of a {claims.board} revision {claims.revision}, {place.name} has a {place.board.name} "
            f"revision {place.board.revision}",
            remedy="connect the right board, or correct the place in bench.toml",
        )
    return verified


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
