# SPDX-License-Identifier: Apache-2.0
"""SMP frames on a serial line that people read too: console framing and raw framing, both directions.

Guards: whatever comes in (text, frames, pieces, noise) is split without an error; a frame is only given when its
checksum (console) or its whole header (raw) is right. The `smp` package's decoder raises on the first damaged byte, and
its encoder formats each frame for a log that nobody reads, so both are done here.
Leaves to others: what a frame says (`answers`), and time.

Console framing: Zephyr, "SMP over console": lines of at most 127 bytes that start with 06 09 (first) or 04 14, then
base64 of length (2 bytes, big-endian), frame, CRC-16/XMODEM.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

LINE_LENGTH_MAX = 127  # bytes with line end; the limit of MCUmgr's console transport
PACKET_PAYLOAD = (LINE_LENGTH_MAX - 3) // 4 * 3  # 93 bytes: two of delimiter and one of line end, the rest base64
FIRST, NEXT = b"\x06\x09", b"\x04\x14"
CONSOLE_OVERHEAD = 4  # bytes of length and CRC, which share the receiver's buffer with the frame
TEXT_LENGTH_MAX = 4096  # bytes; noise without a line end is cut into lines of this length
HEADER_SIZE = 8
VERSION_BITS = 0x18
_BEFORE_PACKET = re.compile(rb"(?=\x06\x09|\x04\x14)")
"""Neither delimiter occurs in text or base64: a lost line end puts a packet behind something else."""


class Framing(StrEnum):
    """How a frame is marked on the line; the device answers in the framing of the request."""

    CONSOLE = "console"
    RAW = "raw"


@dataclass(frozen=True)
class Frame:
    """An SMP frame: 8 bytes of header, then CBOR."""

    data: bytes


@dataclass(frozen=True)
class Line:
    """A line for people, without its end."""

    text: str


@dataclass(frozen=True)
class Damage:
    """Something that began as a frame and is none."""

    reason: str


Event = Frame | Line | Damage


def of_version(frame: bytes, version: int) -> bytes:
    """`frame` with SMP's `version` (1 or 2) in bits 3 and 4 of its first byte; the rest is the same in both."""
    return bytes([(frame[0] & ~VERSION_BITS) | (version - 1) << 3]) + frame[1:]


def encode(frame: bytes, framing: Framing) -> bytes:
    """`frame` as it goes on the line."""
    if framing is Framing.RAW:
        return frame
    body = (len(frame) + 2).to_bytes(2, "big") + frame + binascii.crc_hqx(frame, 0).to_bytes(2, "big")
    return b"".join(_packets(body))


def _packets(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), PACKET_PAYLOAD):
        yield NEXT if start else FIRST
        yield binascii.b2a_base64(body[start : start + PACKET_PAYLOAD])  # ends the line


class Demultiplexer:
    """Splits what a device sends. In raw framing a frame is known by its header, so `expect` names the headers."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._text = bytearray()  # a line that has not ended
        self._body: bytearray | None = None  # a console frame that is not whole
        self._raw = bytearray()  # raw framing: received, not split yet
        self._expected: set[bytes] = set()

    def expect(self, headers: set[bytes]) -> None:
        """The answers that may come: 8-byte headers, of which the two bytes of length are not looked at."""
        self._expected = {_without_length(header) for header in headers}

    @property
    def pending(self) -> bytes:
        """What came in and is neither a line nor a frame yet."""
        return bytes(self._text + self._raw)

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes, in order."""
        if self._framing is Framing.CONSOLE:
            return list(self._lines(data))
        self._raw += data
        return list(self._raw_events())

    def give_up(self) -> list[Event]:
        """Nothing more will come of what has begun: what is in it after all, as lines, and empty afterwards."""
        rest, self._raw = bytes(self._raw), bytearray()
        events = list(self._lines(rest)) if rest else []
        if self._body is not None:
            self._body = None
            events.append(Damage("the frame ended early"))
        return events

    def clear(self) -> None:
        """Forget all that came in."""
        self._text.clear()
        self._raw.clear()
        self._body = None

    def _lines(self, data: bytes) -> Iterator[Event]:
        *ended, rest = (bytes(self._text) + data).split(b"\n")
        self._text = bytearray(rest)
        for line in ended:
            yield from self._line(line)
        while len(self._text) > TEXT_LENGTH_MAX:
            line = bytes(self._text[:TEXT_LENGTH_MAX])
            del self._text[:TEXT_LENGTH_MAX]
            yield from self._line(line)

    def _line(self, line: bytes) -> Iterator[Event]:
        text, *packets = _BEFORE_PACKET.split(line)
        if text or not packets:
            yield Line(text.rstrip(b"\r").decode("utf-8", "backslashreplace"))
        for packet in packets:
            yield from self._packet(packet[:2], packet[2:].rstrip(b"\r"))

    def _packet(self, delimiter: bytes, encoded: bytes) -> Iterator[Event]:
        unfinished = self._body
        self._body = None
        try:
            payload = binascii.a2b_base64(encoded, strict_mode=True)
        except binascii.Error:
            yield Damage("a line that is no base64")
            return
        if delimiter == FIRST:
            if unfinished is not None:
                yield Damage("a frame without its end")
            self._body = bytearray(payload)
        elif unfinished is None:
            yield Damage("a frame without its beginning")
            return
        else:
            self._body = unfinished + payload
        yield from self._whole_frame()

    def _whole_frame(self) -> Iterator[Event]:
        body = self._body
        if body is None or len(body) < 2:
            return
        length = int.from_bytes(body[:2], "big")
        if len(body) < length + 2:
            return
        self._body = None
        frame, checksum = bytes(body[2:length]), int.from_bytes(body[length : length + 2], "big")
        if len(body) > length + 2 or length < HEADER_SIZE + 2:
            yield Damage("a length that does not fit")
        elif binascii.crc_hqx(frame, 0) != checksum:
            yield Damage("a checksum that does not fit")
        else:
            yield Frame(frame)

    def _raw_events(self) -> Iterator[Event]:
        while (start := self._header_at()) is not None:
            yield from self._lines(bytes(self._raw[:start]))
            del self._raw[:start]
            size = HEADER_SIZE + int.from_bytes(self._raw[2:4], "big")
            if len(self._raw) < size:
                return
            yield from self._end_text()
            yield Frame(bytes(self._raw[:size]))
            del self._raw[:size]
        # The last bytes may be the beginning of a header.
        settled = max(0, len(self._raw) - HEADER_SIZE + 1)
        yield from self._lines(bytes(self._raw[:settled]))
        del self._raw[:settled]

    def _end_text(self) -> Iterator[Event]:
        """A frame follows: text before it without a line end is a line."""
        if self._text:
            line = bytes(self._text)
            self._text.clear()
            yield Line(line.decode("utf-8", "backslashreplace"))

    def _header_at(self) -> int | None:
        last = len(self._raw) - HEADER_SIZE
        starts = (at for at in range(last + 1) if _without_length(self._raw[at : at + HEADER_SIZE]) in self._expected)
        return next(starts, None)


def _without_length(header: bytes | bytearray) -> bytes:
    """What an answer is known by: a server of version 1 answers version 2 in its own."""
    return bytes([header[0] & ~VERSION_BITS, header[1]]) + bytes(header[4:HEADER_SIZE])
