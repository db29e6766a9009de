# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the policy in a trust file: identities, services, limits and thresholds that cannot be meant.

Guards: a limit that would never let anything through, or could be taken for one that is there, is told when the file
is read and not when a statement is refused. A signer has one line, so that no other one takes a limit away. Leaves to
others: keys and logs (`trust_file`).
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.errors import NotVerified
from assay.formats import trusted_root
from assay.formats.signer_choice import is_revoked, pattern_fault
from assay.formats.statement_types import signers_of
from assay.model.statement import PredicateType
from assay.model.trust import STATEMENT_ROLES, Role, TrustedIdentity, TrustedKey, TrustedSigner, TrustFile

_OF_STATEMENTS = ("valid_from", "valid_until", "modules", "predicate_types", "sigstore", "log_required")
"""Limits that are held against a statement; whatever else a key signs carries no time, and names no module."""

_OF_ONE = {
    PredicateType.POLICY.value: "a pack decides from its adoption on, and is adopted once",
    PredicateType.DECISION.value: "who does something decides about it, and records both",
    PredicateType.WITHDRAWAL.value: "it takes away, and a second signer would let a bad release stay",
    PredicateType.VEX.value: "each says what its signer knows",
}
"""Types of which no gate counts several; a threshold would refuse them all, or be taken for one that holds."""

Fault = tuple[tuple[str | int, ...], str]


def policy_faults(trust: TrustFile) -> list[Fault]:
    """Path in the document, and the sentence. Empty when all is well."""
    found: list[Fault] = []
    names = [services.name for services in trust.sigstore]
    for place, services in enumerate(trust.sigstore):
        if names.count(services.name) > 1:
            found.append((("sigstore", place, "name"), f"the services '{services.name}' are there twice"))
        try:
            trusted_root.read(services.trusted_root)
        except NotVerified as error:
            found.append((("sigstore", place, "trusted_root"), error.message))
    tables: dict[str, tuple[TrustedSigner, ...]] = {"keys": trust.keys, "identities": trust.identities}
    for table, signers in tables.items():
        for place, signer in enumerate(signers):
            found += [((table, place, key), text) for key, text in _signer_faults(signer, trust)]
    return [*found, *repeated(trust), *_threshold_faults(trust), *_summary_faults(trust)]


def repeated(trust: TrustFile) -> Iterator[Fault]:
    """A key has one role and one line; an identity has one line for each role and services."""
    lines: dict[str, TrustedKey] = {}
    for place, key in enumerate(trust.keys):
        first = lines.setdefault(key.keyid, key)
        if first is key:
            continue
        if first.role is not key.role:
            yield ("keys", place, "role"), f"the key {key.keyid[:16]} is there as a {first.role} key, and has one role"
        else:
            yield ("keys", place, "keyid"), f"the key {key.keyid[:16]} is there twice: limits go into its one line"
    seen: set[tuple[str, ...]] = set()
    for place, identity in enumerate(trust.identities):
        which = (identity.role, identity.sigstore or "", *identity.is_who)
        if which in seen:
            yield ("identities", place, "name"), "this identity is there twice: limits go into its one line"
        seen.add(which)


def _signer_faults(signer: TrustedSigner, trust: TrustFile) -> Iterator[tuple[str, str]]:
    if signer.sigstore is not None and trust.services(signer.sigstore) is None:
        yield "sigstore", f"there is no [[sigstore]] named '{signer.sigstore}'"
    if signer.log_required and signer.sigstore is None:
        yield "log_required", "expected `sigstore`, too: whose log is meant"
    if signer.valid_from and signer.valid_until and signer.valid_from > signer.valid_until:
        yield "valid_until", "ends before valid_from"
    for kind in signer.predicate_types:
        if signer.role not in signers_of(kind):
            yield "predicate_types", f"a {signer.role} may not make statements of the type {kind!r}"
    if isinstance(signer, TrustedIdentity):
        yield from _identity_faults(signer)
    elif signer.role not in STATEMENT_ROLES:
        for name in _OF_STATEMENTS:
            if getattr(signer, name):
                yield name, f"a {signer.role} key signs no statements, and this would limit nothing; `revoked` does"


def _identity_faults(identity: TrustedIdentity) -> Iterator[tuple[str, str]]:
    if identity.sigstore is None:
        yield "name", "expected `sigstore`: whose certificates name this identity"
    if identity.role not in STATEMENT_ROLES:
        yield "role", f"a {identity.role} signs no statements, and an identity signs nothing else"
    if (identity.san is None) == (identity.san_pattern is None):
        yield "name", "expected exactly one of `san` and `san_pattern`"
    if identity.san is not None and (not identity.san or "*" in identity.san):
        yield "san", "is a whole name; a pattern is written as `san_pattern`"
    if identity.san_pattern is not None and (fault := pattern_fault(identity.san_pattern)):
        yield "san_pattern", fault


def _summary_faults(trust: TrustFile) -> Iterator[Fault]:
    roles = {key.role for key in trust.keys} | {identity.role for identity in trust.identities}
    if trust.summary_policies and Role.VERIFIER not in roles:
        yield ("summary_policies", 0, "name"), "nobody here signs summaries, and this would limit nothing"


def _threshold_faults(trust: TrustFile) -> Iterator[Fault]:
    kinds = [threshold.predicate_type for threshold in trust.thresholds]
    everybody: tuple[TrustedSigner, ...] = (*trust.keys, *trust.identities)
    for place, threshold in enumerate(trust.thresholds):
        roles = signers_of(threshold.predicate_type)
        signers = {each.is_who for each in everybody if each.role in roles and not is_revoked(trust, each)}
        if threshold.predicate_type in _OF_ONE:
            yield ("thresholds", place, "predicate_type"), f"is of one signer: {_OF_ONE[threshold.predicate_type]}"
        elif not roles:
            yield ("thresholds", place, "predicate_type"), f"nobody makes statements of {threshold.predicate_type!r}"
        elif kinds.count(threshold.predicate_type) > 1:
            yield ("thresholds", place, "predicate_type"), "is there twice"
        elif len(signers) < threshold.count:
            text = (
                f"expected at least {threshold.count} signers that may make these statements, there are {len(signers)}"
            )
            yield ("thresholds", place, "count"), text
