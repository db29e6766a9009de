# SPDX-License-Identifier: Apache-2.0
"""Trust files as TOML text: who is trusted for what (docs/explanation/trust).

Guards: what is written reads back as the same value; keys are checked against their key ids when a file is read.
Leaves to others: reading TOML (`stages.manifest`), the file itself (`pipeline.trust_file`).
"""

from __future__ import annotations

import hashlib
import json

from assay.errors import NotVerified
from assay.formats import signed_note
from assay.formats.image_key import parse_image_key
from assay.formats.public_key import check_key
from assay.formats.trust_policy import policy_faults
from assay.model.signer_limits import SignerLimits, SummaryPolicy, TrustedServices
from assay.model.trust import ImageKey, TrustedIdentity, TrustedKey, TrustedLog, TrustFile

_HEADER = """\
# Whom verification trusts, and for what. Written by `assay keys trust`; nothing else is an anchor.
# Compare the key ids with those that the owner of the keys gives you on another way.
# `seal` tells a damaged file from a whole one, and nothing more: take the line out when you edit this file."""

_BLANK_SEAL = "0" * 64
"""Stands where the seal will be while the seal is computed."""

_DEVELOPMENT = """\
# UNSAFE-DEVELOPMENT keys are accepted: whoever has the site folder can sign anything. For demonstrations only."""


def encode(trust: TrustFile) -> bytes:
    """The trust file as TOML."""
    lines = [_HEADER, *([_DEVELOPMENT] if trust.allow_development else []), ""]
    lines += [f"schema = {_text(trust.schema_)}", f"seal = {_text(_BLANK_SEAL)}", f"name = {_text(trust.name)}"]
    lines += [
        f"allow_development = {_flag(trust.allow_development)}",
        f"allow_emulated = {_flag(trust.allow_emulated)}",
    ]
    for key in trust.keys:
        lines += ["", "[[keys]]", *_key(key)]
    for log in trust.logs:
        lines += ["", "[[logs]]", f"origin = {_text(log.origin)}", f"vkey = {_text(log.vkey)}"]
        lines += ["development = true"] if log.development else []
    for image_key in trust.image_keys:
        lines += ["", "[[image_keys]]", *_image_key(image_key)]
    for services in trust.sigstore:
        lines += ["", "[[sigstore]]", *_services(services)]
    for identity in trust.identities:
        lines += ["", "[[identities]]", *_identity(identity)]
    for threshold in trust.thresholds:
        lines += ["", "[[thresholds]]", f"predicate_type = {_text(threshold.predicate_type)}"]
        lines += [f"count = {threshold.count}"]
    for policy in trust.summary_policies:
        lines += ["", "[[summary_policies]]", *_summary_policy(policy)]
    blank = ("\n".join(lines) + "\n").encode("utf-8")
    return blank.replace(_BLANK_SEAL.encode(), hashlib.sha256(blank).hexdigest().encode(), 1)


def seal_is_good(data: bytes, seal: str) -> bool:
    """Whether `seal` is that of the trust file in `data`."""
    blank = data.replace(seal.encode("ascii"), _BLANK_SEAL.encode(), 1)
    return hashlib.sha256(blank).hexdigest() == seal


def faults(trust: TrustFile) -> list[tuple[tuple[str | int, ...], str]]:
    """What is wrong with the keys in `trust`: path in the document, and the sentence. Empty when all is well."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    if not trust.keys and not trust.logs and not trust.image_keys and not trust.identities:
        text = "expected at least one [[keys]], [[identities]], [[logs]] or [[image_keys]]: "
        text += "an empty trust file verifies nothing"
        found.append(((), text))
    for place, key in enumerate(trust.keys):
        try:
            check_key(key)
        except NotVerified as error:
            found.append((("keys", place, "keyid"), error.message))
    for place, image_key in enumerate(trust.image_keys):
        try:
            parse_image_key(image_key.public)
        except NotVerified as error:
            found.append((("image_keys", place, "public"), error.message))
    for place, log in enumerate(trust.logs):
        found += [(("logs", place, "vkey"), text) for text in _log_faults(log)]
    return found + policy_faults(trust)


def _log_faults(log: TrustedLog) -> list[str]:
    try:
        name = signed_note.parse_vkey(log.vkey).name
    except NotVerified as error:
        return [error.message]
    return [] if name == log.origin else [f"the vkey is that of '{name}', not of '{log.origin}'"]


def _key(key: TrustedKey) -> list[str]:
    lines = [f"role = {_text(key.role.value)}", f"name = {_text(key.name)}", f"keyid = {_text(key.keyid)}"]
    lines += [f"algorithm = {_text(key.algorithm)}", f"public = '''\n{key.public}'''"]
    return lines + (["development = true"] if key.development else []) + _limits(key)


def _limits(signer: SignerLimits) -> list[str]:
    lists = {"builder_ids": signer.builder_ids, "modules": signer.modules, "predicate_types": signer.predicate_types}
    times = {"valid_from": signer.valid_from, "valid_until": signer.valid_until}
    lines = [f"{name} = [{', '.join(_text(item) for item in items)}]" for name, items in lists.items() if items]
    lines += [f"{name} = {when.isoformat()}" for name, when in times.items() if when is not None]
    lines += [f"sigstore = {_text(signer.sigstore)}"] if signer.sigstore is not None else []
    flags = {"log_required": signer.log_required, "revoked": signer.revoked}
    return lines + [f"{name} = true" for name, value in flags.items() if value]


def _services(services: TrustedServices) -> list[str]:
    lines = [f"name = {_text(services.name)}", f"trusted_root = {_text(services.trusted_root)}"]
    lines += [f"valid_until = {services.valid_until.isoformat()}"] if services.valid_until is not None else []
    return lines + (["development = true"] if services.development else [])


def _identity(identity: TrustedIdentity) -> list[str]:
    lines = [f"role = {_text(identity.role.value)}", f"name = {_text(identity.name)}"]
    lines += [f"issuer = {_text(identity.issuer)}"]
    names = {"san": identity.san, "san_pattern": identity.san_pattern}
    lines += [f"{name} = {_text(value)}" for name, value in names.items() if value is not None]
    return lines + (["development = true"] if identity.development else []) + _limits(identity)


def _summary_policy(policy: SummaryPolicy) -> list[str]:
    said = {"name": policy.name, "version": policy.version, "sha256": policy.sha256}
    lines = [f"{name} = {_text(value)}" for name, value in said.items() if value is not None]
    return lines + ([f"verified_from = {policy.verified_from.isoformat()}"] if policy.verified_from else [])


def _image_key(key: ImageKey) -> list[str]:
    boards = ", ".join(_text(board) for board in key.boards)
    lines = [f"name = {_text(key.name)}", f"boards = [{boards}]", f"public = '''\n{key.public}'''"]
    return lines + (["development = true"] if key.development else [])


def _text(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's; DEL, which JSON leaves alone, is not allowed bare in TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _flag(value: bool) -> str:
    return "true" if value else "false"
