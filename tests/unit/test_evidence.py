# SPDX-License-Identifier: Apache-2.0
"""Evidence is believed only with every link in place: nonce, signature, certificate, CA, chip, serial, record."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from device_authority import DEVICE_KEY, IDENTITY, Authority

from assay.errors import NotVerified
from assay.formats import cose_sign1, eat_claims
from assay.formats.cose_sign1 import CoseSign1
from assay.formats.eat_claims import EvidenceClaims
from assay.model.outcome import Outcome
from assay.model.predicates import DeviceReport, EvidenceQuote, EvidenceRecord, RunHeader
from assay.stages.field import evidence

CHECKPOINT = "example.org/log\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— example.org/log signature\n"
RANDOM = bytes(range(32))
NONCE = evidence.make_nonce(CHECKPOINT.encode(), RANDOM)
CLAIMS = EvidenceClaims(
    nonce=NONCE,
    chip=IDENTITY.chip,
    board="ast1030-evb",
    revision=1,
    name="demo-sensor",
    version="1.1.0",
    image_hash=b"\x11" * 32,
    state="confirmed",
    bootloader_hash=b"\x22" * 32,
    serial=IDENTITY.serial,
    security_counter=3,
    reverted=False,
)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> bytes:
    return authority.issue()


def sign(claims: EvidenceClaims, key: Ed25519PrivateKey = DEVICE_KEY) -> bytes:
    message = CoseSign1(cose_sign1.protected_header(), eat_claims.encode(claims), b"")
    return cose_sign1.encode(dataclasses.replace(message, signature=key.sign(message.to_be_signed())))


def quote(certificate: bytes, cose: bytes | None = None, **changes: Any) -> EvidenceQuote:
    values: dict[str, Any] = {
        "nonce_hex": NONCE.hex(),
        "random_hex": RANDOM.hex(),
        "evidence_base64": base64.b64encode(sign(CLAIMS) if cose is None else cose).decode(),
        "certificate_sha256": hashlib.sha256(certificate).hexdigest(),
    }
    return EvidenceQuote(**{**values, **changes})


def record(certificate: bytes, **changes: Any) -> EvidenceRecord:
    header = RunHeader(
        run_id="evidence-1",
        assay="1",
        place="a",
        board="ast1030-evb",
        emulated=True,
        started="2026-11-23T12:00:00Z",
        finished="2026-11-23T12:00:01Z",
        outcome=Outcome.PASS,
        checkpoint=CHECKPOINT,
    )
    report = DeviceReport(version="1.1.0", image_hash="11" * 32, how="verified-at-boot", state="confirmed")
    values: dict[str, Any] = {
        "run": header,
        "serial": IDENTITY.serial,
        **quote(certificate).model_dump(),
        "report": report,
        "bootloader_hash": "22" * 32,
        "security_counter": 3,
        "reverted_at_boot": False,
    }
    return EvidenceRecord(**{**values, **changes})


def test_good_evidence_verifies_and_names_its_keys(authority: Authority, certificate: bytes) -> None:
    verified = evidence.verify_quote(quote(certificate), CHECKPOINT.encode(), certificate, authority.trust())
    assert verified.claims == CLAIMS
    assert verified.checks[0].key == authority.key
    assert any("emulated" in check.what for check in verified.checks)
    assert verified.report.how == "verified-at-boot"


def test_a_record_verifies_years_later(authority: Authority, certificate: bytes) -> None:
    assert evidence.verify_evidence(record(certificate), certificate, authority.trust()).claims == CLAIMS


def test_the_nonce_is_the_hash_of_checkpoint_and_random_bytes() -> None:
    assert NONCE.hex() == hashlib.sha256(CHECKPOINT.encode() + RANDOM).hexdigest()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nonce_hex": "00" * 32}, "nonce"),
        ({"random_hex": "00" * 32}, "nonce"),
        ({"random_hex": ""}, "nonce"),
        ({"random_hex": "zz"}, "cannot be read"),
        ({"evidence_base64": "!"}, "cannot be read"),
        ({"evidence_base64": ""}, "CBOR"),
        ({"certificate_sha256": "0" * 64}, "another certificate"),
    ],
)
def test_a_changed_quote_is_refused(
    authority: Authority, certificate: bytes, changes: dict[str, str], words: str
) -> None:
    with pytest.raises(NotVerified, match=words):
        evidence.verify_quote(quote(certificate, **changes), CHECKPOINT.encode(), certificate, authority.trust())


def test_another_checkpoint_is_refused(authority: Authority, certificate: bytes) -> None:
    with pytest.raises(NotVerified, match="nonce"):
        evidence.verify_quote(quote(certificate), b"another log", certificate, authority.trust())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nonce": b"\x00" * 32}, "another nonce"),
        ({"chip": b"\x00" * 16}, "chip"),
        ({"serial": "ASY-000002"}, "ASY-000002"),
        ({"version": "one"}, "version"),
    ],
)
def test_claims_that_disagree_are_refused(
    authority: Authority, certificate: bytes, changes: dict[str, Any], words: str
) -> None:
    cose = sign(dataclasses.replace(CLAIMS, **changes))
    with pytest.raises(NotVerified, match=words):
        evidence.verify_quote(quote(certificate, cose), CHECKPOINT.encode(), certificate, authority.trust())


def test_another_device_key_is_refused(authority: Authority, certificate: bytes) -> None:
    cose = sign(CLAIMS, Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))
    with pytest.raises(NotVerified, match="not signed"):
        evidence.verify_quote(quote(certificate, cose), CHECKPOINT.encode(), certificate, authority.trust())


def test_another_ca_is_refused(certificate: bytes) -> None:
    with pytest.raises(NotVerified, match="device CA"):
        evidence.verify_quote(quote(certificate), CHECKPOINT.encode(), certificate, Authority().trust())


@pytest.mark.parametrize(
    "changes",
    [
        {"serial": "ASY-000009"},
        {"bootloader_hash": "33" * 32},
        {"security_counter": 4},
        {"reverted_at_boot": True},
        {"report": DeviceReport(version="1.1.1", image_hash="11" * 32, how="verified-at-boot", state="confirmed")},
        {"report": DeviceReport(version="1.1.0", image_hash="12" * 32, how="verified-at-boot", state="confirmed")},
        {"report": DeviceReport(version="1.1.0", image_hash="11" * 32, how="verified-at-boot", state="testing")},
        {"report": DeviceReport(version="1.1.0", image_hash="11" * 32, how="recomputed", state="confirmed")},
    ],
)
def test_a_record_that_says_something_else_is_refused(
    authority: Authority, certificate: bytes, changes: dict[str, Any]
) -> None:
    with pytest.raises(NotVerified):
        evidence.verify_evidence(record(certificate, **changes), certificate, authority.trust())


@pytest.mark.parametrize("changes", [{"board": "rv32-virt"}, {"emulated": False}])
def test_a_record_of_another_board_is_refused(
    authority: Authority, certificate: bytes, changes: dict[str, Any]
) -> None:
    good = record(certificate)
    with pytest.raises(NotVerified):
        evidence.verify_evidence(
            good.model_copy(update={"run": good.run.model_copy(update=changes)}), certificate, authority.trust()
        )
