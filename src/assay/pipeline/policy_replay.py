# SPDX-License-Identifier: Apache-2.0
"""Recorded decisions, read again: explained, derived again from pack and facts beside the record, or by another pack.

Guards: a decision is shown only when its statement verifies, and its facts are the ones that it was made on.
Leaves to others: showing (`cli.policy`), deciding (`stages.policy.decide`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from assay.errors import AssayError, NotVerified, UsageFault
from assay.formats.statement_verifier import signers_of, verify_statement
from assay.interfaces.policy_engine import PolicyEngine
from assay.model.policy import Decision, DecisionRecord
from assay.model.policy_facts import Facts
from assay.model.record import LogEntry, RecordType
from assay.model.statement import PredicateType
from assay.model.trust import TrustedSigner, TrustFile
from assay.pipeline.policy_adoption import adopted_bytes
from assay.pipeline.policy_files import LoadedPack
from assay.pipeline.trace_record import read_predicate
from assay.stages.policy.decide import decide

if TYPE_CHECKING:
    from assay.pipeline.site import Site

DIGITS_MIN = 8
"""Hex digits of a record's digest that are enough to name it."""


@dataclass(frozen=True)
class Recorded:
    """A decision from the log, verified, and the facts that it was made on."""

    index: int
    record: str
    said: DecisionRecord
    signer: TrustedSigner
    facts: Facts


@dataclass(frozen=True)
class Explained:
    """`again` is what pack and facts beside the record give now; None, and `why`, when that cannot be had."""

    recorded: Recorded
    again: Decision | None
    why: str = ""

    @property
    def same(self) -> bool:
        """Whether the decision was derived again, engine aside."""
        old = self.recorded.said.decision
        return self.again is not None and self.again.model_copy(update={"engine": old.engine}) == old


@dataclass(frozen=True)
class Replayed:
    """A recorded decision, and what another pack says over the same facts; None when it is not asked at that point."""

    recorded: Recorded
    new: Decision | None

    @property
    def change(self) -> str:
        """`same`, `would be refused`, `would be allowed`, `other checks` or `not asked`."""
        old = self.recorded.said.decision
        if self.new is None:
            return "not asked"
        if self.new.allowed is not old.allowed:
            return "would be allowed" if self.new.allowed else "would be refused"
        ids = [{(check.id, check.outcome) for check in (*one.denials, *one.warnings)} for one in (old, self.new)]
        return "same" if ids[0] == ids[1] else "other checks"


def recorded_decisions(site: Site, names: Sequence[str], trust: TrustFile) -> tuple[Recorded, ...]:
    """The decisions that `names` name: a number in the log, or a digest of a record or its start; without names all.

    Raises `UsageFault` for a name that names none, or two; `NotVerified`.
    """
    if not (site.folder / "log" / "checkpoint").is_file():
        raise UsageFault(f"there is no log in {site.folder}", remedy="name the site with --site or ASSAY_SITE")
    logged = [(index, entry) for index, entry in site.records.entries() if entry.type is RecordType.DECISION]
    chosen = [_named(name, logged) for name in names] if names else logged
    return tuple(_read(site, index, entry, trust) for index, entry in chosen)


def explain(site: Site, recorded: Recorded, engine: PolicyEngine) -> Explained:
    """Derive `recorded` again from what lies beside it."""
    try:
        pack = adopted_bytes(site, recorded.said.decision.pack)
    except AssayError as error:
        return Explained(recorded, None, error.message)
    return Explained(recorded, decide(pack.pack, pack.sha256, recorded.facts, engine))


def replay(recorded: Recorded, pack: LoadedPack, engine: PolicyEngine) -> Replayed:
    """What `pack` says over the facts of `recorded`."""
    if recorded.facts.point not in pack.pack.at:
        return Replayed(recorded, None)
    return Replayed(recorded, decide(pack.pack, pack.sha256, recorded.facts, engine))


def _named(name: str, logged: Sequence[tuple[int, LogEntry]]) -> tuple[int, LogEntry]:
    number = name.removeprefix("#")
    if number.isdecimal() and len(number) < DIGITS_MIN:
        found = [each for each in logged if each[0] == int(number)]
    elif re.fullmatch(rf"[0-9a-f]{{{DIGITS_MIN},64}}", name):
        found = [each for each in logged if name in (each[1].record[: len(name)], each[1].payload[: len(name)])]
    else:
        raise UsageFault(
            f"{name!r} names no record", remedy=f"give its number in the log, or {DIGITS_MIN} digits of its SHA-256"
        )
    if len(found) != 1:
        what = "is no decision in the log of this site" if not found else "begins the digests of several"
        raise UsageFault(f"{name} {what}", remedy="assay log show lists the records: those of type 'decision'")
    return found[0]


def _read(site: Site, index: int, entry: LogEntry, trust: TrustFile) -> Recorded:
    verified = verify_statement(
        site.records.record(entry.record),
        trust,
        role=signers_of(PredicateType.DECISION),
        predicate_types={PredicateType.DECISION},
    )
    said = read_predicate(DecisionRecord, verified.statement.predicate)
    assert isinstance(said, DecisionRecord)
    raw = site.records.attachment(said.decision.facts_sha256)
    try:
        facts = Facts.model_validate_json(raw)
    except (ValidationError, json.JSONDecodeError) as error:
        text = f"the facts of the decision in entry {index} are not as this version knows them"
        raise NotVerified(text, remedy="use the version of assay that wrote them") from error
    return Recorded(index, entry.record, said, verified.signer, facts)
