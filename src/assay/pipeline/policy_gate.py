# SPDX-License-Identifier: Apache-2.0
"""The policy gate: at each enforcement point the adopted packs decide, the decisions are recorded, a denial refuses.

Guards: nothing is written to a store or a unit before every decision is durable and allows it; an override needs a
reason and is in the record. Without a pack nothing changes, and the run's record says that no policy decided.
Leaves to others: which packs decide (`policy_adoption`), the facts (`policy_facts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assay import __version__
from assay.errors import Refused
from assay.formats import canonical_json
from assay.interfaces.step_book import Say
from assay.model.artifact import VerifiedImage
from assay.model.board import Board
from assay.model.policy import Decision, DecisionRecord, Point, PolicyNote
from assay.model.policy_facts import Facts, RequestFacts, UnitFacts
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType, Subject
from assay.model.trust import Role, TrustFile
from assay.pipeline.policy_adoption import packs_at, parse_reason
from assay.pipeline.policy_facts import facts_of
from assay.pipeline.policy_files import LoadedPack, policy_engine
from assay.pipeline.run_journal import timestamp
from assay.pipeline.unit_records import statement_of
from assay.stages.policy.decide import decide

if TYPE_CHECKING:
    from assay.pipeline.site import Site

ROLES: Mapping[Point, Role] = {
    Point.PUBLISH: Role.BUILDER,
    Point.PROVISION: Role.STATION,
    Point.FLASH: Role.STATION,
    Point.INSTALL: Role.FIELD,
}
"""Who signs the decision: whoever signs what is done under it."""


@dataclass(frozen=True)
class Question:
    """What is asked: whether `image` may pass `point` on `board`; `unit` is what is on the place, where there is one.

    `bundles` are the image's statements where the store does not have them yet.
    """

    point: Point
    image: VerifiedImage
    board: Board
    trust: TrustFile
    unit: UnitFacts | None = None
    request: RequestFacts = field(default_factory=RequestFacts)
    bundles: Mapping[str, bytes] | None = None


@dataclass(frozen=True)
class Judged:
    """A decision, with the facts and the pack that it came from."""

    decision: Decision
    facts: Facts
    pack: LoadedPack
    unit: UnitFacts | None


def judge(site: Site, *questions: Question) -> tuple[Judged, ...]:
    """What the adopted packs say; nothing is recorded or refused for a denial. Raises `Refused` where they cannot be
    used, `ToolMissing`.
    """
    engine = policy_engine()
    judged: list[Judged] = []
    for question in questions:
        packs = packs_at(site, question.trust, question.point, engine)
        if not packs:
            continue
        facts = facts_of(
            site,
            question.trust,
            question.point,
            question.image,
            question.board,
            bundles=question.bundles,
            unit=question.unit,
            request=question.request,
        )
        judged += [Judged(decide(pack.pack, pack.sha256, facts, engine), facts, pack, question.unit) for pack in packs]
    return tuple(judged)


def enforce(site: Site, *questions: Question, skip: str | None, say: Say) -> PolicyNote:
    """Decide, record, and refuse what is denied, unless somebody says why not to mind (`skip`).

    Raises `Refused` that names pack, check, message and remedy, `UsageFault` for a reason that says nothing, and
    `NotRecorded`.
    """
    reason = parse_reason(skip) if skip is not None else None
    judged = judge(site, *questions)
    records = [_record(site, one, reason) for one in judged]
    denied = [one.decision for one in judged if not one.decision.allowed]
    for one in judged:
        for warning in one.decision.warnings:
            say(f"policy '{one.decision.pack.name}' warns: {warning.id}: {warning.reason}")
    if denied and reason is None:
        raise denial(denied)
    if reason is not None and judged:
        said = "; ".join(refusal_words(decision) for decision in denied) or "it would have allowed it"
        say(f"UNSAFE: policy is skipped ({reason}): {said}")
    return PolicyNote(decisions=tuple(record.entry.payload for record in records), skipped=reason if judged else None)


def enforce_unreleased(site: Site, trust: TrustFile, point: Point, *, skip: str | None, say: Say) -> PolicyNote:
    """What is no release has no facts: where a policy decides at `point`, it cannot, and that denies.

    Raises `Refused`, unless somebody says why not to mind (`skip`), which the run's record then has.
    """
    reason = parse_reason(skip) if skip is not None else None
    packs = packs_at(site, trust, point, policy_engine())
    if not packs:
        return PolicyNote()
    names = ", ".join(f"'{each.pack.name}' {each.pack.version}" for each in packs)
    if reason is None:
        raise Refused(
            f"policy {names} decides at {point} here, and cannot about a file that is no release",
            remedy="publish it as a release; or go on without: --unsafe-skip-policy REASON, which is recorded",
        )
    say(f"UNSAFE: policy {names} is skipped ({reason})")
    return PolicyNote(skipped=reason)


def denial(denied: list[Decision]) -> Refused:
    """The refusal for decisions that deny."""
    remedies = dict.fromkeys(check.remedy for decision in denied for check in decision.denials)
    return Refused("; ".join(refusal_words(decision) for decision in denied), remedy="; ".join(remedies))


def refusal_words(decision: Decision) -> str:
    """Pack, point, release, and each check that denies."""
    checks = "; ".join(f"{check.id}: {check.reason}" for check in decision.denials)
    pack = f"policy '{decision.pack.name}' {decision.pack.version}"
    return f"{pack} refuses to {decision.point} {decision.subject.release}: {checks}"


def _record(site: Site, judged: Judged, skipped: str | None) -> RecordRef:
    """Facts and pack beside the record first: a decision that is in the log can be derived again."""
    decision, unit = judged.decision, judged.unit
    site.recorder.attach(canonical_json.encode_value(judged.facts))
    site.recorder.attach(judged.pack.data)
    predicate = DecisionRecord(
        made=timestamp(site.clock),
        assay=__version__,
        decision=decision,
        skipped=skipped,
        serial=unit.serial if unit else None,
        chip=unit.chip if unit else None,
        checkpoint=site.recorder.checkpoint().decode(),
    )
    subject = Subject(name=decision.subject.release, digest={"sha256": decision.subject.file_sha256})
    statement = statement_of(PredicateType.DECISION, predicate, subject)
    serial = unit.serial if unit else None
    return site.recorder.record(statement, RecordType.DECISION, ROLES[decision.point], serial)
