# SPDX-License-Identifier: Apache-2.0
"""Keys and certificates of the lab's authorities. Every name says that this is no production CA."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ORGANIZATION = "UNSAFE-DEVELOPMENT Sigstore lab"
WARNING = "no production CA"

VALID = timedelta(days=30)
"""A lab that runs longer than this is started again."""

BACKDATED = timedelta(minutes=5)
"""Certificates begin this long before they are made, so that the clocks of one machine's processes cannot cross."""

USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Authority:
    """A key, its certificate, and the certificates above it, the root last."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain_der(self) -> list[bytes]:
        """This certificate and those above it, the root last."""
        return [certificate.public_bytes(Encoding.DER) for certificate in (self.certificate, *self.above)]


def name(what: str) -> x509.Name:
    """`what`, with the warning in it."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{what} ({WARNING})"),
        ]
    )


def usage(*wanted: str) -> x509.KeyUsage:
    """The key usages that are named, and no others."""
    return x509.KeyUsage(**{each: each in wanted for each in USAGES})


def make_root(what: str) -> Authority:
    """A self-signed certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = builder_for(key.public_key(), name(what), name(what), key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
    builder = builder.add_extension(usage("key_cert_sign", "crl_sign"), critical=True)
    return Authority(key, builder.sign(key, SHA256()))


def make_stamper(root: Authority, what: str) -> Authority:
    """A key that signs time stamps; `timeStamping` is its only extended usage, and critical (RFC 3161 section 2.3)."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = builder_for(key.public_key(), name(what), root.certificate.subject, root.key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(usage("digital_signature"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return Authority(key, builder.sign(root.key, SHA256()), (root.certificate, *root.above))


def builder_for(
    key: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePublicKey,
    valid: timedelta = VALID,
) -> x509.CertificateBuilder:
    """A certificate with what all of them have."""
    now = datetime.now(UTC).replace(microsecond=0)
    builder = x509.CertificateBuilder(issuer_name=issuer, subject_name=subject, public_key=key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - BACKDATED).not_valid_after(now + valid)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
