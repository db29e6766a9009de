# SPDX-License-Identifier: Apache-2.0
"""A GUID partition table (UEFI 2.10, section 5) of a medium that is made: main and backup table, and protective MBR.

Guards: the same partitions give the same bytes; they lie in the medium and do not overlap. Leaves to others: reading
tables of other people, and what lies in the partitions.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
import zlib
from dataclasses import dataclass

from assay.errors import UsageFault

BLOCK = 512
ENTRIES, ENTRY_BYTES = 128, 128
TABLE_BLOCKS = ENTRIES * ENTRY_BYTES // BLOCK
LINUX_DATA = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
"""Partition type "Linux filesystem data"."""

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")


@dataclass(frozen=True)
class Partition:
    """`name` of at most 36 characters; `offset` and `size` in bytes, whole blocks."""

    name: str
    offset: int
    size: int


def partition_table(size: int, partitions: tuple[Partition, ...], seed: bytes) -> dict[int, bytes]:
    """What a medium of `size` bytes has to hold, by offset. Identifiers follow from `seed`.

    Raises `UsageFault` for partitions that overlap, or reach into a table.
    """
    blocks = size // BLOCK
    first, last = 2 + TABLE_BLOCKS, blocks - TABLE_BLOCKS - 2
    end = first * BLOCK
    for part in sorted(partitions, key=lambda each: each.offset):
        if (
            part.offset % BLOCK
            or part.size % BLOCK
            or part.offset < end
            or part.offset + part.size > (last + 1) * BLOCK
        ):
            raise UsageFault(f"partition {part.name} does not fit the medium", remedy="correct the board's areas")
        end = part.offset + part.size
    entries = b"".join(_entry(part, seed) for part in partitions).ljust(ENTRIES * ENTRY_BYTES, b"\0")
    disk = _identifier(seed, "disk")

    def header(here: int, other: int, table: int) -> bytes:
        def with_crc(crc: int) -> bytes:
            revision, length = 0x00010000, _HEADER.size
            where = (here, other, first, last, disk.bytes_le, table, ENTRIES, ENTRY_BYTES, zlib.crc32(entries))
            return _HEADER.pack(b"EFI PART", revision, length, crc, 0, *where)

        return with_crc(zlib.crc32(with_crc(0)))

    protective = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(blocks - 1, 0xFFFFFFFF))
    return {
        0: protective.rjust(446 + 16, b"\0").ljust(510, b"\0") + b"\x55\xaa",
        BLOCK: header(1, blocks - 1, 2),
        2 * BLOCK: entries,
        (blocks - 1 - TABLE_BLOCKS) * BLOCK: entries,
        (blocks - 1) * BLOCK: header(blocks - 1, 1, blocks - 1 - TABLE_BLOCKS),
    }


def _entry(part: Partition, seed: bytes) -> bytes:
    first, last = part.offset // BLOCK, (part.offset + part.size) // BLOCK - 1
    name = part.name.encode("utf-16-le")
    kinds = LINUX_DATA.bytes_le, _identifier(seed, part.name).bytes_le
    return struct.pack("<16s16sQQQ72s", *kinds, first, last, 0, name)


def _identifier(seed: bytes, name: str) -> uuid.UUID:
    return uuid.UUID(bytes=hashlib.sha256(seed + b"\0" + name.encode()).digest()[:16], version=4)
