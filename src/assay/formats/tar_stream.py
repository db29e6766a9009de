# SPDX-License-Identifier: Apache-2.0
"""The tar with one spelling (`canonical_tar`), read member by member from a stream that may be larger than memory.

Guards: names rise, so that none is there twice; a header is byte for byte what we would write; padding is zero; the
archive ends where it says. Nothing is compressed, so there is no bomb; sizes are the caller's to bound before it reads.
Leaves to others: where the bytes come from and go to, and which names are expected (`release_bundle`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from assay.errors import NotVerified
from assay.formats.canonical_tar import BLOCK, MEMBERS_MAX, header_of, read_header

CHUNK_BYTES = 1024 * 1024
END = bytes(2 * BLOCK)

_REMEDY = "get the file again from who made it"

Read = Callable[[int], bytes]
"""Up to so many bytes of the stream; nothing at its end."""


@dataclass(frozen=True)
class Member:
    """One file: `chunks` are its bytes, to be taken before the next member is asked for."""

    name: str
    size: int
    chunks: Iterator[bytes]


def padding_of(size: int) -> bytes:
    """What stands behind a file of `size` bytes."""
    return bytes(-size % BLOCK)


def read_members(read: Read) -> Iterator[Member]:
    """The files in the order of their names. Raises `NotVerified` for anything but the one spelling."""
    stream, last = _Stream(read), ""
    for _ in range(MEMBERS_MAX + 1):
        block = stream.exactly(BLOCK)
        if block == bytes(BLOCK):
            return stream.check_end()
        name, size = read_header(block, stream.offset - BLOCK)
        if header_of(name, size) != block:
            raise NotVerified(f"'{name}' in the archive is no plain file as we write it", remedy=_REMEDY)
        if name <= last:
            raise NotVerified(f"the archive has '{name}' twice, or out of order", remedy=_REMEDY)
        behind = stream.offset + size
        yield Member(name, size, stream.chunks(size))
        assert stream.offset == behind, "a member is read to its end before the next"
        if stream.exactly(-size % BLOCK).strip(b"\0"):
            raise NotVerified(f"there are bytes behind '{name}' that belong to no file", remedy=_REMEDY)
        last = name
    raise NotVerified(f"the archive has more than {MEMBERS_MAX} files", remedy=_REMEDY)


class _Stream:
    """Reads exactly so many bytes, or says where the stream was cut off."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self.offset = 0

    def exactly(self, count: int) -> bytes:
        return b"".join(self.chunks(count))

    def chunks(self, count: int) -> Iterator[bytes]:
        left = count
        while left:
            data = self._read(min(left, CHUNK_BYTES))
            if not data:
                raise NotVerified(f"the archive is cut off at byte {self.offset}", remedy=_REMEDY)
            self.offset, left = self.offset + len(data), left - len(data)
            yield data

    def check_end(self) -> None:
        if self.exactly(BLOCK) != bytes(BLOCK):
            raise NotVerified("the archive does not end as a tar does", remedy=_REMEDY)
        if self._read(1):
            raise NotVerified("there are bytes behind the end of the archive", remedy=_REMEDY)
