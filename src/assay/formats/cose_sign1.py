# SPDX-License-Identifier: Apache-2.0
"""COSE_Sign1 (RFC 9052 section 4.2) with Ed25519, as a device signs its evidence.

Guards: one spelling, one algorithm. The protected header is exactly `{1: -8}` and the unprotected one is empty, so that
nothing unsigned is ever read and no header can change what is verified. Leaves to others: what the payload says
(`eat_claims`) and whose key it is (`device_certificate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.errors import NotVerified
from assay.formats import deterministic_cbor

TAG_COSE_SIGN1 = 18
ALGORITHM_LABEL = 1
CRITICAL_LABEL = 2
ALGORITHM_EDDSA = -8
SIGNATURE_BYTES = 64

_REMEDY = "read the evidence again; when it stays so, the firmware or the key of this unit is not what the factory left"


@dataclass(frozen=True)
class CoseSign1:
    """A message that was decoded and is not verified yet."""

    protected: bytes
    payload: bytes
    signature: bytes

    def to_be_signed(self) -> bytes:
        """The Sig_structure (RFC 9052 section 4.4), without external data."""
        return deterministic_cbor.encode(["Signature1", self.protected, b"", self.payload])


def encode(message: CoseSign1) -> bytes:
    """The tagged message."""
    from cbor2 import CBORTag

    return deterministic_cbor.encode(
        CBORTag(TAG_COSE_SIGN1, [message.protected, {}, message.payload, message.signature])
    )


def protected_header() -> bytes:
    """The one protected header that is accepted: EdDSA."""
    return deterministic_cbor.encode({ALGORITHM_LABEL: ALGORITHM_EDDSA})


def decode(data: bytes) -> CoseSign1:
    """The message in `data`; `NotVerified` names what is not as the device contract says."""
    from cbor2 import CBORTag

    value = deterministic_cbor.decode(data)
    if not isinstance(value, CBORTag) or value.tag != TAG_COSE_SIGN1:
        raise NotVerified("not a tagged COSE_Sign1", remedy=_REMEDY)
    parts = value.value
    if not isinstance(parts, list | tuple) or len(parts) != 4:
        raise NotVerified("a COSE_Sign1 has four parts", remedy=_REMEDY)
    protected, unprotected, payload, signature = parts
    if type(protected) is not bytes or type(payload) is not bytes or type(signature) is not bytes:
        raise NotVerified("header, payload and signature of a COSE_Sign1 are byte strings", remedy=_REMEDY)
    _check_headers(protected, unprotected)
    if len(signature) != SIGNATURE_BYTES:
        raise NotVerified(f"a signature of {len(signature)} bytes (Ed25519 has {SIGNATURE_BYTES})", remedy=_REMEDY)
    return CoseSign1(protected, payload, signature)


def _check_headers(protected: bytes, unprotected: Any) -> None:
    headers = deterministic_cbor.decode(protected)
    if not isinstance(headers, Mapping):
        raise NotVerified("the protected header is not a map", remedy=_REMEDY)
    if CRITICAL_LABEL in headers:
        raise NotVerified(f"critical headers that are not known: {headers[CRITICAL_LABEL]!r}", remedy=_REMEDY)
    if protected != protected_header():
        raise NotVerified(f"protected header {headers!r}, expected EdDSA and nothing else", remedy=_REMEDY)
    if not isinstance(unprotected, Mapping) or unprotected:
        raise NotVerified("headers that are not signed", remedy=_REMEDY)


def verify(data: bytes, public_key: bytes) -> bytes:
    """The payload of `data` when Ed25519 `public_key` (32 bytes) signed it; else `NotVerified`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    message = decode(data)
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(message.signature, message.to_be_signed())
    except (InvalidSignature, ValueError) as error:
        raise NotVerified("the evidence is not signed by the key in the unit's certificate", remedy=_REMEDY) from error
    return message.payload
