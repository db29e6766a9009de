# SPDX-License-Identifier: Apache-2.0
"""A device CA and an identity for tests: its private key lives in the test and nowhere else."""

from __future__ import annotations

import datetime
from datetime import UTC

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from assay.formats import device_certificate
from assay.formats.device_certificate import DeviceIdentity
from assay.formats.public_key import trusted_key
from assay.model.trust import Role, TrustedKey, TrustFile

NOT_BEFORE = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
DEVICE_KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
IDENTITY = DeviceIdentity(
    serial="ASY-000001",
    chip=bytes(range(16)),
    public_key=DEVICE_KEY.public_key().public_bytes_raw(),
    organization="assay demonstration",
    hardware_type_oid="1.3.6.1.4.1.99999.1",
    emulated=True,
    not_before=NOT_BEFORE,
)


class Authority:
    """A CA whose private key only `sign` knows."""

    def __init__(self, *, development: bool = False, name: str = "test-device-ca") -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        pem = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.key: TrustedKey = trusted_key(pem, Role.DEVICE_CA, name=name, development=development)
        self.certificate = device_certificate.issue_ca(self.key, NOT_BEFORE, self.sign)

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data, ec.ECDSA(SHA256()))

    def issue(self, identity: DeviceIdentity = IDENTITY) -> bytes:
        return device_certificate.issue(identity, self.certificate, self.sign)

    def trust(self, *, development: bool = False, emulated: bool = True) -> TrustFile:
        return TrustFile(
            schema="assay.trust/1",
            name="test",
            allow_development=development,
            allow_emulated=emulated,
            keys=(self.key,),
        )
