# SPDX-License-Identifier: Apache-2.0
"""One record of a trace: that its file is the logged one, that a trusted key signed it for its role, and what it says.

Guards: a predicate is handed on only when signature, role, type and shape agree; until then it is a claim that is never
reasoned with. A record whose log entry or file is wrong stays broken, whatever it says.
Leaves to others: what follows from a record (`trace_unit`, `trace_release`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from assay.errors import AssayError, NotVerified
from assay.formats import log_entry, sigstore_bundle
from assay.formats.statement_verifier import read_statement, signers_of, verify_statement, without_thresholds
from assay.model.campaign import CAMPAIGN, CampaignVerdict
from assay.model.outcome import Outcome
from assay.model.policy import Adoption, DecisionRecord
from assay.model.predicates import EvidenceRecord, Flash, InterruptedRun, Provisioning, RunHeader, Update, Withdrawal
from assay.model.record import PREDICATES, LogEntry, RecordType
from assay.model.statement import PredicateType, Statement
from assay.model.trace import LoggedRecord, Mark, TraceNode
from assay.model.trust import TrustFile, VerifiedStatement
from assay.model.value import Value
from assay.model.verdict import SuiteVerdict
from assay.pipeline.trace_link import KEY_DIGITS, Link
from assay.pipeline.trace_log import LogView

MODELS: dict[PredicateType, type[Value]] = {
    PredicateType.PROVISIONING: Provisioning,
    PredicateType.FLASH: Flash,
    PredicateType.TEST_RESULT: SuiteVerdict,
    PredicateType.UPDATE: Update,
    PredicateType.EVIDENCE: EvidenceRecord,
    PredicateType.RUN: InterruptedRun,
    PredicateType.DECISION: DecisionRecord,
    PredicateType.POLICY: Adoption,
    PredicateType.WITHDRAWAL: Withdrawal,
}
"""Predicates with their strict models; how a release was made is read by `trace_release`."""


@dataclass
class OpenedRecord:
    """A record as far as it verified. `claim` is what its file says without proof, `verified` what was proved.

    `unchanged`: whoever signed it, entry and file are those of the log.
    """

    logged: LoggedRecord
    entry: LogEntry | None
    claim: Statement | None
    verified: VerifiedStatement | None
    predicate: Value | None
    link: Link
    unchanged: bool = False

    @property
    def kind(self) -> RecordType | None:
        """What the record is about: as the log says, else as the record itself claims."""
        if self.entry is not None:
            return self.entry.type
        kinds = {predicate: kind for kind, predicate in PREDICATES.items()}
        return kinds.get(PredicateType(self.claim.predicateType)) if self.claim and _is_known(self.claim) else None

    @property
    def header(self) -> RunHeader | None:
        """The header of a record of a run that verified."""
        return header_of(self.predicate)

    def node(self) -> TraceNode:
        """What was found, in its present state."""
        return self.link.node()


def header_of(predicate: Value | None) -> RunHeader | None:
    """The run's header in a predicate about a unit."""
    if isinstance(predicate, SuiteVerdict):
        return predicate.bench.run
    if isinstance(predicate, CampaignVerdict):
        return predicate.campaign.run
    run = getattr(predicate, "run", None)
    return run if isinstance(run, RunHeader) else None


def checkpoint_of(predicate: Value | None) -> str | None:
    """The checkpoint that a record keeps: its own, or that of its run's header."""
    if isinstance(predicate, DecisionRecord | Adoption | Withdrawal):
        return predicate.checkpoint
    header = header_of(predicate)
    return header.checkpoint if header is not None else None


def payload_of(bundle: bytes | None) -> bytes | None:
    """The statement's bytes in a record's file, unverified; None when they cannot be read."""
    try:
        return sigstore_bundle.decode(bundle).envelope.payload if bundle is not None else None
    except AssayError:
        return None


def claim_of(bundle: bytes | None) -> Statement | None:
    """The statement that a record's file claims to hold, unverified; None when it cannot be read."""
    payload = payload_of(bundle)
    try:
        return read_statement(payload) if payload is not None else None
    except AssayError:
        return None


def open_record(logged: LoggedRecord, view: LogView) -> OpenedRecord:
    """Verify `logged` by itself: log entry, file, statement, predicate, the checkpoint that it keeps."""
    link = Link(_link_name(logged, None), _title(logged, None))
    entry = _check_entry(link, logged, view)
    link.link, link.title = _link_name(logged, entry), _title(logged, entry)
    opened = OpenedRecord(logged, entry, claim_of(logged.bundle), None, None, link)
    _check_file(link, logged, entry)
    opened.unchanged = link.holds
    if logged.bundle is not None and (kind := opened.kind) is not None:
        opened.verified = _check_statement(link, logged.bundle, kind, view.trust)
    if opened.verified is not None:
        opened.predicate = _check_predicate(link, opened.verified, entry)
    if (header := opened.header) is not None:
        _check_header(link, header, view)
    elif isinstance(opened.predicate, DecisionRecord | Adoption | Withdrawal):
        view.prove_ancestor(link, opened.predicate.checkpoint)
    return opened


def _check_entry(link: Link, logged: LoggedRecord, view: LogView) -> LogEntry | None:
    if logged.index is None or logged.entry is None:
        link.fault("no entry of the log names this record: the entry was changed or removed, or it was never logged")
        return None
    data, index = logged.entry, logged.index
    view.prove_entry(link, index, data, logged.proof)
    return link.attempt(lambda: log_entry.decode(data, f"entry {index} of the log"))


def _check_file(link: Link, logged: LoggedRecord, entry: LogEntry | None) -> None:
    """The file of the record and the statement inside, against the two digests in the log."""
    if logged.bundle is None:
        named = f" {entry.record}" if entry else ""
        link.lost(f"the file of the record{named} is not there")
    elif entry is not None:
        found = hashlib.sha256(logged.bundle).hexdigest()
        if found != entry.record:
            link.fault(f"the record's file was changed: its SHA-256 is {found}, the log says {entry.record}")
        elif hashlib.sha256(payload_of(logged.bundle) or b"").hexdigest() != entry.payload:
            link.fault("the statement inside the record is not the logged one")
        else:
            link.checked("the file is the logged one")


def _check_statement(link: Link, bundle: bytes, kind: RecordType, trust: TrustFile) -> VerifiedStatement | None:
    expected, alone = PREDICATES[kind], without_thresholds(trust)  # a record is one statement; gates count signers
    verified = link.attempt(
        lambda: verify_statement(bundle, alone, role=signers_of(expected), predicate_types={expected})
    )
    if verified is not None:
        link.take(verified.checks)
    return verified


def _check_predicate(link: Link, verified: VerifiedStatement, entry: LogEntry | None) -> Value | None:
    model = MODELS.get(PredicateType(verified.statement.predicateType))
    if model is SuiteVerdict and CAMPAIGN in verified.statement.predicate:
        model = CampaignVerdict
    if model is None:
        return None
    predicate = link.attempt(lambda: read_predicate(model, verified.statement.predicate))
    if predicate is None:
        return None
    if entry is not None:
        said = serials_of(predicate)
        link.expect(
            entry.serial in said or (entry.serial is None and len(said) != 1),  # a test may be of several units
            "it has its published shape, and is about the logged serial number",
            f"the log says that it is about {entry.serial}, the record says {', '.join(sorted(said)) or 'nobody'}",
        )
    return predicate


def read_predicate(model: type[Value], predicate: dict[str, Any]) -> Value:
    """`predicate` as `model`, read strictly; `NotVerified` names the member that is wrong."""
    try:
        return model.model_validate_json(json.dumps(predicate))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotVerified(
            f"the predicate is not as published: {where}: {first['msg']}", remedy="use the version that wrote it"
        ) from error


def serials_of(predicate: Value) -> frozenset[str]:
    """The serial numbers that a predicate about units names."""
    if isinstance(predicate, SuiteVerdict):
        return frozenset(unit.serial for unit in predicate.bench.units if unit.serial)
    serial = getattr(predicate, "serial", None)
    return frozenset({serial}) if isinstance(serial, str) else frozenset()


def chips_of(predicate: Value) -> frozenset[str]:
    """The chips that a predicate about units names, in hex."""
    if isinstance(predicate, SuiteVerdict):
        return frozenset(unit.chip for unit in predicate.bench.units)
    chip = getattr(predicate, "chip", None)
    return frozenset({chip}) if isinstance(chip, str) else frozenset()


def _check_header(link: Link, header: RunHeader, view: LogView) -> None:
    view.prove_ancestor(link, header.checkpoint)
    until = "" if header.finished == header.started else f" to {header.finished}"
    link.tell("when", f"{header.started}{until}, by the clock of the host")
    link.tell("where", f"place {header.place}, board {header.board}, assay {header.assay}, run {header.run_id}")
    if header.outcome is not Outcome.PASS and header.reason:
        link.tell("reason", header.reason)
    if header.emulated:
        link.mark(Mark.EMULATED)
        if not view.trust.allow_emulated:
            link.fault(f"the unit is emulated, which the trust file '{view.trust.name}' refuses")


def _is_known(claim: Statement) -> bool:
    return claim.predicateType in set(PredicateType)


def _link_name(logged: LoggedRecord, entry: LogEntry | None) -> str:
    if logged.index is None:
        digest = hashlib.sha256(logged.bundle or b"").hexdigest()
        return f"records/not-logged-{digest[:KEY_DIGITS]}"
    return f"records/{logged.index:08d}" + (f"-{entry.type}" if entry else "")


def _title(logged: LoggedRecord, entry: LogEntry | None) -> str:
    number = "not in the log" if logged.index is None else f"#{logged.index}"
    return f"{number} {entry.type.capitalize() if entry else 'record'}"


def decode_base64(text: str, what: str) -> bytes:
    """`text` from standard base64; `NotVerified` names `what`."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise NotVerified(f"{what} is not base64", remedy="get the record again") from error
