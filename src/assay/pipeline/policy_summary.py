# SPDX-License-Identifier: Apache-2.0
"""Derive the verification summary of a release: verify it, let a policy decide, sign what came out, keep it.

Guards: a summary says what was derived here and now, from the statements themselves and the adopted pack; there is no
way to write one by hand. Leaves to others: its form, and believing it (`stages.provenance.summary`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.errors import Refused, UsageFault
from assay.formats import canonical_json
from assay.formats.statement_verifier import verify_statement, without_thresholds
from assay.model.artifact import Release
from assay.model.board import Board
from assay.model.policy import Point
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType, Statement
from assay.model.trust import Role, TrustFile
from assay.pipeline.policy_gate import Judged, Question, denial, judge
from assay.pipeline.release_gate import verify_release
from assay.pipeline.run_journal import timestamp
from assay.pipeline.unit_records import parse_reference
from assay.stages.provenance.summary import BUILD_LEVEL, summary_statement

if TYPE_CHECKING:
    from assay.pipeline.site import Site

TIME = "timeVerified"
"""The member of the predicate that differs when a summary is derived again."""


@dataclass(frozen=True)
class Summarized:
    """The summary as a Sigstore bundle, its record, and the decision that it sums up."""

    release: Release
    bundle: bytes
    record: RecordRef
    judged: Judged


def summarize(site: Site, reference: str, board: Board, trust: TrustFile, pack: str | None) -> Summarized:
    """Derive, sign, record, and keep beside the release in the store. Raises `Refused` when a policy denies,
    `UsageFault` when none decides at publish, or several do and `pack` names none of them.
    """
    release, judged = _derive(site, reference, board, trust, pack)
    site.recorder.attach(canonical_json.encode_value(judged.facts))
    site.recorder.attach(judged.pack.data)
    record = site.recorder.record(_statement(site, release, judged), RecordType.SUMMARY, Role.VERIFIER)
    bundle = site.recorder.bundle(record)
    site.store.attach(release, PredicateType.SUMMARY.value, bundle)
    return Summarized(release, bundle, record, judged)


def derive_again(
    site: Site, reference: str, board: Board, trust: TrustFile, pack: str | None, bundle: bytes
) -> tuple[str, ...]:
    """The members of the predicate in which `bundle` is not what is derived now; none when it is the same.

    Raises `NotVerified` when no verifier of `trust` signed it, and what `summarize` raises.
    """
    release, judged = _derive(site, reference, board, trust, pack)
    alone = without_thresholds(trust)  # this one is asked about, and nobody goes by it here
    kept = verify_statement(bundle, alone, role=Role.VERIFIER, predicate_types={PredicateType.SUMMARY}).statement
    fresh = _statement(site, release, judged)
    ours: dict[str, Any] = {"subject": canonical_json.plain(fresh)["subject"], **fresh.predicate}
    theirs: dict[str, Any] = {"subject": canonical_json.plain(kept)["subject"], **kept.predicate}
    return tuple(
        name for name in sorted(ours.keys() | theirs.keys()) if name != TIME and ours.get(name) != theirs.get(name)
    )


def _derive(site: Site, reference: str, board: Board, trust: TrustFile, pack: str | None) -> tuple[Release, Judged]:
    name, version = parse_reference(reference)
    image = verify_release(site.store, trust, name, version, board)
    if image.summary is not None:
        raise Refused(
            f"'{trust.name}' trusts no builder: a summary is not derived from a summary",
            remedy="use a trust file that names who builds",
        )
    judged = judge(site, Question(Point.PUBLISH, image, board, trust))
    chosen = [one for one in judged if pack in (None, one.pack.pack.name)]
    if len(chosen) != 1:
        known = ", ".join(one.pack.pack.name for one in judged) or "none: assay policy adopt PACK --reason ..."
        raise UsageFault("which policy is to be summed up is not clear", remedy=f"policies at publish: {known}")
    if not chosen[0].decision.allowed:
        raise denial([chosen[0].decision])
    return image.release, chosen[0]


def _statement(site: Site, release: Release, judged: Judged) -> Statement:
    inputs = {PredicateType(kind).name.lower(): digest for kind, digest in sorted(release.attestations.items())}
    inputs |= {f"test-{number}": test.record for number, test in enumerate(judged.facts.release.tests)}
    keyid = site.signers.public_key(Role.VERIFIER).keyid
    return summary_statement(judged.decision, release, inputs, keyid, BUILD_LEVEL, timestamp(site.clock))
