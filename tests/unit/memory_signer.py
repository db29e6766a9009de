# SPDX-License-Identifier: Apache-2.0
"""A signer service in this process, for tests of what asks for signatures. Keys are made anew and live in memory."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from assay.errors import InfrastructureError
from assay.formats import dsse, sigstore_bundle
from assay.formats.public_key import trusted_key
from assay.model.keys import ED25519_ROLES
from assay.model.trust import BUILDER_IDS, Role, TrustedKey, TrustedLog, TrustFile


class MemorySigner:
    """Implements `interfaces.signer.SignerService`; `away` makes it fail as a signer process that is gone."""

    def __init__(self) -> None:
        self.away = False
        self.away_for: set[Role] = set()
        self._keys: dict[Role, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey] = {
            role: ed25519.Ed25519PrivateKey.generate()
            if role in ED25519_ROLES
            else ec.generate_private_key(ec.SECP256R1())
            for role in Role
        }

    def public_key(self, role: Role) -> TrustedKey:
        pem = self._keys[role].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        key = trusted_key(pem, role, name=f"{role}-UNSAFE-DEVELOPMENT", development=True)
        builders = tuple(sorted(BUILDER_IDS.values())) if role is Role.BUILDER else ()
        return key.model_copy(update={"builder_ids": builders})

    def roles(self) -> tuple[Role, ...]:
        return tuple(Role)

    def sign(self, role: Role, data: bytes) -> bytes:
        if self.away or role in self.away_for:
            raise InfrastructureError("the signer process ends before it answers", remedy="try again")
        key = self._keys[role]
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(data)
        return key.sign(data, ec.ECDSA(SHA256()))

    def sign_statement(self, role: Role, payload: bytes) -> bytes:
        signature = self.sign(role, dsse.pae("application/vnd.in-toto+json", payload))
        return sigstore_bundle.encode(dsse.Envelope(payload, signature), self.public_key(role).keyid)


def trust_in(signer: MemorySigner, *logs: TrustedLog, development: bool = True) -> TrustFile:
    """A trust file with all keys of `signer`."""
    return TrustFile(
        schema="assay.trust/1",
        name="test",
        allow_development=development,
        keys=tuple(signer.public_key(role) for role in Role if role not in (Role.LOG, Role.WITNESS)),
        logs=logs,
    )
