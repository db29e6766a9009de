# SPDX-License-Identifier: Apache-2.0
"""UF2, the file format of bootloaders that show themselves as a USB disk (github.com/microsoft/uf2).

Guards: every block is whole and there once, the addresses of one family do not overlap; a file that says how many
blocks it has has them. Blocks that are not for the main flash, and extension tags, are skipped; those blocks may be
numbered with the others or by themselves.
Leaves to others: which family a board takes (`drivers.flash.uf2_volume`).
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from assay.errors import NotVerified

BLOCK_BYTES = 512
PAYLOAD_BYTES = 256
"""Bytes in each block that is written here: what every bootloader takes, and the only size that the RP2040's does."""
PAYLOAD_BYTES_MAX = 476
FILE_BYTES_MAX = 256 * 1024 * 1024

_HEAD = struct.Struct("<8I")
"""Magic, magic, flags, address, payload size, block number, number of blocks, family or file size."""
_MAGIC = (0x0A324655, 0x9E5D5157)
_MAGIC_END = 0x0AB16F30
_NOT_MAIN_FLASH, _FILE_CONTAINER, _HAS_FAMILY = 0x00000001, 0x00001000, 0x00002000


@dataclass(frozen=True)
class Segment:
    """Bytes without a gap at an address."""

    address: int
    data: bytes


@dataclass(frozen=True)
class Uf2File:
    """What a file writes: the segments of each family, by address; family None is a file that names none."""

    families: tuple[tuple[int | None, tuple[Segment, ...]], ...]


def is_uf2(data: bytes) -> bool:
    """True for what begins as a UF2 file."""
    return len(data) >= BLOCK_BYTES and struct.unpack_from("<2I", data) == _MAGIC


def read_uf2(data: bytes) -> Uf2File:
    """The file in `data`. Raises `NotVerified` for one that is damaged."""
    if not data or len(data) % BLOCK_BYTES or len(data) > FILE_BYTES_MAX:
        _refuse(f"{len(data)} bytes are no whole number of blocks of {BLOCK_BYTES}")
    blocks: dict[int | None, list[tuple[int, int, Segment]]] = {}
    skipped: set[tuple[int, int]] = set()
    for at in range(0, len(data), BLOCK_BYTES):
        family, number, count, segment = _block(data[at : at + BLOCK_BYTES], at // BLOCK_BYTES)
        if segment is not None:
            blocks.setdefault(family, []).append((number, count, segment))
        else:
            skipped.add((number, count))
    if not blocks:
        _refuse("no block is for the main flash")
    return Uf2File(tuple((family, _segments(family, found, skipped)) for family, found in blocks.items()))


def write_uf2(segments: Iterable[tuple[int, bytes]], family: int) -> bytes:
    """A file that writes `segments`, (address, bytes), for `family`. The last block of each is filled with zeros."""
    pieces = [
        (address + at, data[at : at + PAYLOAD_BYTES])
        for address, data in segments
        for at in range(0, len(data), PAYLOAD_BYTES)
    ]
    return b"".join(_written(number, len(pieces), piece, family) for number, piece in enumerate(pieces))


def _written(number: int, count: int, piece: tuple[int, bytes], family: int) -> bytes:
    address, data = piece
    head = _HEAD.pack(*_MAGIC, _HAS_FAMILY, address, PAYLOAD_BYTES, number, count, family)
    body = data.ljust(PAYLOAD_BYTES_MAX, b"\0")
    return head + body + struct.pack("<I", _MAGIC_END)


def _block(raw: bytes, index: int) -> tuple[int | None, int, int, Segment | None]:
    """Family, number, number of blocks and bytes of one block; None for one that the main flash does not get."""
    first, second, flags, address, size, number, count, family = _HEAD.unpack_from(raw)
    if (first, second) != _MAGIC or struct.unpack_from("<I", raw, BLOCK_BYTES - 4)[0] != _MAGIC_END:
        _refuse(f"block {index} has no UF2 magic")
    if flags & (_NOT_MAIN_FLASH | _FILE_CONTAINER):
        return None, number, count, None
    if not 0 < size <= PAYLOAD_BYTES_MAX or number >= count or address + size > 1 << 32:
        _refuse(f"block {index} says {size} bytes at {address:#x}, number {number} of {count}")
    data = raw[_HEAD.size : _HEAD.size + size]
    return (family if flags & _HAS_FAMILY else None), number, count, Segment(address, data)


def _segments(
    family: int | None, found: Sequence[tuple[int, int, Segment]], skipped: Collection[tuple[int, int]]
) -> tuple[Segment, ...]:
    named = f"family {family:#010x}" if family is not None else "no family"
    numbers, counts = [number for number, _, _ in found], {count for _, count, _ in found}
    besides = {number for number, count in skipped if count in counts} - set(numbers)
    if len(counts) != 1 or len(numbers) + len(besides) != max(counts) or len(set(numbers)) != len(numbers):
        _refuse(f"blocks of {named} are missing, or there twice")
    joined: list[tuple[int, bytearray]] = []
    for segment in sorted((segment for _, _, segment in found), key=lambda each: each.address):
        end = joined[-1][0] + len(joined[-1][1]) if joined else -1
        if segment.address < end:
            _refuse(f"two blocks of {named} write to {segment.address:#x}")
        if segment.address == end:
            joined[-1][1].extend(segment.data)
        else:
            joined.append((segment.address, bytearray(segment.data)))
    return tuple(Segment(address, bytes(data)) for address, data in joined)


def _refuse(why: str) -> NoReturn:
    raise NotVerified(f"not a whole UF2 file: {why}", remedy="get the file again, or make it again from the binary")
