# SPDX-License-Identifier: Apache-2.0
"""What goes into an MCUboot image besides the payload (docs/reference/device.md, "Images")."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

HEADER_SIZE = 0x200
"""Bytes from the start of an image to its payload; a multiple of the vector table alignment of every Cortex-M."""


class Tlv(IntEnum):
    """Types of the TLVs of an image; from 0xA0 on they are ours."""

    KEY_HASH = 0x01
    SHA256 = 0x10
    ED25519 = 0x24
    SECURITY_COUNTER = 0x50
    BOARD = 0xA0
    MIN_REVISION = 0xA1
    NAME = 0xA2
    PATCH_BASE = 0xA3
    PATCH_GIVES = 0xA4
    PATCH_FORMAT = 0xA5
    IMAGE_NUMBER = 0xA6


PATCH_FORMAT_DETOOLS = 1
"""The `sequential` patch type of detools; the only one so far."""

FLAG_NON_BOOTABLE = 0x10
"""MCUboot's header flag of what is no program; patches carry it (docs/adr/0110)."""


@dataclass(frozen=True)
class PatchBinding:
    """What a patch is applied to and what it gives: image hashes, 32 bytes each."""

    base_hash: bytes
    gives_hash: bytes
    format: int = PATCH_FORMAT_DETOOLS


@dataclass(frozen=True)
class ImageParameters:
    """Sizes in bytes; `slot_size` is the flash area that the image must fit."""

    version: str
    slot_size: int
    alignment: int
    security_counter: int
    board: str
    min_revision: int
    name: str
    patch: PatchBinding | None = None
    image_number: int = 0
    """1 for the radio of a board that has one: signed, so that it is nothing in the slots of the app."""
