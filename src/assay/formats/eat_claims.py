# SPDX-License-Identifier: Apache-2.0
"""The EAT claims (RFC 9711) of a unit's evidence, profile `urn:assay:evidence:v2` (docs/reference/device.md).

Profile v1, of older firmware, is read too: it lacks -75007, and its boot state is the app's word after a confirmation.

Guards: every claim of the profile is there, of its type and length, and no other is. Leaves to others: the signature
(`cose_sign1`), and whether the claims are those that were hoped for (`stages.field.evidence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from assay.errors import NotVerified
from assay.formats import deterministic_cbor

PROFILE = "urn:assay:evidence:v2"
OLD_PROFILE = "urn:assay:evidence:v1"

NONCE, UEID, HWMODEL, HWVERSION, EAT_PROFILE, SWNAME, SWVERSION = 10, 256, 259, 260, 265, 270, 271
"""Registered claims (RFC 9711 section 4)."""
IMAGE_HASH, BOOT_STATE, BOOTLOADER_HASH, SERIAL, SECURITY_COUNTER, HOW, REVERTED, CONFIRMED_SINCE = range(
    -75000, -75008, -1
)
"""Claims of our own, in CWT's private-use range (below -65536)."""

UEID_TYPE_RAND = 0x01
CHIP_BYTES = 16
HASH_BYTES = 32
NONCE_BYTES_MIN, NONCE_BYTES_MAX = 8, 64

_TYPES: dict[int, type] = {
    NONCE: bytes, UEID: bytes, HWMODEL: bytes, HWVERSION: list, EAT_PROFILE: str, SWNAME: str, SWVERSION: list,
    IMAGE_HASH: bytes, BOOT_STATE: str, BOOTLOADER_HASH: bytes, SERIAL: str, SECURITY_COUNTER: int, HOW: str,
    REVERTED: bool, CONFIRMED_SINCE: bool,
}  # fmt: skip
_REMEDY = "bring the unit to firmware that keeps the device contract (docs/reference/device.md)"


@dataclass(frozen=True)
class EvidenceClaims:
    """What a device says of itself; hashes are 32 raw bytes, `chip` 16. The measurements are of this boot."""

    nonce: bytes
    chip: bytes
    board: str
    revision: int
    name: str
    version: str
    image_hash: bytes
    state: Literal["confirmed", "testing"]
    """As the bootloader found the marks at this boot."""
    bootloader_hash: bytes
    serial: str
    security_counter: int
    reverted: bool
    confirmed_since: bool = False
    """The image was under test at this boot and has been confirmed since: the word of the image itself."""
    how: Literal["verified-at-boot", "recomputed"] = "verified-at-boot"
    """Who measured: a bootloader before it started the image, or (a Linux module) the system that was started."""


def encode(claims: EvidenceClaims) -> bytes:
    """The claims as a device writes them."""
    return deterministic_cbor.encode(
        {
            NONCE: claims.nonce,
            UEID: bytes([UEID_TYPE_RAND]) + claims.chip,
            HWMODEL: claims.board.encode(),
            HWVERSION: [str(claims.revision)],
            EAT_PROFILE: PROFILE,
            SWNAME: claims.name,
            SWVERSION: [claims.version],
            IMAGE_HASH: claims.image_hash,
            BOOT_STATE: claims.state,
            BOOTLOADER_HASH: claims.bootloader_hash,
            SERIAL: claims.serial,
            SECURITY_COUNTER: claims.security_counter,
            HOW: claims.how,
            REVERTED: claims.reverted,
            CONFIRMED_SINCE: claims.confirmed_since,
        }
    )


def decode(payload: bytes) -> EvidenceClaims:
    """The claims in `payload`; `NotVerified` names the claim that is missing, unknown or not of its type."""
    claims = deterministic_cbor.decode(payload)
    if not isinstance(claims, Mapping):
        raise NotVerified("the evidence is not a map of claims", remedy=_REMEDY)
    if claims.get(EAT_PROFILE) == OLD_PROFILE and CONFIRMED_SINCE not in claims:
        claims = {**claims, EAT_PROFILE: PROFILE, CONFIRMED_SINCE: False}
    _check_shape(claims)
    _check_values(claims)
    return EvidenceClaims(
        nonce=claims[NONCE],
        chip=claims[UEID][1:],
        board=_text(claims[HWMODEL], HWMODEL),
        revision=int(claims[HWVERSION][0]),
        name=claims[SWNAME],
        version=claims[SWVERSION][0],
        image_hash=claims[IMAGE_HASH],
        state=cast(Literal["confirmed", "testing"], claims[BOOT_STATE]),
        bootloader_hash=claims[BOOTLOADER_HASH],
        serial=claims[SERIAL],
        security_counter=claims[SECURITY_COUNTER],
        reverted=claims[REVERTED],
        confirmed_since=claims[CONFIRMED_SINCE],
        how=cast(Literal["verified-at-boot", "recomputed"], claims[HOW]),
    )


def _check_shape(claims: Mapping[Any, Any]) -> None:
    if missing := _TYPES.keys() - claims.keys():
        raise NotVerified(f"the evidence lacks claim {_list(missing)}", remedy=_REMEDY)
    if unknown := claims.keys() - _TYPES.keys():
        raise NotVerified(f"the evidence has claim {_list(unknown)}, which {PROFILE} does not know", remedy=_REMEDY)
    for label, kind in _TYPES.items():
        if type(claims[label]) is not kind and not (kind is list and isinstance(claims[label], tuple)):
            raise NotVerified(f"claim {label} of the evidence is not of type {kind.__name__}", remedy=_REMEDY)


def _check_values(claims: Mapping[Any, Any]) -> None:
    """Each row: what must hold, and the claim that breaks it."""
    version, revision = claims[SWVERSION], claims[HWVERSION]
    rules = (
        (NONCE, NONCE_BYTES_MIN <= len(claims[NONCE]) <= NONCE_BYTES_MAX),
        (UEID, len(claims[UEID]) == 1 + CHIP_BYTES and claims[UEID][0] == UEID_TYPE_RAND),
        (HWVERSION, len(revision) == 1 and type(revision[0]) is str and _is_number(revision[0])),
        (EAT_PROFILE, claims[EAT_PROFILE] == PROFILE),
        (SWVERSION, len(version) == 1 and type(version[0]) is str),
        (IMAGE_HASH, len(claims[IMAGE_HASH]) == HASH_BYTES),
        (BOOT_STATE, claims[BOOT_STATE] in ("confirmed", "testing")),
        (BOOTLOADER_HASH, len(claims[BOOTLOADER_HASH]) == HASH_BYTES),
        (SECURITY_COUNTER, 0 <= claims[SECURITY_COUNTER] <= 0xFFFFFFFF),
        (HOW, claims[HOW] in ("verified-at-boot", "recomputed")),
        (CONFIRMED_SINCE, not (claims[CONFIRMED_SINCE] and claims[BOOT_STATE] == "confirmed")),
    )
    for label, holds in rules:
        if not holds:
            raise NotVerified(f"claim {label} of the evidence cannot be {claims[label]!r}", remedy=_REMEDY)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and str(int(text)) == text


def _text(data: bytes, label: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise NotVerified(f"claim {label} of the evidence is not UTF-8", remedy=_REMEDY) from error


def _list(labels: Any) -> str:
    return ", ".join(repr(label) for label in sorted(labels, key=repr))
