# SPDX-License-Identifier: Apache-2.0
"""Verification summaries (SLSA VSA v1): one small statement that a policy passed, for who cannot verify it all.

Guards: a summary is made from a decision that allows, and from nothing else. It is believed only after the seven steps
of SLSA v1.2, "Verifying VSAs": signature, subject, predicate type, verifier of that key, resource, result, levels;
and its second subject is the very release document, which no other signature covers where there is no provenance.
Leaves to others: deciding (`stages.policy`), signing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

from assay import __version__
from assay.errors import NotVerified
from assay.formats import canonical_json
from assay.formats.statement_verifier import verify_statement
from assay.model.artifact import Release, ReleaseSummary
from assay.model.policy import Decision
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Check, Role, TrustedKey, TrustFile, VerifiedStatement

VERIFIER_URI = "urn:assay:verifier:"
"""`verifier.id` is this and the id of the key that signs (of an identity: `who_sha256`): no summary can name another
verifier than its signer."""

POLICY_URI = "urn:assay:policy:"
FACTS = "urn:assay:facts:v1"
"""Our member of the predicate: the SHA-256 of the facts that the decision was made on."""

PASSED = "PASSED"
SLSA_VERSION = "1.2"
BUILD_LEVEL = 1
"""What a gate asks for; no builder of this project is worth more (`stages.provenance.verify`)."""

_LEVEL = re.compile(r"SLSA_BUILD_LEVEL_([0-9])")


def resource_of(release: Release) -> str:
    """`resourceUri` of a release."""
    return f"urn:assay:release:{release.board}:{release.reference}"


def summary_statement(
    decision: Decision, release: Release, inputs: Mapping[str, str], keyid: str, level: int, when: str
) -> Statement:
    """The summary of `decision` about `release`, by the verifier with the key `keyid`; `inputs` are the attestations
    that were verified, by name and SHA-256. Two of the same decision differ in `when` only.
    """
    if not decision.allowed:
        raise NotVerified("a decision that refuses has no summary", remedy="see what the policy says")
    predicate = {
        "verifier": {"id": VERIFIER_URI + keyid, "version": {"assay": __version__}},
        "timeVerified": when,
        "resourceUri": resource_of(release),
        "policy": {
            "uri": f"{POLICY_URI}{decision.pack.name}:{decision.pack.version}",
            "digest": {"sha256": decision.pack.sha256},
        },
        "inputAttestations": [
            {"uri": f"urn:assay:attestation:{name}", "digest": {"sha256": digest}} for name, digest in inputs.items()
        ],
        "verificationResult": PASSED,
        "verifiedLevels": [f"SLSA_BUILD_LEVEL_{level}"],
        "slsaVersion": SLSA_VERSION,
        FACTS: {"digest": {"sha256": decision.facts_sha256}},
    }
    return Statement(subject=_subjects(release), predicateType=PredicateType.SUMMARY.value, predicate=predicate)


def verify_summary(bundle: bytes, trust: TrustFile, release: Release) -> ReleaseSummary:
    """The summary in `bundle` about `release`, by a verifier that `trust` names. Raises `NotVerified` that names the
    step.
    """
    verified = verify_statement(
        bundle,
        trust,
        role=Role.VERIFIER,
        predicate_types={PredicateType.SUMMARY},
        subject_sha256=release.image.file_sha256,
    )
    document = _subjects(release)[1].digest["sha256"]
    if not any(subject.digest.get("sha256") == document for subject in verified.statement.subject):
        _refuse(f"is about another release document than that of {release.reference} in the store")
    return check_summary(verified, resource_of(release), trust)


def check_summary(verified: VerifiedStatement, resource: str | None, trust: TrustFile) -> ReleaseSummary:
    """Steps four to seven on a statement whose signature, subject and type were verified, and that it is of a policy
    that `trust` asks for. Raises `NotVerified`.

    `resource` None: whoever asks does not know what it has to be about, which leaves step five to them.
    """
    predicate, key = verified.statement.predicate, verified.signer
    verifier = _text(_table(predicate, "verifier"), "id")
    if verifier != VERIFIER_URI + (key.keyid if isinstance(key, TrustedKey) else key.who_sha256):
        _refuse(f"names the verifier {verifier[:80]!r}, and the key '{key.name}' is not its key")
    found = _text(predicate, "resourceUri")
    if resource is not None and found != resource:
        _refuse(f"is about {found[:80]!r}, expected {resource!r}")
    result = predicate.get("verificationResult")
    if result != PASSED:
        _refuse(f"says {str(result)[:20]!r}, and not {PASSED}")
    levels = predicate.get("verifiedLevels")
    if not isinstance(levels, list) or not any(_build_level(level) >= BUILD_LEVEL for level in levels):
        _refuse(f"verifies no SLSA build level of at least {BUILD_LEVEL}")
    policy = _table(predicate, "policy")
    _check_policy(policy, predicate, trust)
    return ReleaseSummary(
        signer=key,
        verifier_id=verifier,
        policy_uri=_text(policy, "uri"),
        policy_sha256=_text(_table(policy, "digest"), "sha256"),
        levels=tuple(str(level) for level in levels),
        checks=(
            *verified.checks,
            Check(f"verification summary: {found} {PASSED} {_text(policy, 'uri')}", key),
            Check(f"levels {', '.join(str(level) for level in levels)}, by the verifier of that key"),
        ),
    )


def _check_policy(policy: Mapping[str, Any], predicate: Mapping[str, Any], trust: TrustFile) -> None:
    """The policy is one of those that `trust` asks for, if it asks; and the summary is as young as it has to be."""
    if not trust.summary_policies:
        return
    uri, sha256 = _text(policy, "uri"), _text(_table(policy, "digest"), "sha256")
    name, _, version = uri.removeprefix(POLICY_URI).partition(":")
    fitting = [
        wanted
        for wanted in trust.summary_policies
        if uri.startswith(POLICY_URI)
        and (wanted.name, wanted.version or version, wanted.sha256 or sha256) == (name, version, sha256)
    ]
    if not fitting:
        _refuse(f"is of the policy {uri[:80]!r} ({sha256[:16]}), which '{trust.name}' does not ask for")
    when = _time(predicate)
    if not any(wanted.verified_from is None or (when and when >= wanted.verified_from) for wanted in fitting):
        _refuse(
            f"was derived {when or 'at no time that it tells'}, which is before the time that '{trust.name}' asks for"
        )


def _time(predicate: Mapping[str, Any]) -> datetime | None:
    try:
        when = datetime.fromisoformat(str(predicate.get("timeVerified")))
    except ValueError:
        return None
    return when if when.tzinfo is not None else None


def _subjects(release: Release) -> tuple[Subject, Subject]:
    """The image file, and the release document that the store keeps beside it."""
    document = hashlib.sha256(canonical_json.encode_value(release)).hexdigest()
    return (
        Subject(name=release.reference, digest={"sha256": release.image.file_sha256}),
        Subject(name=f"release/{release.reference}", digest={"sha256": document}),
    )


def _build_level(level: Any) -> int:
    match = _LEVEL.fullmatch(level) if isinstance(level, str) else None
    return int(match[1]) if match else 0


def _table(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    if not isinstance(found, dict):
        _refuse(f"lacks {name}")
    return found


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str) or not found:
        _refuse(f"lacks {name}")
    return found


def _refuse(what: str) -> NoReturn:
    raise NotVerified(f"the verification summary {what}", remedy="get the summary of this release from who verified it")
