# SPDX-License-Identifier: Apache-2.0
"""A Sigstore bundle about a file, of anybody: a signature over the file, or an in-toto statement that names it; by a
certificate or by a key. What the contract of the public conformance suite asks (`conformance.sigstore`).

Guards: as `statement_verifier`, but without roles and predicate types: it says that this key or identity signed, and
nothing about whether it may. Nothing of assay decides by it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from assay.errors import NotVerified
from assay.formats import (
    dsse,
    keyless_proof,
    log_entry_proof,
    public_key,
    sigstore_bundle,
    sigstore_client,
    strict_json,
    trusted_root,
)
from assay.formats.dsse import decode_base64
from assay.formats.log_entry_proof import LoggedSignature
from assay.formats.sigstore_bundle import CertificateMaterial, KeyHint
from assay.formats.sigstore_client import Question
from assay.formats.statement_verifier import read_statement
from assay.formats.time_stamps import earliest, proved_times
from assay.model.trust import Role

_REMEDY = "get the bundle again from who made it"


@dataclass(frozen=True)
class SignedFile:
    """What a bundle holds: material, entries and stamps; an envelope, or a bare signature over the file."""

    material: KeyHint | CertificateMaterial
    entries: tuple[dict[str, Any], ...]
    stamps: tuple[bytes, ...]
    envelope: dsse.Envelope | None
    signature: bytes


def read(data: bytes, sha256: bytes) -> SignedFile:
    """The bundle in `data`, which has to be about the file with that digest. Raises `NotVerified`."""
    document = strict_json.loads_object(data, "the bundle")
    if "messageSignature" not in document:
        opened = sigstore_bundle.decode(data)
        statement = read_statement(opened.envelope.payload)
        if all(subject.digest.get("sha256") != sha256.hex() for subject in statement.subject):
            raise NotVerified("the statement is not about this file", remedy="name the file that was attested")
        return SignedFile(opened.material, opened.entries, opened.stamps, opened.envelope, opened.envelope.signature)
    allowed = sigstore_bundle.KINDS.get(str(document.get("mediaType")))
    if allowed is None:
        raise NotVerified("the bundle's mediaType is none of v0.1 to v0.3", remedy=_REMEDY)
    if set(document) != {"mediaType", "verificationMaterial", "messageSignature"}:
        raise NotVerified("the bundle does not hold exactly one signature and its material", remedy=_REMEDY)
    material = sigstore_bundle.read_material(document["verificationMaterial"], allowed)
    return SignedFile(*material, None, _signature(document["messageSignature"], sha256))


def verify_by_key(data: bytes, sha256: bytes, pem: str, root_text: str | None) -> None:
    """`NotVerified` unless the key in `pem` signed. Log entries that are there have to be in a log of the root."""
    signed = read(data, sha256)
    if not isinstance(signed.material, KeyHint):
        raise NotVerified("the bundle carries a certificate, and a key was given", remedy=_REMEDY)
    digest = sha256
    if signed.envelope is not None:
        digest = hashlib.sha256(signed.envelope.signed).digest()
    if not _key_signed(pem, signed, digest):
        raise NotVerified("the signature is not by this key over this file", remedy=_REMEDY)
    if not signed.entries and not signed.stamps:
        return
    if root_text is None:
        raise NotVerified("the bundle is logged, and no trusted root says where", remedy="give a trusted root")
    root = trusted_root.read(root_text)
    times = proved_times(signed.stamps, signed.signature, root)
    if signed.stamps and not times:
        raise NotVerified("the bundle's time stamp is not of a trusted authority", remedy=_REMEDY)
    time = earliest(times)
    payload = signed.envelope.payload if signed.envelope is not None else None
    logged = LoggedSignature(signed.signature, digest, key_der=public_key.der_of(pem), payload=payload)
    for entry in signed.entries:
        log_entry_proof.verify_entry(entry, logged, root.at(time.when) if time is not None else root)


def verify_by_identity(data: bytes, sha256: bytes, names: tuple[str, str], root_text: str) -> None:
    """`NotVerified` unless whoever `names` (identity, issuer) name signed, by the services of the root."""
    signed = read(data, sha256)
    if not isinstance(signed.material, CertificateMaterial):
        raise NotVerified("the bundle names a key, and an identity was given", remedy=_REMEDY)
    if signed.envelope is not None:
        proof = keyless_proof.verify_keyless(data, sigstore_bundle.decode(data), root_text)
        said = (proof.san, proof.issuer)
    else:
        keyless_proof.refuse_roots(signed.material)
        leaf = signed.material.certificates[0]
        root = trusted_root.read(root_text)
        times = proved_times(signed.stamps, signed.signature, root)
        sigstore_client.verify_file(Question(data, leaf, signed.entries, times, root_text), sha256)
        logged = LoggedSignature(signed.signature, sha256, certificate_der=leaf)
        keyless_proof.place_and_time(signed.entries, times, logged, root)
        issuer, san = keyless_proof.names_of(leaf)
        said = (san, issuer)
    if said != names:
        raise NotVerified(f"the certificate names {said[0]} (by {said[1]})", remedy="that is somebody else")


def _key_signed(pem: str, signed: SignedFile, digest: bytes) -> bool:
    """ECDSA over the digest; Ed25519 over what was signed, which is at hand for an envelope only."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256

    if signed.envelope is not None:
        key = public_key.trusted_key(pem, Role.BUILDER, name="given", development=False)
        return public_key.signature_is_good(key, signed.signature, signed.envelope.signed)
    parsed, _ = public_key.parse_public_key(pem)
    if not isinstance(parsed, EllipticCurvePublicKey):
        raise NotVerified("a signature over a file is verified with a P-256 key", remedy="sign an in-toto statement")
    try:
        parsed.verify(signed.signature, digest, ECDSA(Prehashed(SHA256())))
    except InvalidSignature:
        return False
    return True


def _signature(message: Any, sha256: bytes) -> bytes:
    if not isinstance(message, dict) or not {"signature"} <= set(message) <= {"signature", "messageDigest"}:
        raise NotVerified("the bundle's signature is malformed", remedy=_REMEDY)
    said = message.get("messageDigest")
    if said is not None and said != {"algorithm": "SHA2_256", "digest": dsse.encode_base64(sha256)}:
        raise NotVerified("the bundle is about another file", remedy="name the file that was signed")
    return decode_base64(message["signature"], "the signature")
