# SPDX-License-Identifier: Apache-2.0
"""Public keys: PEM, key id, and verification of signatures with them.

Guards: a key is known by the SHA-256 of its DER SubjectPublicKeyInfo (RFC 5280 section 4.1), always recomputed and
never believed; Ed25519 and ECDSA P-256 with SHA-256 are the only algorithms. Leaves to others: who may sign what
(`model.trust`).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from assay.errors import NotVerified
from assay.model.trust import Role, TrustedKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Algorithm = Literal["ed25519", "ecdsa-p256"]

KEYS_KEPT = 64
"""Parsed keys that are remembered; a log is verified with a handful of keys, thousands of times each."""


@lru_cache(KEYS_KEPT)
def parse_public_key(pem: str) -> tuple[Ed25519PublicKey | EllipticCurvePublicKey, Algorithm]:
    """The key in `pem` and its algorithm; `NotVerified` for anything but Ed25519 and P-256."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm, UnicodeError) as error:
        raise NotVerified("a public key is not PEM SubjectPublicKeyInfo", remedy="export the key again") from error
    if isinstance(key, Ed25519PublicKey):
        return key, "ed25519"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key, "ecdsa-p256"
    raise NotVerified("a public key is neither Ed25519 nor ECDSA P-256", remedy="use a key of one of these kinds")


@lru_cache(KEYS_KEPT)
def keyid_of(pem: str) -> str:
    """SHA-256, in hex, of the DER SubjectPublicKeyInfo of the key in `pem`."""
    return hashlib.sha256(der_of(pem)).hexdigest()


def der_of(pem: str) -> bytes:
    """The DER SubjectPublicKeyInfo of the key in `pem`."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key, _ = parse_public_key(pem)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def raw_bytes(pem: str) -> bytes:
    """The key alone: 32 bytes of an Ed25519 key (RFC 8032), 65 bytes of a P-256 point (SEC 1, uncompressed)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key, _ = parse_public_key(pem)
    if isinstance(key, Ed25519PublicKey):
        return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def raw_ed25519(pem: str) -> bytes:
    """The 32 bytes of an Ed25519 key; `NotVerified` for a key of another kind."""
    if parse_public_key(pem)[1] != "ed25519":
        raise NotVerified("an Ed25519 key was expected, this one is ECDSA P-256", remedy="name the right key")
    return raw_bytes(pem)


def trusted_key(pem: str, role: Role, *, name: str, development: bool) -> TrustedKey:
    """The key in `pem` as a trusted key, with its key id and algorithm computed from it."""
    _, algorithm = parse_public_key(pem)
    return TrustedKey(
        role=role, keyid=keyid_of(pem), algorithm=algorithm, public=pem, name=name, development=development
    )


def check_key(key: TrustedKey) -> None:
    """`NotVerified` unless `keyid` and `algorithm` are those of `public`."""
    _, algorithm = parse_public_key(key.public)
    if keyid_of(key.public) != key.keyid or algorithm != key.algorithm:
        raise NotVerified(
            f"the {key.role} key '{key.name}' does not have the key id or the algorithm that is written beside it",
            remedy="write the trust file again with `assay keys trust`",
        )


def signature_is_good(key: TrustedKey, signature: bytes, data: bytes) -> bool:
    """Whether `signature` over `data` was made with `key`. A key whose id is not its own is `NotVerified`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256

    check_key(key)
    public, _ = parse_public_key(key.public)
    try:
        if isinstance(public, Ed25519PublicKey):
            public.verify(signature, data)
        else:
            public.verify(signature, data, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
