# SPDX-License-Identifier: Apache-2.0
"""Sigstore bundle v0.3 (JSON) around one DSSE envelope: the one container of all our statements.

Guards: the media type; exactly one kind of verification material; a bundle that carries a certificate where a key is
expected says so and is never taken for a keyed one (cosign GHSA-fx35-mq7g-6g98). Unknown members are refused.
Leaves to others: whether the signature is good (`statement_verifier`), transparency log entries and time stamps (read
by nobody yet, so a bundle that carries them keeps them and they count for nothing).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from assay.errors import NotVerified
from assay.formats import canonical_json, dsse, strict_json

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"

_REMEDY = "get the bundle again from who made it"
_CERTIFICATES = ("certificate", "x509CertificateChain")
_MATERIAL = {"publicKey", "tlogEntries", "timestampVerificationData", *_CERTIFICATES}


@dataclass(frozen=True)
class KeyHint:
    """Verification by a key that the verifier knows: `hint` is its key id, opaque and not trusted."""

    hint: str


@dataclass(frozen=True)
class CertificateMaterial:
    """Verification by a certificate (keyless signing): DER, leaf first."""

    certificates: tuple[bytes, ...]


@dataclass(frozen=True)
class Bundle:
    """An envelope and what the signer says it can be verified with."""

    envelope: dsse.Envelope
    material: KeyHint | CertificateMaterial
    unread: dict[str, Any] = field(default_factory=dict)


def encode(envelope: dsse.Envelope, hint: str) -> bytes:
    """A bundle for a key, as JSON bytes in RFC 8785 form: same envelope, same bytes."""
    return canonical_json.encode(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": dsse.to_json(envelope),
        }
    )


def decode(data: bytes) -> Bundle:
    """The bundle in `data`; `NotVerified` says what is wrong with it. Nothing in it is verified yet."""
    document = strict_json.loads_object(data, "the bundle")
    if document.get("mediaType") != MEDIA_TYPE:
        raise NotVerified(f"the bundle's mediaType is not {MEDIA_TYPE}", remedy="sign again as a v0.3 bundle")
    if set(document) != {"mediaType", "verificationMaterial", "dsseEnvelope"}:
        raise NotVerified("the bundle does not hold exactly one DSSE envelope and its material", remedy=_REMEDY)
    material = document["verificationMaterial"]
    if not isinstance(material, dict) or not set(material) <= _MATERIAL:
        raise NotVerified("the bundle's verification material is malformed", remedy=_REMEDY)
    unread = {key: material[key] for key in ("tlogEntries", "timestampVerificationData") if material.get(key)}
    return Bundle(dsse.from_json(document["dsseEnvelope"]), _material(material), unread)


def _material(material: dict[str, Any]) -> KeyHint | CertificateMaterial:
    kinds = [kind for kind in ("publicKey", *_CERTIFICATES) if kind in material]
    if len(kinds) != 1:
        raise NotVerified("the bundle names not exactly one of a public key and a certificate", remedy=_REMEDY)
    value = material[kinds[0]]
    if kinds[0] == "publicKey":
        if not isinstance(value, dict) or set(value) != {"hint"} or not isinstance(value["hint"], str):
            raise NotVerified("the bundle's public key hint is malformed", remedy=_REMEDY)
        return KeyHint(value["hint"])
    chain = [value] if kinds[0] == "certificate" else value.get("certificates") if isinstance(value, dict) else None
    if not isinstance(chain, list) or not chain or not all(isinstance(item, dict) for item in chain):
        raise NotVerified("the bundle's certificate is malformed", remedy=_REMEDY)
    return CertificateMaterial(tuple(dsse.decode_base64(item.get("rawBytes"), "a certificate") for item in chain))
