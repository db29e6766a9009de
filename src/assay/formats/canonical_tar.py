# SPDX-License-Identifier: Apache-2.0
"""Files in a tar (POSIX.1-1988 ustar) of which there is exactly one spelling: same files, same bytes.

Guards: the reader encodes again what it read and compares, so a link, a device, a path, an owner, a time, a second
file of the same name, stray padding or a byte behind the end is refused, and nothing is ever written to a disk.
Nothing is compressed, so there is no bomb.
Leaves to others: which names are expected (`trace_archive`). Python's own tarfile is not used: its padding differs by
version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from assay.errors import NotVerified, UsageFault

BLOCK = 512
NAME_LENGTH_MAX = 99
"""Bytes; the name field of ustar with its NUL, so that no prefix and no extended header is needed."""
MEMBERS_MAX = 200_000
"""Files; a unit's life has a few hundred records, and a hostile file must not keep us busy."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_SIZE = re.compile(rb"[0-7]{11}\x00")
_REMEDY = "get the file again from who made it"


def encode(files: Mapping[str, bytes]) -> bytes:
    """`files` (relative names to contents) as a tar, in the order of their names."""
    parts: list[bytes] = []
    for name in sorted(files):
        parts += [header_of(name, len(files[name])), files[name], bytes(-len(files[name]) % BLOCK)]
    return b"".join([*parts, bytes(2 * BLOCK)])


def decode(data: bytes) -> dict[str, bytes]:
    """The files in `data`; `NotVerified` unless `data` is what `encode` makes of them."""
    files: dict[str, bytes] = {}
    offset = 0
    while data[offset : offset + BLOCK].strip(b"\0"):
        name, size = read_header(data[offset : offset + BLOCK], offset)
        start = offset + BLOCK
        if name in files:
            raise NotVerified(f"the archive has '{name}' twice", remedy=_REMEDY)
        if len(files) >= MEMBERS_MAX or start + size > len(data):
            raise NotVerified("the archive is cut off, or has too many files", remedy=_REMEDY)
        files[name] = data[start : start + size]
        offset = start + size + (-size % BLOCK)
    if encode(files) != data:
        raise NotVerified("the archive is not in its one spelling: something in it was changed", remedy=_REMEDY)
    return files


def header_of(name: str, size: int) -> bytes:
    """The header of the file `name` of `size` bytes. Raises `UsageFault` for what no archive can have."""
    if not _name_is_good(name) or size >= 8**11:
        raise UsageFault(
            f"'{name[:NAME_LENGTH_MAX]}' cannot be a file of an archive", remedy="use a shorter plain name"
        )
    fields = (
        name.encode("ascii").ljust(100, b"\0"),
        b"0000644\0",
        b"0000000\0" * 2,
        b"%011o\0" % size,
        b"00000000000\0",
        b"        ",
        b"0" + bytes(100),
        b"ustar\00000",
        bytes(64),
        b"0000000\0" * 2,
        bytes(167),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def read_header(block: bytes, offset: int) -> tuple[str, int]:
    """Name and size; what else a header says is compared when the archive is encoded again."""
    name = block[:100].split(b"\0", 1)[0].decode("ascii", "replace")
    if len(block) != BLOCK or not _name_is_good(name) or not _SIZE.fullmatch(block[124:136]):
        raise NotVerified(f"the archive has no plain file at byte {offset}", remedy=_REMEDY)
    return name, int(block[124:135], 8)


def _name_is_good(name: str) -> bool:
    return len(name) <= NAME_LENGTH_MAX and _NAME.fullmatch(name) is not None
