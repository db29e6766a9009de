# SPDX-License-Identifier: Apache-2.0
"""DER (X.690 section 10), as much of it as time stamps and certificate transparency need.

Guards: lengths are checked against what is there. Leaves to others: what the values mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from assay.errors import NotVerified

INTEGER, OCTETS, OID, ENUMERATED = 0x02, 0x04, 0x06, 0x0A
SEQUENCE, SET = 0x30, 0x31
UTF8_STRING, GENERALIZED_TIME = 0x0C, 0x18
NULL = b"\x05\x00"


@dataclass(frozen=True)
class Item:
    """One value: its tag, what is in it, and its bytes as they stood."""

    tag: int
    content: bytes
    whole: bytes


def encode(tag: int, *parts: bytes) -> bytes:
    """A value of `tag` around `parts`."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def integer(value: int) -> bytes:
    """An INTEGER that is not negative."""
    return encode(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    return encode(OID, b"".join(_base128(arc) for arc in (40 * first + second, *rest)))


def explicit(number: int, *parts: bytes) -> bytes:
    """A constructed value with the context tag `number`."""
    return encode(0xA0 | number, *parts)


def items(data: bytes) -> Iterator[Item]:
    """The values in `data`, one after another, to its last byte. Raises `NotVerified`."""
    at = 0
    while at < len(data):
        tag, begin, end = _header(data, at)
        yield Item(tag, data[begin:end], data[at:end])
        at = end


def only(data: bytes, tag: int) -> Item:
    """The one value in `data`, of `tag`. Raises `NotVerified`."""
    found = list(items(data))
    if len(found) != 1 or found[0].tag != tag:
        raise _malformed()
    return found[0]


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, and where the content begins and ends."""
    if at + 2 > len(data):
        raise _malformed()
    tag, size, begin = data[at], data[at + 1], at + 2
    if size & 0x80:
        digits = size & 0x7F
        if not 1 <= digits <= 4 or begin + digits > len(data):
            raise _malformed()
        size, begin = int.from_bytes(data[begin : begin + digits], "big"), begin + digits
    if begin + size > len(data):
        raise _malformed()
    return tag, begin, begin + size


def _base128(arc: int) -> bytes:
    digits = [arc & 0x7F]
    while arc := arc >> 7:
        digits.append(0x80 | arc & 0x7F)
    return bytes(reversed(digits))


def _malformed() -> NotVerified:
    return NotVerified("a value is not DER", remedy="get it again from who made it")
