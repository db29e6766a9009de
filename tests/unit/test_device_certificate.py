# SPDX-License-Identifier: Apache-2.0
"""A device certificate is what 802.1AR says, other people's tools accept it, and nothing else is accepted."""

from __future__ import annotations

import datetime
import shutil
import subprocess
from datetime import UTC
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from device_authority import IDENTITY, Authority
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import NotVerified, Refused, UsageFault
from assay.formats import device_certificate, idevid_profile
from assay.formats.delegated_key import DelegatedP256
from assay.formats.device_certificate import DeviceIdentity
from assay.model.trust import Role, TrustFile


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_what_was_certified_is_what_is_read(authority: Authority) -> None:
    found = device_certificate.verify(authority.issue(), authority.trust())
    assert DeviceIdentity(**{name: getattr(found, name) for name in vars(IDENTITY)}) == IDENTITY
    assert found.issuer == authority.key
    assert len(found.der) < 600


def test_openssl_accepts_the_chain_and_names_the_chip(authority: Authority, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    assert openssl, "install openssl: apt-get install openssl"
    for name, der in (("ca", authority.certificate), ("device", authority.issue())):
        (tmp_path / f"{name}.pem").write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    run = subprocess.run(
        [openssl, "verify", "-x509_strict", "-check_ss_sig", "-CAfile", "ca.pem", "device.pem"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    text = subprocess.run(
        [openssl, "x509", "-in", "device.pem", "-noout", "-text"], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    assert "Not After : Dec 31 23:59:59 9999 GMT" in text
    assert "serialNumber = ASY-000001" in text
    assert "OU = EMULATED" in text
    assert "CA:FALSE" in text
    assert "Digital Signature" in text


def test_the_encoding_of_the_hardware_module_name_is_that_of_rfc_4108(authority: Authority) -> None:
    certificate = x509.load_der_x509_certificate(authority.issue())
    name = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value[0]
    oid = bytes.fromhex("06092b06010401868d1f01")
    assert name.value == b"\x30\x1d" + oid + b"\x04\x10" + IDENTITY.chip
    assert name.type_id.dotted_string == "1.3.6.1.5.5.7.8.4"


def test_the_same_identity_gets_the_same_certificate_number(authority: Authority) -> None:
    numbers = {x509.load_der_x509_certificate(authority.issue()).serial_number for _ in range(2)}
    assert len(numbers) == 1
    assert 0 < numbers.pop() < 2**159


def test_a_real_unit_does_not_say_emulated(authority: Authority) -> None:
    real = DeviceIdentity(**{**vars(IDENTITY), "emulated": False})
    assert device_certificate.verify(authority.issue(real), authority.trust(emulated=False)).emulated is False


def test_a_twin_is_refused_where_twins_are_not_allowed(authority: Authority) -> None:
    with pytest.raises(NotVerified, match="emulated"):
        device_certificate.verify(authority.issue(), authority.trust(emulated=False))


def test_a_development_ca_is_refused_where_it_is_not_allowed() -> None:
    development = Authority(development=True)
    der = development.issue()
    assert device_certificate.verify(der, development.trust(development=True)).issuer.development
    with pytest.raises(NotVerified, match="UNSAFE-DEVELOPMENT"):
        device_certificate.verify(der, development.trust())


def test_another_ca_is_refused(authority: Authority) -> None:
    with pytest.raises(NotVerified, match="no device CA"):
        device_certificate.verify(authority.issue(), Authority().trust())


def test_a_key_that_is_trusted_for_something_else_is_refused(authority: Authority) -> None:
    key = authority.key.model_copy(update={"role": Role.STATION})
    trust = authority.trust().model_copy(update={"keys": (key,)})
    with pytest.raises(NotVerified, match="no device CA"):
        device_certificate.verify(authority.issue(), trust)


def test_every_changed_bit_is_refused(authority: Authority) -> None:
    der = authority.issue()
    for position in range(len(der)):
        changed = bytearray(der)
        changed[position] ^= 1 << position % 8
        with pytest.raises(NotVerified):
            device_certificate.verify(bytes(changed), authority.trust())


def test_bits_of_the_signature_that_do_not_count_are_refused(authority: Authority) -> None:
    """Where the signature ends in zero bits, the parser lets them be declared unused, and the signature stays good."""
    der = next(der for der in (authority.issue() for _ in range(100)) if not der[-1] & 1)
    at = len(der) - len(x509.load_der_x509_certificate(der).signature) - 1
    changed = der[:at] + b"\1" + der[at + 1 :]
    assert x509.load_der_x509_certificate(changed).signature == x509.load_der_x509_certificate(der).signature
    with pytest.raises(NotVerified, match="whole number of bytes"):
        device_certificate.verify(changed, authority.trust())


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_bytes_leak_another_error(data: bytes) -> None:
    with pytest.raises(NotVerified):
        device_certificate.verify(data, TrustFile(schema="assay.trust/1", name="empty"))


@pytest.mark.parametrize("wrong", ["ca", "usage", "extra", "expiry", "subject"])
def test_a_certificate_of_our_ca_but_of_another_profile_is_refused(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    original = idevid_profile.device_extensions

    def other(public: object, ca_key: object) -> tuple[tuple[x509.ExtensionType, bool], ...]:
        rows = list(original(public, ca_key))  # type: ignore[arg-type]
        if wrong == "ca":
            rows[0] = (x509.BasicConstraints(ca=True, path_length=None), True)
        if wrong == "usage":
            rows[1] = (idevid_profile.key_usage(digital_signature=True, certificate_signing=True), True)
        if wrong == "extra":
            rows.append((x509.OCSPNoCheck(), True))
        return tuple(rows)

    monkeypatch.setattr(idevid_profile, "device_extensions", other)
    if wrong == "expiry":
        monkeypatch.setattr(device_certificate, "NO_EXPIRY", datetime.datetime(2040, 1, 1, tzinfo=UTC))
    if wrong == "subject":
        monkeypatch.setattr(
            idevid_profile,
            "subject",
            lambda organization, serial, *, emulated: x509.Name.from_rfc4514_string(f"CN={serial},O={organization}"),
        )
    der = authority.issue()
    monkeypatch.undo()
    with pytest.raises(NotVerified):
        device_certificate.verify(der, authority.trust())


def test_the_longest_names_fit_the_device() -> None:
    authority = Authority(name="\N{PALM TREE}" * 64)
    longest = DeviceIdentity(
        **{
            **vars(IDENTITY),
            "serial": "S" * 64,
            "organization": "\N{PALM TREE}" * 16,
            "hardware_type_oid": "1.3.6.1.4.1" + ".268435455" * 14,
        }
    )
    der = authority.issue(longest)
    assert len(der) <= device_certificate.CERTIFICATE_BYTES_MAX
    assert device_certificate.verify(der, authority.trust()).serial == "S" * 64


def test_an_organization_that_is_too_long_in_bytes_is_a_fault_of_the_profile(authority: Authority) -> None:
    with pytest.raises(UsageFault, match="68 bytes"):
        authority.issue(DeviceIdentity(**{**vars(IDENTITY), "organization": "\N{PALM TREE}" * 17}))


def test_an_oid_that_is_none_is_a_fault_of_the_profile(authority: Authority) -> None:
    with pytest.raises(UsageFault, match="object identifier"):
        authority.issue(DeviceIdentity(**{**vars(IDENTITY), "hardware_type_oid": "1.3" + ".99999999" * 180}))


def test_the_kept_ca_certificate_is_recognized(authority: Authority) -> None:
    assert device_certificate.is_ca_certificate_of(authority.certificate, authority.key)
    assert not device_certificate.is_ca_certificate_of(authority.certificate, Authority().key)
    assert not device_certificate.is_ca_certificate_of(b"torn", authority.key)


def test_a_delegated_key_signs_and_does_nothing_else(authority: Authority) -> None:
    key = DelegatedP256(authority.private.public_key(), authority.sign)
    for forbidden in (key.private_numbers, key.private_bytes, key.exchange):
        with pytest.raises(Refused, match="not in this process"):
            forbidden()
