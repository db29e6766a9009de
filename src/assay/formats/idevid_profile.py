# SPDX-License-Identifier: Apache-2.0
"""The IDevID profile of IEEE 802.1AR-2018 section 8, piece by piece: subject, hardware module name, extensions.

Guards: issuing and verifying are made of the same pieces, so they cannot drift apart. Leaves to others: signatures and
whom to trust (`device_certificate`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from assay.errors import NotVerified, UsageFault

HARDWARE_MODULE_NAME = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4")
"""id-on-hardwareModuleName (RFC 4108 section 5)."""
EMULATED_UNIT = "EMULATED"
"""organizationalUnitName of a twin's certificate."""
NO_EXPIRY = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""802.1AR-2018 section 8.7: an identity for the device's life has no expiry (RFC 5280 section 4.1.2.5)."""
CHIP_BYTES = 16
ATTRIBUTE_BYTES_MAX = 64
"""RFC 5280 appendix A.1 has 64 characters (ub-organization-name, ub-common-name); `cryptography` counts bytes."""

REMEDY = "the unit was not provisioned by a device CA of this trust file, or its certificate is damaged"


@asn1.sequence
class _HardwareModuleName:
    """HardwareModuleName (RFC 4108 section 5)."""

    hw_type: x509.ObjectIdentifier
    hw_serial: bytes


def subject(organization: str, serial: str, *, emulated: bool) -> x509.Name:
    """Organization, `OU=EMULATED` for a twin, and the serial number (802.1AR-2018 section 8.6)."""
    if len(organization.encode()) > ATTRIBUTE_BYTES_MAX:
        raise UsageFault(
            f"organization '{organization}' has {len(organization.encode())} bytes in UTF-8 (at most "
            f"{ATTRIBUTE_BYTES_MAX})",
            remedy="shorten it in the profile",
        )
    unit = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, EMULATED_UNIT)] if emulated else []
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            *unit,
            x509.NameAttribute(NameOID.SERIAL_NUMBER, serial),
        ]
    )


def read_subject(name: x509.Name) -> tuple[str, str, bool]:
    """Organization, serial number, emulated; `NotVerified` for any other subject."""
    values = {attribute.oid: str(attribute.value) for attribute in name}
    organization = values.get(NameOID.ORGANIZATION_NAME, "")
    serial = values.get(NameOID.SERIAL_NUMBER, "")
    emulated = values.get(NameOID.ORGANIZATIONAL_UNIT_NAME) == EMULATED_UNIT
    if not organization or not serial or name != subject(organization, serial, emulated=emulated):
        refuse("its subject is not organization, serial number and, for a twin, EMULATED")
    return organization, serial, emulated


def hardware_module_name(hardware_type_oid: str, chip: bytes) -> x509.SubjectAlternativeName:
    """The alternative name: hwType, and the chip id as hwSerialNum. `UsageFault` when the OID is none."""
    try:
        hw_type = x509.ObjectIdentifier(hardware_type_oid)
    except ValueError as error:
        raise UsageFault(
            f"hardware_type_oid {hardware_type_oid[:80]} is not an object identifier that X.509 tools can read",
            remedy="use an OID below your organization's arc (1.3.6.1.4.1.<number>)",
        ) from error
    name = _HardwareModuleName(hw_type=hw_type, hw_serial=chip)
    return x509.SubjectAlternativeName([x509.OtherName(HARDWARE_MODULE_NAME, asn1.encode_der(name))])


def read_hardware_module_name(names: x509.SubjectAlternativeName) -> tuple[str, bytes]:
    """hwType and chip id; `NotVerified` for any other alternative name."""
    name = next(iter(names)) if len(list(names)) == 1 else None
    if not isinstance(name, x509.OtherName) or name.type_id != HARDWARE_MODULE_NAME:
        refuse("its alternative name is not one hardware module name")
    module = asn1.decode_der(_HardwareModuleName, name.value)
    if len(module.hw_serial) != CHIP_BYTES:
        refuse(f"its chip id does not have {CHIP_BYTES} bytes")
    return module.hw_type.dotted_string, module.hw_serial


def device_extensions(
    public: Ed25519PublicKey, ca_key: ec.EllipticCurvePublicKey
) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """The extensions of a device certificate but its alternative name, and whether each is critical."""
    return (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(digital_signature=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key), False),
    )


def ca_extensions(public: ec.EllipticCurvePublicKey) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """The extensions of the CA's certificate: it may issue end entities only."""
    return (
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (key_usage(certificate_signing=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
    )


def key_usage(*, digital_signature: bool = False, certificate_signing: bool = False) -> x509.KeyUsage:
    """Key usage with these bits and no others."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificate_signing,
        crl_sign=certificate_signing,
        encipher_only=False,
        decipher_only=False,
    )


def refuse(what: str) -> NoReturn:
    """`NotVerified`: the certificate is not of this profile."""
    raise NotVerified(what, remedy=REMEDY)
