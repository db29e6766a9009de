# SPDX-License-Identifier: Apache-2.0
"""The one verifier of signed statements. Its answer names what was checked and by which key.

Guards: nobody gets a `VerifiedStatement` unless the container, the signature, the signer's role, the predicate type
and (when asked) the subject were checked, in that order; any exception on the way is "not verified". Trust comes from
the trust file alone, never from the bundle.
Leaves to others: what the predicate means, which signer may say what (`signer_choice`), certificates
(`keyless_proof`), log entries (`log_entry_proof`) and time stamps (`time_stamps`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from assay.errors import AssayError, NotVerified
from assay.formats import (
    keyless_proof,
    log_entry_proof,
    public_key,
    signer_choice,
    sigstore_bundle,
    strict_json,
    trusted_root,
)
from assay.formats.archive_stamp import archive_times
from assay.formats.log_entry_proof import LoggedSignature
from assay.formats.sigstore_bundle import Bundle, KeyHint
from assay.formats.statement_types import signers_of as signers_of  # callers ask the verifier who may sign
from assay.formats.time_stamps import earliest, proved_times
from assay.model.signer_limits import LogPlace, ProvedTime, TrustedServices
from assay.model.statement import STATEMENT_TYPE, Statement
from assay.model.trust import Check, Role, TrustedKey, TrustedSigner, TrustFile, VerifiedStatement

_FIELDS = ("_type", "subject", "predicateType", "predicate")
_SUBJECT_FIELDS = ("name", "digest", "annotations")


def verify_statement(
    bundle: bytes,
    trust: TrustFile,
    *,
    role: Role | Collection[Role],
    predicate_types: Collection[str],
    subject_sha256: str | None = None,
    at: datetime | None = None,
    existed: Mapping[str, datetime] | None = None,
) -> VerifiedStatement:
    """The statement in `bundle`, signed for `role` by a key or an identity of `trust`, of one of `predicate_types`,
    about `subject_sha256`.

    `subject_sha256` is the SHA-256 of the file that the caller is about to rely on; None if the statement is not
    about a file. `at`: when the question is asked, for signers that count for a time only, where no time is proved: a
    time stamp inside, else the first archive stamp. Without `at` it is the time at which the trust file is asked.
    `existed`: when bundles (by SHA-256) were there already, as archive stamps prove; without it the archive stamps that
    the trust file is asked with.
    Raises `NotVerified`, whatever is wrong; the message names the link of the chain that broke.
    """
    return verify_statements(
        (bundle,),
        trust,
        role=role,
        predicate_types=predicate_types,
        subject_sha256=subject_sha256,
        at=at,
        existed=existed,
    )[0]


def verify_statements(
    bundles: Sequence[bytes],
    trust: TrustFile,
    *,
    role: Role | Collection[Role],
    predicate_types: Collection[str],
    subject_sha256: str | None = None,
    at: datetime | None = None,
    existed: Mapping[str, datetime] | None = None,
) -> tuple[VerifiedStatement, ...]:
    """As `verify_statement`, for statements that several signers made about the same: each verifies, and there are
    as many distinct signers as the trust file asks for (`thresholds`). Raises `NotVerified`.
    """
    roles = frozenset({role}) if isinstance(role, Role) else frozenset(role)
    known = _Existed(trust, existed)
    try:
        found = tuple(
            _verify(bundle, trust, roles, frozenset(predicate_types), subject_sha256, at, known) for bundle in bundles
        )
        _check_threshold(found, trust)
        return found
    except AssayError:
        raise
    except Exception as error:
        raise NotVerified(
            f"the statement could not be verified ({type(error).__name__})", remedy="get it again from who made it"
        ) from error


def without_thresholds(trust: TrustFile) -> TrustFile:
    """`trust` for who verifies one statement of several, and counts later."""
    return trust.model_copy(update={"thresholds": ()}) if trust.thresholds else trust


def verify_beside(
    bundle: bytes,
    others: Sequence[bytes],
    trust: TrustFile,
    *,
    role: Role | Collection[Role],
    predicate_types: Collection[str],
    subject_sha256: str | None,
) -> VerifiedStatement:
    """As `verify_statement`, for a gate that has one statement to go by and `others` beside it: where the trust file
    wants several signers, those count whose statement verifies, is of the same type, and is about the same subjects.
    """
    alone = without_thresholds(trust)
    wanted = {"role": role, "predicate_types": predicate_types, "subject_sha256": subject_sha256}
    first = verify_statement(bundle, alone, **wanted)  # type: ignore[arg-type]
    if trust.threshold(first.statement.predicateType) > 1:
        beside = (_saying_the_same(first, other, alone, wanted) for other in others)
        _check_threshold((first, *(each for each in beside if each is not None)), trust)
    return first


def _saying_the_same(
    first: VerifiedStatement, other: bytes, trust: TrustFile, wanted: Mapping[str, Any]
) -> VerifiedStatement | None:
    """What does not verify, or is about something else, counts for nothing, and stops nothing."""
    try:
        found = verify_statement(other, trust, **wanted)
    except AssayError:
        return None
    same = found.statement.predicateType == first.statement.predicateType
    return found if same and _subjects(found.statement) == _subjects(first.statement) else None


def _check_threshold(found: tuple[VerifiedStatement, ...], trust: TrustFile) -> None:
    """One signer counts once, however often it signs and by whatever name the trust file calls it."""
    for kind in sorted({each.statement.predicateType for each in found}):
        mine = [each for each in found if each.statement.predicateType == kind]
        signers = signer_choice.distinct_signers(mine)
        needed = trust.threshold(kind)
        if signers < needed:
            raise NotVerified(
                f"'{trust.name}' wants {needed} distinct signers of {kind}; there {_are(signers)}",
                remedy="give the statements of the other signers, too: assay verify FILE FILE; for a release in the "
                "store: assay rebuild NAME@VERSION --take-in FILE",
            )
        if len({_subjects(each.statement) for each in mine}) != 1:
            raise NotVerified(
                f"the statements of the type {kind} are about different subjects", remedy="verify them one by one"
            )


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"


def _subjects(statement: Statement) -> frozenset[tuple[tuple[str, str], ...]]:
    """The SHA-256 digests of the subjects; of one that has none, the digests that it has."""
    return frozenset(
        (("sha256", subject.digest["sha256"]),) if "sha256" in subject.digest else tuple(sorted(subject.digest.items()))
        for subject in statement.subject
    )


def read_statement(payload: bytes) -> Statement:
    """The in-toto statement in `payload`, read strictly; `NotVerified` when it is none. Says nothing about who signed
    it.

    Members that we do not know are ignored at the top level and in subjects (in-toto attestation spec, parsing
    rules).
    """
    document = strict_json.loads_object(payload, "the statement")
    if document.get("_type") != STATEMENT_TYPE:
        raise NotVerified(f"the statement's _type is not {STATEMENT_TYPE}", remedy="sign an in-toto Statement v1")
    known: dict[str, Any] = {name: document[name] for name in _FIELDS if name in document}
    if known.get("predicate") is None:  # says no more than its type does: unset is as empty (in-toto attestation spec)
        known["predicate"] = {}
    if isinstance(known.get("subject"), list):
        known["subject"] = tuple(_known_subject(subject) for subject in known["subject"])
    try:
        return Statement.model_validate(known)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotVerified(
            f"the statement is not an in-toto Statement v1: {where}: {first['msg']}", remedy="get it again"
        ) from error


def _known_subject(subject: Any) -> Any:
    if not isinstance(subject, dict):
        return subject
    return {name: subject[name] for name in _SUBJECT_FIELDS if name in subject}


def _verify(
    bundle: bytes,
    trust: TrustFile,
    roles: frozenset[Role],
    predicate_types: frozenset[str],
    subject: str | None,
    at: datetime | None,
    existed: _Existed,
) -> VerifiedStatement:

    def asked() -> datetime | None:
        return at if at is not None or trust.asking.now is None else trust.asking.now()

    signer_choice.check_clock(at)
    opened = sigstore_bundle.decode(bundle)
    there_at = functools.cache(lambda: existed.first(bundle))
    if isinstance(opened.material, KeyHint):
        signed = _by_key(opened, opened.material, trust, roles, there_at)
    else:
        signer_choice.check_clock(asked())
        signed = _by_certificate(bundle, opened, trust, roles, there_at)
    signer_choice.check_order(signed.time, at)
    statement = read_statement(opened.envelope.payload)
    checks = [*_told(signed), _check_type(statement, signed.signer, predicate_types)]

    def proved() -> ProvedTime | None:
        """A bundle that was there by some time was signed by then."""
        there = there_at() if signed.time is None else None
        return signed.time if there is None else ProvedTime(there if at is None else min(there, at), "an archive stamp")

    signer_choice.check_limits(signed.signer, statement, proved, asked)
    if subject is not None:
        checks.append(_check_subject(statement, subject))
    return VerifiedStatement(
        statement, opened.envelope.payload, signed.signer, tuple(checks), signed.time, signed.place, signed.named
    )


class _Existed:
    """When bundles were there already: as the caller found, else as the archive stamps say that lie where the trust
    file is asked. Those are looked at only for a bundle that needs them.
    """

    def __init__(self, trust: TrustFile, known: Mapping[str, datetime] | None) -> None:
        self._trust, self._known = trust, known

    def first(self, bundle: bytes) -> datetime | None:
        """The first time that is proved. Raises `NotVerified` for archive stamps that do not verify."""
        sha256, find = hashlib.sha256(bundle).hexdigest(), self._trust.asking.stamps
        if self._known is not None or find is None:
            return (self._known or {}).get(sha256)
        times = archive_times(bundle, find(sha256), self._trust)
        return times[0].when if times else None


ThereAt = Callable[[], datetime | None]


@dataclass(frozen=True)
class _Signed:
    """By whom an envelope is signed, with what is proved about when and where; `words` say how."""

    signer: TrustedSigner
    words: str
    time: ProvedTime | None = None
    place: LogPlace | None = None
    named: tuple[str, str] | None = None


def _by_key(opened: Bundle, hint: KeyHint, trust: TrustFile, roles: frozenset[Role], there_at: ThereAt) -> _Signed:
    key = signer_choice.allowed_key(trust, roles, hint.hint)
    envelope = opened.envelope
    if not public_key.signature_is_good(key, envelope.signature, envelope.signed):
        raise NotVerified(
            f"the signature by the {key.role} key '{key.name}' is wrong: the statement was changed after it was signed",
            remedy="get the statement again from who made it",
        )
    time, place = _logged(opened, key, trust, there_at)
    return _Signed(key, f"signature by the {key.role} key", time, place)


def _check_services(services: TrustedServices, there_at: ThereAt) -> None:
    """What services vouch for that count until some time has to have been there by then, as others say."""
    until = services.valid_until
    if until is not None and ((when := there_at()) is None or when > until):
        raise NotVerified(
            f"'{services.name}' counts until {until:%Y-%m-%d %H:%M:%S} UTC, and no archive stamp of others says that "
            "the bundle was there by then",
            remedy="verify it with its archive stamps beside it (`assay log stamp` made them), or have it signed again",
        )


def _logged(
    opened: Bundle, key: TrustedKey, trust: TrustFile, there_at: ThereAt
) -> tuple[ProvedTime | None, LogPlace | None]:
    """When and where, by the services that the trust file names for the key; without any, nothing is believed."""
    services = trust.services(key.sigstore)
    if services is None:
        if key.log_required:
            raise NotVerified(f"the key '{key.name}' needs a log, and none is named for it", remedy="name `sigstore`")
        return None, None
    if services.development and not trust.allow_development:
        raise NotVerified(
            f"the key '{key.name}' is to be logged at '{services.name}', whose keys are UNSAFE-DEVELOPMENT, which "
            f"'{trust.name}' refuses",
            remedy="name production services for the key, or allow development keys in a demonstration's trust file",
        )
    if opened.stamps or opened.entries:
        _check_services(services, there_at)
    root = trusted_root.read(services.trusted_root)
    envelope = opened.envelope
    times = proved_times(opened.stamps, envelope.signature, root)
    if opened.stamps and not times:
        raise NotVerified(
            f"the bundle has a time stamp, and not of an authority of '{services.name}'",
            remedy="get the bundle again from who made it, or have it stamped again",
        )
    digest = hashlib.sha256(envelope.signed).digest()
    der = public_key.der_of(key.public)
    logged = LoggedSignature(envelope.signature, digest, key_der=der, payload=envelope.payload)
    time = earliest(times)
    at_time = root.at(time.when) if time is not None else root
    places = [log_entry_proof.verify_entry(entry, logged, at_time) for entry in opened.entries]
    if key.log_required and not places:
        raise NotVerified(
            f"the statement is not in the log of '{services.name}', which '{trust.name}' asks of the key '{key.name}'",
            remedy="have it logged: assay log submit",
        )
    return time, (places[0] if places else None)


def _by_certificate(
    bundle: bytes, opened: Bundle, trust: TrustFile, roles: frozenset[Role], there_at: ThereAt
) -> _Signed:
    """The first services of the trust file by whose root the bundle verifies, and who certify for one of its
    identities, say whom it names.
    """
    refused: NotVerified | None = None
    for name, identities in signer_choice.identities_for(trust, roles).items():
        services = trust.services(name)
        if services is None:
            raise NotVerified(f"'{trust.name}' names no services '{name}'", remedy="correct the trust file")
        try:
            proof = keyless_proof.verify_keyless(bundle, opened, services.trusted_root)
            _check_services(services, there_at)
            identity = signer_choice.allowed_identity(trust, identities, proof.issuer, proof.san)
        except NotVerified as error:
            refused = refused or error
            continue
        words = f"signature by the {identity.role} {proof.san}, as {proof.issuer} says"
        return _Signed(identity, words, proof.time, proof.place, (proof.issuer, proof.san))
    assert refused is not None
    raise refused


def _told(signed: _Signed) -> list[Check]:
    signer = signed.signer
    checks = [Check(signed.words, signer)]
    if signer.development:
        what = (
            "key is an UNSAFE-DEVELOPMENT key" if isinstance(signer, TrustedKey) else "services are UNSAFE-DEVELOPMENT"
        )
        checks.append(Check(f"the {what}: this proves nothing outside a demonstration", signer))
    if signed.time is not None:
        checks.append(Check(f"signed at {signed.time.when:%Y-%m-%d %H:%M:%S} UTC, as {signed.time.source} says"))
    if signed.place is not None:
        place = signed.place
        checks.append(Check(f"entry {place.index} of the transparency log {place.log} ({place.size} entries)"))
    return checks


def _check_type(statement: Statement, key: TrustedSigner, predicate_types: frozenset[str]) -> Check:
    if statement.predicateType not in predicate_types:
        raise NotVerified(
            f"the predicate type is {statement.predicateType}, expected {' or '.join(sorted(predicate_types))}",
            remedy="name the right statement",
        )
    if key.role not in signers_of(statement.predicateType):
        raise NotVerified(
            f"a {key.role} key may not sign statements of the type {statement.predicateType}",
            remedy="have it signed by who may",
        )
    return Check(f"predicate type {statement.predicateType}")


def _check_subject(statement: Statement, sha256: str) -> Check:
    for subject in statement.subject:
        if subject.digest.get("sha256") == sha256:
            return Check(f"subject '{subject.name}' has the SHA-256 {sha256}")
    raise NotVerified(
        f"the statement is not about the file with the SHA-256 {sha256}", remedy="use the file that was attested"
    )
