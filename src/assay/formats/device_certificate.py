# SPDX-License-Identifier: Apache-2.0
"""Device certificates (IDevID, IEEE 802.1AR-2018), and the certificate of the device CA that issues them.

Guards: a certificate that `verify` accepts was signed by a device CA that is trusted, binds one Ed25519 key to one chip
and one serial number, and has nothing in it that the profile does not know. Leaves to others: the CA's private key
(whoever gives `sign`), and where certificates are kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from assay.errors import AssayError, NotVerified
from assay.formats import idevid_profile, public_key
from assay.formats.delegated_key import DelegatedP256, Sign
from assay.formats.idevid_profile import ATTRIBUTE_BYTES_MAX, NO_EXPIRY, REMEDY, refuse
from assay.model.identifiers import parse_serial
from assay.model.trust import Role, TrustedKey, TrustFile

CERTIFICATE_BYTES_MAX = 1024
"""Bytes that a device keeps (device contract, group 0x4153 command 2). The longest names of a profile fit (tested)."""


@dataclass(frozen=True)
class DeviceIdentity:
    """What a device certificate binds. `chip` 16 bytes, `public_key` 32 bytes (Ed25519), `not_before` in UTC."""

    serial: str
    chip: bytes
    public_key: bytes
    organization: str
    hardware_type_oid: str
    emulated: bool
    not_before: datetime


@dataclass(frozen=True)
class DeviceCertificate(DeviceIdentity):
    """A certificate that verified, and the CA key that verified it."""

    issuer: TrustedKey
    der: bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of the DER, hex."""
        return hashlib.sha256(self.der).hexdigest()


def issue(identity: DeviceIdentity, ca_certificate_der: bytes, sign: Sign) -> bytes:
    """The device's certificate in DER, signed through `sign` by the key of `ca_certificate_der`."""
    ca = x509.load_der_x509_certificate(ca_certificate_der)
    ca_key = _p256(ca)
    device_key = Ed25519PublicKey.from_public_bytes(identity.public_key)
    alternative_name = idevid_profile.hardware_module_name(identity.hardware_type_oid, identity.chip)
    builder = (
        x509.CertificateBuilder()
        .subject_name(idevid_profile.subject(identity.organization, identity.serial, emulated=identity.emulated))
        .issuer_name(ca.subject)
        .public_key(device_key)
        .serial_number(_certificate_number(ca_certificate_der, identity))
        .not_valid_before(identity.not_before.replace(microsecond=0))
        .not_valid_after(NO_EXPIRY)
        .add_extension(alternative_name, critical=False)
    )
    for extension, critical in idevid_profile.device_extensions(device_key, ca_key):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(DelegatedP256(ca_key, sign), SHA256()).public_bytes(Encoding.DER)


def issue_ca(key: TrustedKey, not_before: datetime, sign: Sign) -> bytes:
    """The self-signed certificate (DER) of the device CA's `key`; `sign` signs with it."""
    public, _ = public_key.parse_public_key(key.public)
    if not isinstance(public, ec.EllipticCurvePublicKey):
        refuse("the device CA's key is not P-256")
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, key.name.encode()[:ATTRIBUTE_BYTES_MAX].decode(errors="ignore"))]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(_positive(hashlib.sha256(key.keyid.encode() + not_before.isoformat().encode()).digest()))
        .not_valid_before(not_before.replace(microsecond=0))
        .not_valid_after(NO_EXPIRY)
    )
    for extension, critical in idevid_profile.ca_extensions(public):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(DelegatedP256(public, sign), SHA256()).public_bytes(Encoding.DER)


def is_ca_certificate_of(der: bytes, key: TrustedKey) -> bool:
    """True when `der` is a self-signed certificate of `key`."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(certificate)
        return certificate.public_key() == public_key.parse_public_key(key.public)[0]
    except Exception:  # whatever is wrong with a kept file, it is not the CA's certificate
        return False


def pem(der: bytes) -> bytes:
    """A certificate in PEM, for other people's tools."""
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def verify(der: bytes, trust: TrustFile) -> DeviceCertificate:
    """What the certificate `der` says, when a device CA of `trust` signed it and it keeps the profile.

    Raises `NotVerified` for everything else, a development CA and an emulated unit included unless `trust` allows them.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        _check_spelling(certificate, der)
        issuer = _issuer(certificate, trust)
        _check_profile(certificate, issuer)
        found = _read(certificate, issuer, der)
    except AssayError as error:
        raise NotVerified(f"device certificate: {error.message}", remedy=error.remedy) from error
    except Exception as error:  # a parser's complaint about hostile bytes, of whatever class, is: not verified
        raise NotVerified(f"device certificate: {error}", remedy=REMEDY) from error
    if found.emulated and not trust.allow_emulated:
        raise NotVerified(
            f"device certificate: unit {found.serial} is emulated, and trust file '{trust.name}' refuses that",
            remedy="use a real unit, or a trust file with allow_emulated for demonstrations",
        )
    return found


def _check_spelling(certificate: x509.Certificate, der: bytes) -> None:
    """The one byte that parser and signature both let pass: how many bits of the signature do not count (X.690 8.6)."""
    signature = certificate.signature
    if not der.endswith(bytes((0x03, len(signature) + 1, 0)) + signature):
        refuse("its signature is not a whole number of bytes")


def _issuer(certificate: x509.Certificate, trust: TrustFile) -> TrustedKey:
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        refuse("it is not signed by ECDSA with SHA-256")
    signature, data = certificate.signature, certificate.tbs_certificate_bytes
    signers = [key for key in trust.keys_for(Role.DEVICE_CA) if key.algorithm == "ecdsa-p256"]
    issuer = next((key for key in signers if public_key.signature_is_good(key, signature, data)), None)
    if issuer is None:
        raise NotVerified(f"no device CA of trust file '{trust.name}' signed it", remedy=REMEDY)
    if issuer.development and not trust.allow_development:
        raise NotVerified(
            f"it is signed by the UNSAFE-DEVELOPMENT key '{issuer.name}', which '{trust.name}' refuses",
            remedy="provision with a production device CA, or allow development keys in a demonstration's trust file",
        )
    return issuer


def _check_profile(certificate: x509.Certificate, issuer: TrustedKey) -> None:
    device_key, (ca_key, _) = _ed25519(certificate), public_key.parse_public_key(issuer.public)
    if not isinstance(ca_key, ec.EllipticCurvePublicKey):
        refuse("the device CA's key is not P-256")
    expected = {
        type(value): (value, critical) for value, critical in idevid_profile.device_extensions(device_key, ca_key)
    }
    found = {type(extension.value): extension for extension in certificate.extensions}
    if found.keys() != {*expected, x509.SubjectAlternativeName}:
        refuse("its extensions are not those of the profile")
    for kind, (value, critical) in expected.items():
        if found[kind].value != value or found[kind].critical is not critical:
            refuse(f"{kind.__name__} is not as the profile says")
    if certificate.version is not x509.Version.v3 or certificate.not_valid_after_utc != NO_EXPIRY:
        refuse("it is not a v3 certificate without expiry")


def _read(certificate: x509.Certificate, issuer: TrustedKey, der: bytes) -> DeviceCertificate:
    organization, serial, emulated = idevid_profile.read_subject(certificate.subject)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hardware_type, chip = idevid_profile.read_hardware_module_name(names)
    return DeviceCertificate(
        serial=parse_serial(serial),
        chip=chip,
        public_key=_ed25519(certificate).public_bytes_raw(),
        organization=organization,
        hardware_type_oid=hardware_type,
        emulated=emulated,
        not_before=certificate.not_valid_before_utc,
        issuer=issuer,
        der=der,
    )


def _ed25519(certificate: x509.Certificate) -> Ed25519PublicKey:
    key = certificate.public_key()
    if not isinstance(key, Ed25519PublicKey):
        refuse("its key is not Ed25519")
    return key


def _p256(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        refuse("the device CA's key is not P-256")
    return key


def _certificate_number(ca_der: bytes, identity: DeviceIdentity) -> int:
    """The certificate's own number: a digest of what it certifies, so that a repeated step makes the same one."""
    parts = (ca_der, identity.serial.encode(), identity.chip, identity.public_key, str(identity.not_before).encode())
    return _positive(hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest())


def _positive(digest: bytes) -> int:
    """159 bits of `digest`, never 0: RFC 5280 section 4.1.2.2 wants a positive number of at most 20 octets."""
    return int.from_bytes(digest[:20], "big") >> 1 | 1
