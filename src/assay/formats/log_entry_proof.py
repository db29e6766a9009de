# SPDX-License-Identifier: Apache-2.0
"""An entry of a transparency log (Rekor) in a bundle: that it is in the log, and that it is about this signature.

Guards: the leaf is in the tree, the tree's root is in a checkpoint, the checkpoint is signed by a log of the trusted
root; the entry's body names exactly this signature, these signed bytes and this key (cosign CVE-2026-22703). What an
entry says outside of its body, such as its index at the top, counts for nothing.
Leaves to others: bundles with certificates beyond that (`keyless_proof`), and whether an entry is needed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.errors import AssayError, NotVerified
from assay.formats import merkle, signed_note, strict_json
from assay.formats.dsse import decode_base64, encode_base64
from assay.formats.trusted_root import RootLog, TrustedRoot
from assay.model.signer_limits import LogPlace

P256 = "PKIX_ECDSA_P256_SHA_256"
HASHED_V2, HASHED_V1 = ("hashedrekord", "0.0.2"), ("hashedrekord", "0.0.1")
DSSE_V1, INTOTO_V2 = ("dsse", "0.0.1"), ("intoto", "0.0.2")
_REMEDY = "get the bundle again from who made it, or have it logged again"


@dataclass(frozen=True)
class LoggedSignature:
    """What an entry has to be about: a signature, the bytes that it is over, and the key or certificate (DER).

    `payload`: of a DSSE envelope, whose hash the older entries hold; None when a file was signed.
    """

    signature: bytes
    signed_sha256: bytes
    key_der: bytes | None = None
    certificate_der: bytes | None = None
    payload: bytes | None = None


def verify_entry(entry: Mapping[str, Any], logged: LoggedSignature, root: TrustedRoot) -> LogPlace:
    """Where in which log of `root` the entry is. Raises `NotVerified`, whatever is wrong."""
    try:
        place, body = verify_inclusion(entry, root)
        _check_body(entry["kindVersion"], strict_json.loads_object(body, "the log entry"), logged)
    except AssayError:
        raise
    except Exception as error:  # another shape, or a certificate that the parser has a class of its own for
        raise _refused("the log entry is malformed") from error
    return place


def verify_inclusion(entry: Mapping[str, Any], root: TrustedRoot) -> tuple[LogPlace, bytes]:
    """Where the entry is, and its body. Raises `NotVerified`, or `KeyError` and its like for another shape."""
    body = decode_base64(entry["canonicalizedBody"], "a log entry's body")
    proof = entry.get("inclusionProof") or {}
    note = str((proof.get("checkpoint") or {}).get("envelope") or "").encode("utf-8")
    if not note:
        raise _refused(
            "the log entry has no proof of inclusion with a checkpoint; that a log promised it is not enough"
        )
    size, tree_root, log = _checkpoint(note, root)
    if (int(proof["treeSize"]), decode_base64(proof["rootHash"], "a root hash")) != (size, tree_root):
        raise _refused("the log entry's proof is for another tree than its checkpoint")
    hashes = [decode_base64(each, "a hash of the proof") for each in proof.get("hashes", [])]
    index = int(proof["logIndex"])
    merkle.verify_inclusion(merkle.leaf_hash(body), index, size, hashes, tree_root)
    return LogPlace(log.address, index, size), body


def _checkpoint(note: bytes, root: TrustedRoot) -> tuple[int, bytes, RootLog]:
    """Size and root of the tree, and the log that signed them. Lines after those three are the log's own."""
    text, signatures = signed_note.parse(note)
    log = next((log for log in root.logs for name, blob in signatures if _signed(text, name, blob, log)), None)
    if log is None:
        raise _refused("the log entry's checkpoint is not signed by a log of the trusted root")
    _, size, encoded, *_ = text.split("\n")
    try:
        return int(size), base64.b64decode(encoded, validate=True), log
    except (ValueError, binascii.Error) as error:
        raise _refused("the log entry's checkpoint is malformed") from error


def _signed(text: str, name: str, blob: bytes, log: RootLog) -> bool:
    """Whether `blob` (key hash and signature) is a signature of `log`, whose key has that hash."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

    key = load_der_public_key(log.public_der)
    try:
        if isinstance(key, Ed25519PublicKey):
            raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
            if blob[:4] not in (signed_note.VerifierKey(name, raw).key_hash, log.log_id[:4]):
                return False
            key.verify(blob[4:], text.encode("utf-8"))
        elif isinstance(key, EllipticCurvePublicKey):
            if blob[:4] not in (hashlib.sha256(log.public_der).digest()[:4], log.log_id[:4]):
                return False
            key.verify(blob[4:], text.encode("utf-8"), ECDSA(SHA256()))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _check_body(kind: Mapping[str, Any], body: dict[str, Any], logged: LoggedSignature) -> None:
    version = (kind["kind"], kind["version"])
    if (body.get("kind"), body.get("apiVersion")) != version or version not in _SPECS:
        raise _refused(f"a log entry of the kind {version[0]} {version[1]} is not known")
    if not _SPECS[version](body["spec"], logged):
        raise _refused("the log entry is about another signature, another key or other bytes")


def _hashed_v2(spec: dict[str, Any], logged: LoggedSignature) -> bool:
    """hashedrekord 0.0.2: of a DSSE envelope, the digest is that of its pre-authentication encoding."""
    der = logged.certificate_der if logged.certificate_der is not None else logged.key_der
    member = "x509Certificate" if logged.certificate_der is not None else "publicKey"
    verifier = {"keyDetails": P256, member: {"rawBytes": encode_base64(der or b"")}}
    signature = {"content": encode_base64(logged.signature), "verifier": verifier}
    data = {"algorithm": "SHA2_256", "digest": encode_base64(logged.signed_sha256)}
    return spec == {"hashedRekordV002": {"data": data, "signature": signature}}


def _hashed_v1(spec: dict[str, Any], logged: LoggedSignature) -> bool:
    """hashedrekord 0.0.1, of a file."""
    verifier = spec["signature"]["publicKey"]["content"]
    signature = {"content": encode_base64(logged.signature), "publicKey": {"content": verifier}}
    data = {"hash": {"algorithm": "sha256", "value": logged.signed_sha256.hex()}}
    return spec == {"data": data, "signature": signature} and _is_verifier(verifier, logged)


def _dsse_v1(spec: dict[str, Any], logged: LoggedSignature) -> bool:
    """dsse 0.0.1: the hash of the envelope is over JSON that nobody can spell again; the rest is compared."""
    if logged.payload is None or spec["payloadHash"]["algorithm"] != "sha256" or len(spec["signatures"]) != 1:
        return False
    signature = spec["signatures"][0]
    same = spec["payloadHash"]["value"] == hashlib.sha256(logged.payload).hexdigest()
    return (
        same
        and signature["signature"] == encode_base64(logged.signature)
        and _is_verifier(signature["verifier"], logged)
    )


def _intoto_v2(spec: dict[str, Any], logged: LoggedSignature) -> bool:
    """intoto 0.0.2: as dsse 0.0.1, with the signature in base64 twice."""
    content = spec["content"]
    if logged.payload is None or len(content["envelope"]["signatures"]) != 1:
        return False
    signature = content["envelope"]["signatures"][0]
    payload_hash = {"algorithm": "sha256", "value": hashlib.sha256(logged.payload).hexdigest()}
    twice = encode_base64(encode_base64(logged.signature).encode("ascii"))
    same = content["payloadHash"] == payload_hash and signature["sig"] == twice
    return same and _is_verifier(signature["publicKey"], logged)


def _is_verifier(encoded: str, logged: LoggedSignature) -> bool:
    """Whether `encoded` (base64 of PEM) is the key or the certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    pem = decode_base64(encoded, "a log entry's key")
    if logged.certificate_der is not None:
        return load_pem_x509_certificate(pem).public_bytes(Encoding.DER) == logged.certificate_der
    return load_pem_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == logged.key_der


_SPECS = {HASHED_V2: _hashed_v2, HASHED_V1: _hashed_v1, DSSE_V1: _dsse_v1, INTOTO_V2: _intoto_v2}


def _refused(what: str) -> NotVerified:
    return NotVerified(what, remedy=_REMEDY)
