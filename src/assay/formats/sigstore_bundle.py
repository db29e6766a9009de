# SPDX-License-Identifier: Apache-2.0
"""Sigstore bundles v0.1 to v0.3 (JSON) around one DSSE envelope: the one container of all our statements.

Guards: the media type; exactly one kind of verification material, of the kind that the version has; a bundle that
carries a certificate where a key is expected says so and is never taken for a keyed one (cosign GHSA-fx35-mq7g-6g98).
Unknown members are refused. What is written is v0.3.
Leaves to others: whether the signature is good (`statement_verifier`), log entries (`log_entry_proof`) and time stamps
(`time_stamps`): they are kept as they stand, and count for nothing until those have read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from assay.errors import NotVerified
from assay.formats import canonical_json, dsse, strict_json

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_CHAIN = frozenset({"publicKey", "x509CertificateChain"})
_LEAF = frozenset({"publicKey", "certificate"})
KINDS = {
    "application/vnd.dev.sigstore.bundle+json;version=0.1": _CHAIN,
    "application/vnd.dev.sigstore.bundle+json;version=0.2": _CHAIN,
    "application/vnd.dev.sigstore.bundle+json;version=0.3": _LEAF,
    MEDIA_TYPE: _LEAF,
}
"""Media types, and the kinds of verification material that a bundle of that version may have."""

STAMPS_MAX = 32
"""Time stamps and log entries in one bundle, each: what other verifiers allow."""

_REMEDY = "get the bundle again from who made it"
_EXTRAS = {"tlogEntries", "timestampVerificationData"}
_STAMPS = "rfc3161Timestamps"


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
    """An envelope and what the signer says it can be verified with; `stamps` are DER, `entries` plain JSON."""

    envelope: dsse.Envelope
    material: KeyHint | CertificateMaterial
    entries: tuple[dict[str, Any], ...] = ()
    stamps: tuple[bytes, ...] = ()


def encode(
    envelope: dsse.Envelope, hint: str, entries: tuple[dict[str, Any], ...] = (), stamps: tuple[bytes, ...] = ()
) -> bytes:
    """A bundle for a key, as JSON bytes in RFC 8785 form: same envelope, same bytes."""
    material: dict[str, Any] = {"publicKey": {"hint": hint}, "tlogEntries": list(entries)}
    if stamps:
        listed = [{"signedTimestamp": dsse.encode_base64(stamp)} for stamp in stamps]
        material["timestampVerificationData"] = {"rfc3161Timestamps": listed}
    document = {"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": dsse.to_json(envelope)}
    return canonical_json.encode(document)


def decode(data: bytes) -> Bundle:
    """The bundle in `data`; `NotVerified` says what is wrong with it. Nothing in it is verified yet."""
    document = strict_json.loads_object(data, "the bundle")
    allowed = KINDS.get(str(document.get("mediaType")))
    if allowed is None:
        raise NotVerified(f"the bundle's mediaType is not {MEDIA_TYPE}", remedy="sign again as a v0.3 bundle")
    if set(document) != {"mediaType", "verificationMaterial", "dsseEnvelope"}:
        raise NotVerified("the bundle does not hold exactly one DSSE envelope and its material", remedy=_REMEDY)
    envelope = dsse.from_json(document["dsseEnvelope"])
    return Bundle(envelope, *read_material(document["verificationMaterial"], allowed))


def read_material(
    material: Any, allowed: frozenset[str]
) -> tuple[KeyHint | CertificateMaterial, tuple[dict[str, Any], ...], tuple[bytes, ...]]:
    """Key hint or certificates, log entries, and time stamps. Raises `NotVerified`."""
    if not isinstance(material, dict) or not set(material) <= allowed | _EXTRAS:
        raise NotVerified("the bundle's verification material is malformed", remedy=_REMEDY)
    return _kind(material, allowed), _entries(material), _stamps(material)


def _kind(material: dict[str, Any], allowed: frozenset[str]) -> KeyHint | CertificateMaterial:
    kinds = [kind for kind in allowed if kind in material]
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


def _entries(material: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    entries = material.get("tlogEntries") or []
    if (
        not isinstance(entries, list)
        or len(entries) > STAMPS_MAX
        or not all(isinstance(item, dict) for item in entries)
    ):
        raise NotVerified("the bundle's log entries are malformed", remedy=_REMEDY)
    return tuple(entries)


def _stamps(material: dict[str, Any]) -> tuple[bytes, ...]:
    data = material.get("timestampVerificationData") or {}
    stamps = data.get("rfc3161Timestamps", []) if isinstance(data, dict) and set(data) <= {_STAMPS} else None
    if not isinstance(stamps, list) or len(stamps) > STAMPS_MAX or not all(_is_stamp(item) for item in stamps):
        raise NotVerified("the bundle's time stamps are malformed", remedy=_REMEDY)
    found = tuple(dsse.decode_base64(item["signedTimestamp"], "a time stamp") for item in stamps)
    if len(set(found)) != len(found):
        raise NotVerified("the bundle has the same time stamp twice", remedy=_REMEDY)
    return found


def _is_stamp(item: Any) -> bool:
    return isinstance(item, dict) and set(item) == {"signedTimestamp"}
