# SPDX-License-Identifier: Apache-2.0
"""Which signer of a trust file a bundle is by, and whether that signer may say what the statement says.

Guards: a key is found by its id and has to have the role; an identity by issuer and name, exactly or by its pattern; a
bundle with a certificate is never taken for one with a key. Limits on the signer hold, or the statement is refused. Who
is revoked in any line of the file is refused by all others, too. One signer counts once.
Leaves to others: signatures (`statement_verifier`, `keyless_proof`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from assay.errors import NotVerified
from assay.model.signer_limits import ProvedTime
from assay.model.statement import PredicateType, Statement
from assay.model.trust import Role, TrustedIdentity, TrustedKey, TrustedSigner, TrustFile, VerifiedStatement

CLOCK_FLOOR = datetime(2026, 1, 1, tzinfo=UTC)
"""No statement of assay is older: a clock before this is wrong."""

CLOCK_SKEW = timedelta(minutes=5)
"""By how much the clock of who asks may be behind that of a time stamp authority."""

_OTHER = "use the trust file of the site that made it, or have it signed by who may"


def allowed_key(trust: TrustFile, roles: frozenset[Role], hint: str) -> TrustedKey:
    """The key with the id `hint` that `trust` has for one of `roles`. Raises `NotVerified`."""
    named = [key for key in trust.keys if key.keyid == hint]
    allowed = [key for key in named if key.role in roles]
    if not allowed:
        known = f"trusted as {', '.join(sorted(key.role for key in named))}" if named else "not in the trust file"
        raise NotVerified(
            f"the statement must be signed by {_words(roles)}; its key {hint[:16]} is {known} ('{trust.name}')",
            remedy=_OTHER,
        )
    _check_development(allowed[0], trust)
    return allowed[0].model_copy(update={"revoked": True}) if trust.is_revoked(hint) else allowed[0]


def identities_for(trust: TrustFile, roles: frozenset[Role]) -> dict[str, list[TrustedIdentity]]:
    """The identities that `trust` has for `roles`, by the services that certify them. Raises `NotVerified` for none."""
    found: dict[str, list[TrustedIdentity]] = {}
    for identity in trust.identities:
        if identity.role in roles and identity.sigstore is not None:
            found.setdefault(identity.sigstore, []).append(identity)
    if not found:
        raise NotVerified(
            f"the bundle carries a certificate, and '{trust.name}' names no identity for {_words(roles)}: a key of the "
            "trust file was expected",
            remedy="have it signed with a key that the trust file names, or name the identity in the trust file",
        )
    return found


def allowed_identity(trust: TrustFile, identities: list[TrustedIdentity], issuer: str, san: str) -> TrustedIdentity:
    """The identity that the certificate's names fit; revoked, when they fit a revoked one of whatever role or services.
    Raises `NotVerified`.
    """
    found = next((each for each in identities if each.issuer == issuer and names_fit(each, san)), None)
    if found is None:
        raise NotVerified(
            f"the certificate names {san} (by {issuer}), which '{trust.name}' does not trust for that", remedy=_OTHER
        )
    services = trust.services(found.sigstore)
    if services is not None and services.development:
        found = found.model_copy(update={"development": True})
    _check_development(found, trust)
    if any(each.revoked and each.issuer == issuer and names_fit(each, san) for each in trust.identities):
        return found.model_copy(update={"revoked": True})
    return found


def distinct_signers(statements: Iterable[VerifiedStatement]) -> int:
    """How many signers the statements have: whoever may be one person counts once."""
    persons: list[frozenset[tuple[str, ...]]] = []
    for statement in statements:
        who = statement.is_who
        same = [each for each in persons if each & who]
        persons = [each for each in persons if not each & who] + [who.union(*same)]
    return len(persons)


def is_revoked(trust: TrustFile, signer: TrustedSigner) -> bool:
    """Whether nothing of `signer` can count, by whatever line of `trust`."""
    if isinstance(signer, TrustedKey):
        return trust.is_revoked(signer.keyid)
    gone = [each for each in trust.identities if each.revoked and each.issuer == signer.issuer]
    return any(each.is_who == signer.is_who or (signer.san and names_fit(each, signer.san)) for each in gone)


def names_fit(identity: TrustedIdentity, san: str) -> bool:
    """Whether the certificate's name is the identity's, or fits its pattern."""
    if identity.san is not None:
        return identity.san == san
    return identity.san_pattern is not None and pattern_fits(identity.san_pattern, san)


def pattern_fits(pattern: str, text: str) -> bool:
    """`*` stands for one or more characters other than `/`."""
    parts = [re.escape(part) for part in pattern.split("*")]
    return re.fullmatch("[^/]+".join(parts), text) is not None


def pattern_fault(pattern: str) -> str | None:
    """What is wrong with a pattern; None when it is one. Who it is about has to be written out."""
    scheme, separator, rest = pattern.partition("://")
    if separator:
        host, slash, _ = rest.partition("/")
        good = bool(host) and slash == "/" and "*" not in scheme + host
    else:
        user, at, domain = pattern.rpartition("@")
        good = bool(user and at and domain) and "*" not in domain
    if good and "**" not in pattern:
        return None
    return f"the pattern {pattern!r} leaves open whose it is: write scheme and host, or the domain, without `*`"


def check_limits(
    signer: TrustedSigner,
    statement: Statement,
    time: Callable[[], ProvedTime | None],
    at: Callable[[], datetime | None],
) -> None:
    """`NotVerified` unless the signer's limits hold; `time` is proved, `at` is when the question is asked: both are
    asked for only where a limit needs them.
    """
    what = f"the {signer.role} signer '{signer.name}'"
    if signer.revoked:
        raise NotVerified(f"{what} is revoked", remedy="have it signed again by who may")
    if signer.predicate_types and statement.predicateType not in signer.predicate_types:
        raise NotVerified(
            f"{what} may not make statements of the type {statement.predicateType}", remedy="have it signed by who may"
        )
    if signer.modules and (strangers := modules_of(statement) - set(signer.modules)):
        module = min(strangers)
        about = f"the module '{module}'" if module else "what names no module"
        raise NotVerified(
            f"{what} may make statements about {', '.join(signer.modules)}, not about {about}",
            remedy="have it signed by who may",
        )
    if signer.builder_ids and statement.predicateType == PredicateType.PROVENANCE:
        _check_builder(what, signer, statement)
    _check_window(what, signer, time, at)


def _check_builder(what: str, signer: TrustedSigner, statement: Statement) -> None:
    """Whoever relies on a build asks more (`stages.provenance.verify`)."""
    value: object = statement.predicate
    for step in ("runDetails", "builder", "id"):
        value = value.get(step) if isinstance(value, dict) else None
    if value not in signer.builder_ids:
        raise NotVerified(
            f"{what} may not vouch for the builder {value!r}",
            remedy="add it to the builder_ids of the signer in the trust file, if you trust that builder",
        )


def check_clock(at: datetime | None) -> None:
    """`NotVerified` when the question is asked before there was anything to ask about. Asked first: the Sigstore client
    looks for certificates that hold now, and at 1970 says that the trusted root has none.
    """
    if at is not None and at < CLOCK_FLOOR:
        raise NotVerified(
            f"the time of asking is {at:%Y-%m-%d %H:%M}, before any statement of assay: the clock is wrong",
            remedy="set the clock, or say the time with --at",
        )


def check_order(time: ProvedTime | None, at: datetime | None) -> None:
    """`NotVerified` when the question is asked before the statement was made: it was not there yet."""
    if time is not None and at is not None and at + CLOCK_SKEW < time.when:
        raise NotVerified(
            f"the statement was signed at {time.when:%Y-%m-%d %H:%M:%S} UTC, after the time of asking",
            remedy="set the clock; with --at, ask for a later time",
        )


def _check_window(
    what: str, signer: TrustedSigner, proved: Callable[[], ProvedTime | None], at: Callable[[], datetime | None]
) -> None:
    if not signer.has_window:
        return
    time = proved()
    when = time.when if time is not None else at()
    if when is None:
        raise NotVerified(f"{what} counts for a time only, and no time is proved", remedy="have it time-stamped")
    if time is None:
        check_clock(when)
    if not signer.window_holds(when):
        made = f"signed (as {time.source} says)" if time is not None else "asked, and no time stamp says it is older"
        raise NotVerified(
            f"{what} is not trusted for {when:%Y-%m-%d %H:%M:%S} UTC, when this was {made}",
            remedy="have it signed again by a signer of that time, or time-stamped while the signer counts",
        )


_MODULE_IN = {
    PredicateType.PROVENANCE: ("buildDefinition", "externalParameters", "module"),
    PredicateType.SBOM: ("metadata", "component", "name"),
    PredicateType.RELEASE: ("name",),
    PredicateType.PATCH: ("release",),
    PredicateType.FLASH: ("image", "release"),
    PredicateType.UPDATE: ("image", "release"),
    PredicateType.PROVISIONING: ("app", "release"),
}
"""Where a predicate names the module, or the release of it."""


def modules_of(statement: Statement) -> set[str]:
    """The modules that a statement is about, never none: '' stands for what names no module. A test result has them in
    the names of its subjects, and may have several.
    """
    kind = _known(statement.predicateType)
    if kind is PredicateType.TEST_RESULT:
        return {subject.name.partition("@")[0] for subject in statement.subject}
    value: object = statement.predicate
    for step in _MODULE_IN.get(kind, ()) if kind is not None else ():
        value = value.get(step) if isinstance(value, dict) else None
    return {value.partition("@")[0] if isinstance(value, str) else ""}


def _known(predicate_type: str) -> PredicateType | None:
    try:
        return PredicateType(predicate_type)
    except ValueError:
        return None


def _check_development(signer: TrustedSigner, trust: TrustFile) -> None:
    if signer.development and not trust.allow_development:
        raise NotVerified(
            f"the statement is signed by the UNSAFE-DEVELOPMENT signer '{signer.name}', which '{trust.name}' refuses",
            remedy="sign it with a production key, or allow development keys in the trust file of a demonstration",
        )


def _words(roles: frozenset[Role]) -> str:
    return " or ".join(sorted(roles)) or "nobody"
