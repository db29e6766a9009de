# SPDX-License-Identifier: Apache-2.0
"""The one verifier of signed statements. Its answer names what was checked and by which key.

Guards: nobody gets a `VerifiedStatement` unless the container, the signature, the signer's role, the predicate type
and (when asked) the subject were checked, in that order; any exception on the way is "not verified". Trust comes from
the trust file alone, never from the bundle.
Leaves to others: what the predicate means, and times.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import ValidationError

from assay.errors import AssayError, NotVerified
from assay.formats import public_key, sigstore_bundle, strict_json
from assay.model.statement import STATEMENT_TYPE, PredicateType, Statement
from assay.model.trust import SIGNERS, Check, Role, TrustedKey, TrustFile, VerifiedStatement

_FIELDS = ("_type", "subject", "predicateType", "predicate")
_SUBJECT_FIELDS = ("name", "digest", "annotations")


def verify_statement(
    bundle: bytes,
    trust: TrustFile,
    *,
    role: Role | Collection[Role],
    predicate_types: Collection[str],
    subject_sha256: str | None = None,
) -> VerifiedStatement:
    """The statement in `bundle`, signed for `role` by a key of `trust`, of one of `predicate_types`, about
    `subject_sha256`.

    `subject_sha256` is the SHA-256 of the file that the caller is about to rely on; None if the statement is not
    about a file. Raises `NotVerified`, whatever is wrong; the message names the link of the chain that broke.
    """
    roles = frozenset({role}) if isinstance(role, Role) else frozenset(role)
    try:
        return _verify(bundle, trust, roles, frozenset(predicate_types), subject_sha256)
    except AssayError:
        raise
    except Exception as error:
        raise NotVerified(
            f"the statement could not be verified ({type(error).__name__})", remedy="get it again from who made it"
        ) from error


def signers_of(predicate_type: str) -> frozenset[Role]:
    """The roles that may sign statements of `predicate_type`; none for a type that assay does not know."""
    try:
        return SIGNERS[PredicateType(predicate_type)]
    except ValueError:
        return frozenset()


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
    bundle: bytes, trust: TrustFile, roles: frozenset[Role], predicate_types: frozenset[str], subject: str | None
) -> VerifiedStatement:
    opened = sigstore_bundle.decode(bundle)
    if not isinstance(opened.material, sigstore_bundle.KeyHint):
        raise NotVerified(
            "the bundle carries a certificate, and a key of the trust file was expected",
            remedy="have it signed with a key that the trust file names",
        )
    key = _allowed_key(trust, roles, opened.material.hint)
    if not public_key.signature_is_good(key, opened.envelope.signature, opened.envelope.signed):
        raise NotVerified(
            f"the signature by the {key.role} key '{key.name}' is wrong: the statement was changed after it was signed",
            remedy="get the statement again from who made it",
        )
    checks = [Check(f"signature by the {key.role} key", key)]
    if key.development:
        checks.append(Check("the key is an UNSAFE-DEVELOPMENT key: this proves nothing outside a demonstration", key))
    statement = read_statement(opened.envelope.payload)
    checks.append(_check_type(statement, key, predicate_types))
    if subject is not None:
        checks.append(_check_subject(statement, subject))
    return VerifiedStatement(statement, opened.envelope.payload, key, tuple(checks))


def _allowed_key(trust: TrustFile, roles: frozenset[Role], hint: str) -> TrustedKey:
    wanted = " or ".join(sorted(roles)) or "nobody"
    named = [key for key in trust.keys if key.keyid == hint]
    allowed = [key for key in named if key.role in roles]
    if not allowed:
        known = f"trusted as {', '.join(sorted(key.role for key in named))}" if named else "not in the trust file"
        raise NotVerified(
            f"the statement must be signed by {wanted}; its key {hint[:16]} is {known} ('{trust.name}')",
            remedy="use the trust file of the site that made it, or have it signed by who may",
        )
    if allowed[0].development and not trust.allow_development:
        raise NotVerified(
            f"the statement is signed by the UNSAFE-DEVELOPMENT key '{allowed[0].name}', which '{trust.name}' refuses",
            remedy="sign it with a production key, or allow development keys in the trust file of a demonstration",
        )
    return allowed[0]


def _check_type(statement: Statement, key: TrustedKey, predicate_types: frozenset[str]) -> Check:
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
