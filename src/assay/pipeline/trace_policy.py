# SPDX-License-Identifier: Apache-2.0
"""Decisions of policies in a trace: what was decided, by which pack, and that what was done was done under them.

Guards: a record that names a decision which is not there, or which refused, is broken; an override is marked for ever.
Leaves to others: deriving a decision again (`policy_replay`), which takes the engine; a trace takes none.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from assay.model.policy import Adoption, DecisionRecord, PackReference, Point, PolicyNote
from assay.model.record import RecordType
from assay.model.trace import Mark
from assay.pipeline.trace_link import KEY_DIGITS, Link
from assay.pipeline.trace_record import OpenedRecord


@dataclass(frozen=True)
class Adoptions:
    """The adoptions of the log that verified, each with its entry."""

    entries: tuple[tuple[int, Adoption], ...] = ()

    def in_force(self, point: Point, size: int) -> dict[str, PackReference]:
        """The packs that decide at `point` by the first `size` entries of the log, by name."""
        found: dict[str, PackReference] = {}
        for index, adoption in self.entries:
            if index < size:
                if adoption.restart:
                    found.clear()
                found.pop(adoption.name, None)
                if adoption.pack is not None and point in adoption.at:
                    found[adoption.name] = adoption.pack
        return found


def adoptions_in(opened: Iterable[OpenedRecord]) -> Adoptions:
    """The adoptions among `opened`; each has to follow the one before it, or is broken. One whose signer does not count
    breaks nothing when a later one began anew; it does not count, either.
    """
    records = list(opened)
    entries: list[tuple[int, Adoption]] = []
    newest: dict[str, PackReference | None] = {}
    anew = max((_index(each) for each in records if _restarts(each)), default=-1)
    for record in records:
        said, index = record.predicate, record.logged.index
        if not isinstance(said, Adoption) or index is None:
            if record.verified is None and record.unchanged and _index(record) < anew:
                record.link.title += f", which does not count: entry {anew} began anew"
                record.link.excuse("why")
            continue
        if said.restart:
            newest.clear()
            record.link.tell("restart", "no adoption before this one counts from here on")
        what = f"'{said.pack.name}' {said.pack.version} adopted" if said.pack else f"'{said.name}' retired"
        record.link.title = f"#{index} Policy {what}"
        record.link.tell("reason", said.reason)
        if said.untested is not None:
            record.link.tell("UNTESTED", f"the pack was adopted without tests: {said.untested}")
        record.link.tell("when", f"{said.made}, by the clock of the host")
        if said.pack is not None:
            record.link.tell("pack", f"SHA-256 {said.pack.sha256[:KEY_DIGITS]}, at {', '.join(said.at)}")
        record.link.expect(
            newest.get(said.name) == said.before,
            "it follows the pack that decided before",
            "it says that another pack decided before: an adoption is missing",
        )
        newest[said.name] = said.pack
        entries.append((index, said))
    return Adoptions(tuple(entries))


def _restarts(record: OpenedRecord) -> bool:
    return isinstance(record.predicate, Adoption) and record.predicate.restart is True


def _index(record: OpenedRecord) -> int:
    return -1 if record.logged.index is None else record.logged.index


_RELEASE_KINDS = (RecordType.PROVENANCE, RecordType.SBOM, RecordType.RELEASE, RecordType.WITHDRAWAL)


def is_about_release(record: OpenedRecord) -> bool:
    """Whether the record is about an image and no unit: how it was made, published, or decided about before that."""
    if record.kind is RecordType.DECISION:
        said = record.claim.predicate if record.claim is not None else {}
        return "chip" not in said
    return record.kind in _RELEASE_KINDS


def statement_digest(record: OpenedRecord) -> str:
    """The SHA-256 of a record's statement, by which other records name it."""
    return hashlib.sha256(record.verified.payload if record.verified else b"").hexdigest()


def tell_decision(record: OpenedRecord, said: DecisionRecord, adoptions: Adoptions) -> None:
    """What was decided, and what it rests on. A denial is no fault: it is what a policy is for."""
    link, decision = record.link, said.decision
    number = link.title.split(" ")[0]
    verdict = "allowed" if decision.allowed else "refused"
    pack = f"policy '{decision.pack.name}' {decision.pack.version}"
    link.title = f"{number} {pack} {verdict} to {decision.point} {decision.subject.release}"
    statement = record.verified.statement if record.verified else None
    link.expect(
        statement is not None
        and any(item.digest.get("sha256") == decision.subject.file_sha256 for item in statement.subject),
        "the decision is about the statement's subject",
        "the decision is about another file than the statement",
    )
    in_force = adoptions.in_force(decision.point, record.logged.index or 0)
    link.expect(
        in_force.get(decision.pack.name) == decision.pack,
        "the pack is the one that was adopted then",
        f"{pack} was not what was adopted then: whoever signed the decision chose it",
    )
    link.tell("when", f"{said.made}, by the clock of the host")
    link.tell("pack", f"SHA-256 {decision.pack.sha256[:KEY_DIGITS]}, {len(decision.checks)} checks")
    link.tell("facts", f"SHA-256 {decision.facts_sha256[:KEY_DIGITS]}, kept beside the record")
    for check in (*decision.denials, *decision.warnings):
        link.tell(check.outcome.value, f"{check.id}: {check.reason}")
    if said.skipped is not None:
        link.mark(Mark.SKIPPED)
        link.tell("SKIPPED", f"somebody went on without minding it: {said.skipped}")


def tell_policy(
    link: Link,
    note: PolicyNote | None,
    decisions: Mapping[str, DecisionRecord],
    about: tuple[Point, Iterable[str]],
    in_force: Iterable[str],
) -> None:
    """What a record of something done says of the decisions that it was done under; `decisions` came before it.

    `about`: what was done, and the SHA-256 of each file that it was done with. `in_force`: names of the packs that had
    to be asked about each. Records from before there were policies have no `note`.
    """
    point, files = about
    named = [decisions[digest].decision for digest in (note.decisions if note else ()) if digest in decisions]
    asked = {(said.pack.name, said.subject.file_sha256) for said in named if said.point == point}
    for name, file in itertools.product(sorted(set(in_force)), sorted(set(files))):
        if (name, file) not in asked:
            link.fault(f"policy '{name}' had been adopted, and was not asked about the file {file}")
    if note is None:
        return
    if not note.decisions and note.skipped is None:
        link.tell("policy", "none was adopted for this: no policy decided")
        return
    if note.skipped is not None:
        link.mark(Mark.SKIPPED)
        link.tell("policy", f"SKIPPED: {note.skipped}")
    for digest in note.decisions:
        said = decisions.get(digest)
        if said is None:
            link.fault(f"the decision {digest} that it was done under is not there, or does not verify")
        elif not said.decision.allowed and note.skipped is None:
            link.fault(f"policy '{said.decision.pack.name}' refused it, and it was done")
        elif note.skipped != said.skipped:
            link.fault("the record and its decision disagree on whether the policy was skipped")
        else:
            link.checked(f"decided by policy '{said.decision.pack.name}' {said.decision.pack.version}")
