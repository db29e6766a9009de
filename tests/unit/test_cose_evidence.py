# SPDX-License-Identifier: Apache-2.0
"""Evidence has one spelling: every other one, and every changed bit, is not verified and nothing worse."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from cbor2 import CBORTag, dumps
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import NotVerified
from assay.formats import cose_sign1, deterministic_cbor, eat_claims
from assay.formats.cose_sign1 import CoseSign1
from assay.formats.eat_claims import EvidenceClaims

KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
PUBLIC = KEY.public_key().public_bytes_raw()
CLAIMS = EvidenceClaims(
    nonce=b"n" * 32,
    chip=bytes(range(16)),
    board="ast1030-evb",
    revision=1,
    name="demo-app",
    version="1.2.3",
    image_hash=b"\x11" * 32,
    state="confirmed",
    bootloader_hash=b"\x22" * 32,
    serial="ASY-000001",
    security_counter=3,
    reverted=False,
)


def sign(payload: bytes, protected: bytes | None = None) -> bytes:
    header = cose_sign1.protected_header() if protected is None else protected
    message = CoseSign1(header, payload, b"")
    return cose_sign1.encode(dataclasses.replace(message, signature=KEY.sign(message.to_be_signed())))


def parts(data: bytes) -> list[Any]:
    return list(deterministic_cbor.decode(data).value)


def test_what_was_signed_is_what_is_read() -> None:
    payload = cose_sign1.verify(sign(eat_claims.encode(CLAIMS)), PUBLIC)
    assert eat_claims.decode(payload) == CLAIMS


def test_the_bytes_are_those_of_rfc_9052_appendix_style() -> None:
    """Written down by hand, so that encoder and decoder cannot be wrong together."""
    data = sign(b"\xa0")
    assert data[:8] == bytes.fromhex("d28443a10127a041")
    assert data[8:11] == b"\xa0\x58\x40"
    message = CoseSign1(bytes.fromhex("a10127"), b"\xa0", b"")
    assert message.to_be_signed() == b"\x84\x6aSignature1\x43\xa1\x01\x27\x40\x41\xa0"


def test_map_keys_are_sorted_by_their_bytes_and_not_by_length() -> None:
    assert deterministic_cbor.encode({-1: 2, 256: 1, 10: 3}).hex() == "a30a0319010001" + "2002"
    with pytest.raises(NotVerified, match="deterministic"):
        deterministic_cbor.decode(dumps({10: 3, -1: 2, 256: 1}, canonical=True))


@pytest.mark.parametrize(
    "spelling",
    [
        "1801",
        "5f4101ff",
        "a201010102",
        "a2020a010a",
        "0000",
        "f6",
        "f90000",
        "c11a00000000",
        "d81c81d81d00",
        "9f01ff",
        "",
    ],
)
def test_other_spellings_are_refused(spelling: str) -> None:
    with pytest.raises(NotVerified):
        deterministic_cbor.decode(bytes.fromhex(spelling))


def test_deep_and_large_documents_are_refused() -> None:
    for data in (b"\x81" * 2000 + b"\x01", b"\x81" * 9 + b"\x01", b"\x59\xff\xff" + bytes(65535)):
        with pytest.raises(NotVerified):
            deterministic_cbor.decode(data)
    assert deterministic_cbor.decode(b"\x81" * 8 + b"\x01")


@given(st.binary(max_size=120))
@settings(max_examples=300, deadline=None)
def test_no_bytes_leak_another_error(data: bytes) -> None:
    for read in (deterministic_cbor.decode, cose_sign1.decode, eat_claims.decode):
        try:
            read(data)
        except NotVerified:
            continue
        assert read is deterministic_cbor.decode


def test_every_changed_bit_is_refused() -> None:
    data = sign(eat_claims.encode(CLAIMS))
    for position in range(len(data) * 8):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(NotVerified):
            cose_sign1.verify(bytes(changed), PUBLIC)


def test_another_key_is_refused() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32).public_key().public_bytes_raw()
    with pytest.raises(NotVerified, match="not signed"):
        cose_sign1.verify(sign(eat_claims.encode(CLAIMS)), other)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({1: -7}, "EdDSA"),
        ({}, "EdDSA"),
        ({1: -8, 4: b"kid"}, "EdDSA"),
        ({1: -8, 2: [99], 99: 1}, "critical"),
        ([1, -8], "not a map"),
    ],
)
def test_other_protected_headers_are_refused(header: Any, words: str) -> None:
    with pytest.raises(NotVerified, match=words):
        cose_sign1.verify(sign(b"\xa0", deterministic_cbor.encode(header)), PUBLIC)


def test_unsigned_headers_and_other_shapes_are_refused() -> None:
    good = parts(sign(b"\xa0"))
    shapes: list[Any] = [
        CBORTag(18, [good[0], {4: b"kid"}, good[2], good[3]]),
        CBORTag(18, [good[0], [], good[2], good[3]]),
        CBORTag(98, good),
        CBORTag(18, good[:3]),
        CBORTag(18, [good[0], {}, "text", good[3]]),
        CBORTag(18, [good[0], {}, good[2], good[3][:63]]),
        good,
    ]
    for shape in shapes:
        with pytest.raises(NotVerified):
            cose_sign1.verify(deterministic_cbor.encode(shape), PUBLIC)


def _claims() -> dict[int, Any]:
    value: dict[int, Any] = deterministic_cbor.decode(eat_claims.encode(CLAIMS))
    return value


@pytest.mark.parametrize("label", sorted(_claims()))
def test_every_claim_must_be_there_and_of_its_type(label: int) -> None:
    without = {key: value for key, value in _claims().items() if key != label}
    with pytest.raises(NotVerified, match=f"lacks claim {label}"):
        eat_claims.decode(deterministic_cbor.encode(without))
    with pytest.raises(NotVerified, match=f"claim {label}"):
        eat_claims.decode(deterministic_cbor.encode({**without, label: {}}))


def test_evidence_of_older_firmware_is_read() -> None:
    old = {key: value for key, value in _claims().items() if key != eat_claims.CONFIRMED_SINCE}
    old[eat_claims.EAT_PROFILE] = eat_claims.OLD_PROFILE
    assert eat_claims.decode(deterministic_cbor.encode(old)) == CLAIMS


@pytest.mark.parametrize(
    ("label", "value"),
    [
        (eat_claims.NONCE, b"short"),
        (eat_claims.NONCE, b"x" * 65),
        (eat_claims.UEID, b"\x02" + bytes(16)),
        (eat_claims.UEID, b"\x01" + bytes(15)),
        (eat_claims.HWMODEL, b"\xff"),
        (eat_claims.HWVERSION, ["01"]),
        (eat_claims.HWVERSION, ["1", "2"]),
        (eat_claims.HWVERSION, ["-1"]),
        (eat_claims.EAT_PROFILE, "urn:assay:evidence:v1"),
        (eat_claims.EAT_PROFILE, "urn:assay:evidence:v3"),
        (eat_claims.SWVERSION, [1]),
        (eat_claims.IMAGE_HASH, b""),
        (eat_claims.BOOT_STATE, "fine"),
        (eat_claims.BOOTLOADER_HASH, bytes(31)),
        (eat_claims.SECURITY_COUNTER, -1),
        (eat_claims.SECURITY_COUNTER, True),
        (eat_claims.SECURITY_COUNTER, 2**32),
        (eat_claims.HOW, "quoted"),
        (eat_claims.REVERTED, 0),
        (eat_claims.CONFIRMED_SINCE, True),
    ],
)
def test_values_out_of_bounds_are_refused(label: int, value: Any) -> None:
    with pytest.raises(NotVerified, match=f"claim {label}"):
        eat_claims.decode(deterministic_cbor.encode({**_claims(), label: value}))


def test_a_claim_that_the_profile_does_not_know_is_refused() -> None:
    with pytest.raises(NotVerified, match="does not know"):
        eat_claims.decode(deterministic_cbor.encode({**_claims(), -75099: 1}))


def test_a_unit_that_measures_itself_says_so_and_nothing_else_is_known() -> None:
    itself = dataclasses.replace(CLAIMS, how="recomputed")
    assert eat_claims.decode(eat_claims.encode(itself)) == itself
    quoted = dataclasses.replace(CLAIMS, how="quoted")  # type: ignore[arg-type]
    with pytest.raises(NotVerified, match="cannot be 'quoted'"):
        eat_claims.decode(eat_claims.encode(quoted))
