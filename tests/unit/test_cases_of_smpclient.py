# SPDX-License-Identifier: Apache-2.0
"""Cases of another client's unit tests (smpclient's) that had no counterpart here: TLVs of images, and raw frames.

docs/reference/foreign-boards.md has the table of all of them. Made anew from what they try; no line is theirs.
"""

from __future__ import annotations

import hashlib
import struct

import pytest

from assay.errors import NotVerified
from assay.formats.foreign_image import parse_foreign_image
from assay.protocols.smp.framing import Demultiplexer, Event, Frame, Framing, Line, encode

PAYLOAD = b"their app" * 7
MAGIC, PLAIN, PROTECTED = 0x96F3B83D, 0x6907, 0x6908
SHA256 = 0x10
VENDOR, UNKNOWN = 0xA0, 0x77
"""A number of the range that vendors have, and one that nobody has."""


def tlv(number: int, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HH", number, len(value) if length is None else length) + value


def area(magic: int, *tlvs: bytes, total: int | None = None) -> bytes:
    inner = b"".join(tlvs)
    return struct.pack("<HH", magic, len(inner) + 4 if total is None else total) + inner


def image(protected: bytes = b"", *plain: bytes, says: int | None = None, plain_area: bytes | None = None) -> bytes:
    size = len(protected) if says is None else says
    header = struct.pack("<IIHHIIBBHII", MAGIC, 0, 32, size, len(PAYLOAD), 0, 1, 2, 3, 4, 0)
    body = header + PAYLOAD + protected
    digest = tlv(SHA256, hashlib.sha256(body).digest())
    return body + (area(PLAIN, digest, *plain) if plain_area is None else plain_area)


def test_numbers_of_vendors_and_of_nobody_are_no_fault() -> None:
    """Zephyr's boards bring TLVs that we know nothing of; they are kept, and count in the hash where they are to."""
    protected = area(PROTECTED, tlv(VENDOR, b"lot 7"), tlv(UNKNOWN, b""))
    read = parse_foreign_image(image(protected, tlv(VENDOR + 0x0100, b"x")))
    assert [number for number, _ in read.tlvs] == [VENDOR, UNKNOWN, SHA256, VENDOR + 0x0100]
    assert read.version == "1.2.3+4" and hashlib.sha256(read.measured).digest() == read.image_hash
    changed = bytearray(image(protected))
    changed[32 + len(PAYLOAD) + 8] ^= 1
    again = parse_foreign_image(bytes(changed))
    assert hashlib.sha256(again.measured).digest() != again.image_hash


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(image(area(PROTECTED, tlv(VENDOR, b"x"), total=8)), id="protected area shorter than the header"),
        pytest.param(image(area(PROTECTED, tlv(VENDOR, b"x"), total=90)), id="protected area longer than the header"),
        pytest.param(image(area(PROTECTED, tlv(VENDOR, b"x")), says=3), id="protected size below its own header"),
        pytest.param(image(area(PLAIN, tlv(VENDOR, b"x"))), id="protected area with the magic of the other"),
        pytest.param(image(area(PROTECTED, tlv(VENDOR, b"x", length=2))), id="value longer than the area"),
        pytest.param(image(area(PROTECTED, tlv(VENDOR, b"xyz", length=2))), id="bytes behind the last value"),
        pytest.param(image(plain_area=area(PROTECTED, tlv(SHA256, bytes(32)))), id="plain area with the other magic"),
        pytest.param(image(plain_area=area(PLAIN, total=3)), id="plain area below its own header"),
        pytest.param(image(plain_area=area(PLAIN, total=0)), id="plain area of no bytes"),
        pytest.param(image(plain_area=area(PLAIN)), id="no hash"),
        pytest.param(image(b"", tlv(SHA256, bytes(32))), id="two hashes"),
        pytest.param(image(plain_area=area(PLAIN, tlv(SHA256, bytes(31)))), id="a hash of another length"),
        pytest.param(image(plain_area=area(PLAIN, tlv(SHA256, bytes(32), length=33))), id="a hash that is cut"),
        pytest.param(b"\x3c" + image()[1:], id="magic of the first format"),
        pytest.param(b"\x3e" + image()[1:], id="magic of nobody"),
    ],
)
def test_tlvs_that_do_not_add_up(data: bytes) -> None:
    with pytest.raises(NotVerified):
        parse_foreign_image(data)


FRAME = bytes([3, 0, 0, 40, 0, 0, 9, 0]) + bytes(range(40))
NEXT = bytes([3, 0, 0, 5, 0, 0, 10, 0]) + b"again"


def raw(*pieces: bytes) -> list[Event]:
    demultiplexer = Demultiplexer(Framing.RAW)
    demultiplexer.expect({FRAME[:8], NEXT[:8]})
    return [event for piece in pieces for event in demultiplexer.feed(piece)] + demultiplexer.give_up()


def test_bytes_behind_a_raw_frame_are_text_and_no_part_of_it() -> None:
    """smpclient ends there; a unit that prints while it answers is what we see each day."""
    assert raw(FRAME + b"boot\n")[:2] == [Frame(FRAME), Line("boot")]
    assert Frame(FRAME) in raw(FRAME + b"\x00\x01\x02") and Frame(NEXT) in raw(FRAME + b"\x00\x01\x02" + NEXT)


def test_raw_frames_one_behind_the_other_and_byte_by_byte() -> None:
    assert raw(FRAME + NEXT + FRAME) == [Frame(FRAME), Frame(NEXT), Frame(FRAME)]
    assert raw(*(bytes([byte]) for byte in FRAME + NEXT)) == [Frame(FRAME), Frame(NEXT)]
    for cut in range(1, len(FRAME)):
        assert raw(FRAME[:cut], FRAME[cut:]) == [Frame(FRAME)]


def test_a_header_that_claims_more_than_comes_costs_one_answer() -> None:
    """No frame, no error, no wait beyond the answer's own; what follows once it was given up is read."""
    demultiplexer = Demultiplexer(Framing.RAW)
    demultiplexer.expect({FRAME[:8], NEXT[:8]})
    claims = FRAME[:2] + (10_000).to_bytes(2, "big") + FRAME[4:]
    assert demultiplexer.feed(claims) == []
    assert not any(isinstance(event, Frame) for event in demultiplexer.give_up())
    assert demultiplexer.feed(NEXT)[-1] == Frame(NEXT)


@pytest.mark.parametrize("size", [8, 85, 86, 178, 179, 2000])
def test_console_lines_at_the_edges_of_a_fragment(size: int) -> None:
    """A frame of one line, one that fills it, one byte more, and so on; each line is at most 127 bytes long."""
    frame = FRAME[:2] + (size - 8).to_bytes(2, "big") + FRAME[4:8] + bytes(size - 8)
    lines = encode(frame, Framing.CONSOLE).splitlines(keepends=True)
    assert max(map(len, lines)) <= 127 and len(lines) == -(-(size + 4) // 93)
    assert Demultiplexer(Framing.CONSOLE).feed(b"".join(lines)) == [Frame(frame)]
    among = b"".join(b"log line\n" + line for line in lines)
    events = Demultiplexer(Framing.CONSOLE).feed(among)
    assert events == [Line("log line")] * len(lines) + [Frame(frame)]
