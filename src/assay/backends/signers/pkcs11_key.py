# SPDX-License-Identifier: Apache-2.0
"""A key in a PKCS#11 token: signatures, its public part, and making it there.

Guards: a key that is meant for production and can be copied out of its token is refused. ECDSA is over our own SHA-256,
which every token can do. Leaves to others: session, lock and PIN (`pkcs11_token`).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

from assay.backends.signers.pkcs11_token import TokenSession, session_of
from assay.errors import Refused, StorageError, UsageFault
from assay.formats.key_uri import TokenKey, parse_token_uri
from assay.formats.public_key import parse_public_key
from assay.interfaces.signer import KeyPlace

P256_PARAMETERS = bytes.fromhex("06082a8648ce3d030107")
"""EC_PARAMS: the object identifier of secp256r1 (RFC 5480 section 2.1.1.1)."""

ED25519_PARAMETERS = bytes.fromhex("06032b6570")
"""EC_PARAMS: that of Ed25519 (RFC 8410 section 3)."""

OCTET_STRING = 0x04
ED25519_BYTES = 32
MADE_ID_BYTES = 8


@dataclass(frozen=True)
class FoundKey:
    """A key in a token: its public part (PEM), and what the token says of it."""

    public: str
    hardware: bool
    extractable: bool


class TokenKeySigner:
    """Implements `interfaces.signer.KeySigner` with a key in a token."""

    def __init__(self, session: TokenSession, key: TokenKey, algorithm: str, *, development: bool) -> None:
        self._session = session
        self._key = key
        self._algorithm = algorithm
        self._development = development
        self._checked = False

    def sign(self, data: bytes) -> bytes:
        """As the interface says."""
        return self._session.call(lambda session: self._sign(session, data))

    def close(self) -> None:
        """End the session, which other keys of the token share: they open it again."""
        self._session.close()

    def _sign(self, session: Any, data: bytes) -> bytes:
        import pkcs11

        key = self._session.key(session, self._key, private=True)
        if not self._checked and not self._development and _can_leave(key):
            raise Refused(
                f"the key with {self._key} can be copied out of the token '{self._session.label}'",
                remedy="make it there with EXTRACTABLE=false, or say development = true in keys.toml",
            )
        if not hasattr(key, "sign"):
            raise Refused(
                f"the key with {self._key} in the token '{self._session.label}' may not sign (CKA_SIGN is false)",
                remedy="make one that may, or let another key sign for this role: assay keys use ROLE URI",
            )
        self._checked = True
        if self._algorithm == "ed25519":
            return bytes(key.sign(data, mechanism=pkcs11.Mechanism.EDDSA))
        raw = bytes(key.sign(hashlib.sha256(data).digest(), mechanism=pkcs11.Mechanism.ECDSA))
        return _der_signature(raw)


def open_token_key(place: KeyPlace) -> TokenKeySigner:
    """The driver of `hsm:` and `pkcs11:`. Nothing is asked of the token before the first signature."""
    key = parse_token_uri(place.uri)
    _, algorithm = parse_public_key(place.public)
    return TokenKeySigner(session_of(key.token, place), key, algorithm, development=place.development)


def find_token_key(place: KeyPlace) -> FoundKey:
    """The public part of the key at `place`, from the token; `place.public` where the token has none.

    Raises AssayError.
    """
    key = parse_token_uri(place.uri)
    token = session_of(key.token, place)

    def look(session: Any) -> tuple[str, bool]:
        extractable = _can_leave(token.key(session, key, private=True))
        try:
            return _public_pem(token.key(session, key, private=False)), extractable
        except StorageError:
            if not place.public:
                raise
            return place.public, extractable

    public, extractable = token.call(look)
    return FoundKey(public, token.is_hardware(), extractable)


def make_token_key(place: KeyPlace, algorithm: str, label: str) -> None:
    """Make the key at `place` in the token, so that it never leaves it. Raises `UsageFault` when it is there."""
    import pkcs11

    key = parse_token_uri(place.uri)
    token = session_of(key.token, place)

    def make(session: Any) -> None:
        try:
            token.key(session, key, private=True)
        except StorageError:
            pass
        else:
            raise UsageFault(f"the token '{token.label}' has the key with {key}", remedy="leave out --make")
        p256 = algorithm == "ecdsa-p256"
        kind = pkcs11.KeyType.EC if p256 else pkcs11.KeyType.EC_EDWARDS
        how = pkcs11.Mechanism.EC_KEY_PAIR_GEN if p256 else pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN
        curve = {pkcs11.Attribute.EC_PARAMS: P256_PARAMETERS if p256 else ED25519_PARAMETERS}
        session.create_domain_parameters(kind, curve, local=True).generate_keypair(
            mechanism=how,
            store=True,
            label=key.label or label,
            id=key.key_id or os.urandom(MADE_ID_BYTES),
            capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
            private_template={pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False},
        )

    token.call(make, writes=True)


def login(label: str, place: KeyPlace) -> bool:
    """Give the PIN to the token `label` once; True for a token that says that it is hardware. Raises `Refused`."""
    token = session_of(label, place)
    token.call(lambda _session: None)
    return token.is_hardware()


def _can_leave(key: Any) -> bool:
    """Whether the token gives the private key out. One that does not say counts as one that does not."""
    import pkcs11

    try:
        return bool(key[pkcs11.Attribute.EXTRACTABLE]) or not key[pkcs11.Attribute.SENSITIVE]
    except pkcs11.PKCS11Error as error:
        if type(error).__name__ in ("AttributeTypeInvalid", "AttributeSensitive"):
            return False
        raise


def _public_pem(key: Any) -> str:
    import pkcs11
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if key.key_type not in (pkcs11.KeyType.EC, pkcs11.KeyType.EC_EDWARDS):
        raise _of_no_kind_of_ours()
    parameters, point = bytes(key[pkcs11.Attribute.EC_PARAMS]), _point(bytes(key[pkcs11.Attribute.EC_POINT]))
    public: EllipticCurvePublicKey | Ed25519PublicKey
    if parameters == P256_PARAMETERS:
        public = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
    elif len(point) == ED25519_BYTES:
        public = Ed25519PublicKey.from_public_bytes(point)
    else:
        raise _of_no_kind_of_ours()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def _of_no_kind_of_ours() -> Refused:
    return Refused("the key in the token is neither P-256 nor Ed25519", remedy="make one of these kinds")


def _point(value: bytes) -> bytes:
    """EC_POINT is a DER OCTET STRING (PKCS#11 3.0 section 2.3.3); some tokens give the point itself."""
    if len(value) > 2 and value[0] == OCTET_STRING and value[1] == len(value) - 2:
        return value[2:]
    return value


def _der_signature(raw: bytes) -> bytes:
    """`r || s` as DER (RFC 3279 section 2.2.3)."""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
