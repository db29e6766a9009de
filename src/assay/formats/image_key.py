# SPDX-License-Identifier: Apache-2.0
"""Keys of MCUboot images, whoever made them: RSA, ECDSA and Ed25519, and their signatures (imgtool's `keys`).

Guards: a key is known by the hash that MCUboot keeps of it; a signature is checked in the one way that its TLV has.
Leaves to others: which key may sign for which board (`model.trust`), the image around it (`foreign_image`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from assay.errors import NotVerified

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    PublicKey = EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey

KEYS_KEPT = 64
DIGEST_BY_LENGTH = {32: "sha256", 48: "sha384", 64: "sha512"}
"""The hash of a key, or of an image, by its length in bytes."""
PSS_SALT = 32
"""Bytes: what imgtool and MCUboot use for RSA."""


@dataclass(frozen=True)
class ParsedKey:
    """A public key: `kind` as MCUboot's signature TLVs tell them apart, `encoded` the bytes that MCUboot hashes."""

    public: PublicKey
    kind: str
    encoded: bytes

    def is_hashed_to(self, key_hash: bytes) -> bool:
        """Whether `key_hash` (TLV 0x01) is of this key."""
        name = DIGEST_BY_LENGTH.get(len(key_hash))
        return name is not None and hashlib.new(name, self.encoded).digest() == key_hash


@lru_cache(KEYS_KEPT)
def parse_image_key(pem: str) -> ParsedKey:
    """The public key in `pem`; `NotVerified` for one that MCUboot has no signature for."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm, UnicodeError) as error:
        raise NotVerified(
            "an image key is not a PEM public key", remedy="write it with: imgtool getpub -k KEY -e pem"
        ) from error
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return ParsedKey(key, "ed25519", spki)
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return ParsedKey(key, _CURVES[key.curve.name], spki)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in (2048, 3072):
        return ParsedKey(key, f"rsa-{key.key_size}", key.public_bytes(Encoding.DER, PublicFormat.PKCS1))
    raise NotVerified(
        "an image key is neither Ed25519, ECDSA P-256 or P-384, nor RSA with 2048 or 3072 bits",
        remedy="name the key that signs the images",
    )


_CURVES = {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384"}


def signature_is_good(key: ParsedKey, signature: bytes, measured: bytes, digest: bytes, *, pure: bool) -> bool:
    """Whether `signature` of an image was made with `key`: over the `measured` bytes or, for Ed25519 that is not
    `pure`, over their `digest`. `digest` of an image whose payload is encrypted is as the image claims.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384

    try:
        if isinstance(key.public, ed25519.Ed25519PublicKey):
            key.public.verify(signature, measured if pure else digest)
        elif isinstance(key.public, rsa.RSAPublicKey):
            scheme = padding.PSS(padding.MGF1(SHA256()), PSS_SALT)
            key.public.verify(signature, digest, scheme, Prehashed(SHA256()))
        else:
            algorithm = SHA384() if key.kind == "ecdsa-p384" else SHA256()
            key.public.verify(_without_padding(signature, key.kind), digest, ec.ECDSA(Prehashed(algorithm)))
    except (InvalidSignature, ValueError):
        return False
    return True


_PADDED_MAX = {"ecdsa-p256": 72, "ecdsa-p384": 104}
"""Bytes of the longest DER signature of these keys, up to which old imgtools fill the TLV with zeros."""


def _without_padding(signature: bytes, kind: str) -> bytes:
    """A DER SEQUENCE alone, of what an old imgtool filled with zeros. Anything behind it that is longer stays, and is
    refused.
    """
    if len(signature) < 2 or signature[1] >= 0x80 or len(signature) > _PADDED_MAX[kind]:
        return signature
    end = 2 + signature[1]
    return signature[:end] if not any(signature[end:]) else signature
