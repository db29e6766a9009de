# SPDX-License-Identifier: Apache-2.0
"""Framing on the serial line: against the `smp` package, in pieces, damaged, and among text."""

from __future__ import annotations

import smp.packet
from hypothesis import given
from hypothesis import strategies as st

from assay.protocols.smp.framing import (
    LINE_LENGTH_MAX,
    TEXT_LENGTH_MAX,
    Damage,
    Demultiplexer,
    Event,
    Frame,
    Framing,
    Line,
    encode,
)

FRAME = bytes([3, 0, 0, 200, 0x41, 0x53, 7, 1]) + bytes(range(200))
frames = st.binary(min_size=8, max_size=600)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=80)


def split(data: bytes, framing: Framing = Framing.CONSOLE, expected: bytes = b"") -> list[Event]:
    demultiplexer = Demultiplexer(framing)
    demultiplexer.expect({expected} if expected else set())
    return demultiplexer.feed(data)


@given(frames)
def test_console_bytes_are_those_of_the_smp_package(frame: bytes) -> None:
    ours = encode(frame, Framing.CONSOLE)
    assert ours == b"".join(smp.packet.encode(frame, LINE_LENGTH_MAX))
    assert all(len(line) < LINE_LENGTH_MAX for line in ours.split(b"\n"))


@given(st.lists(st.one_of(frames.map(Frame), texts.map(Line)), max_size=6), st.lists(st.integers(1, 50), max_size=200))
def test_text_and_frames_come_apart_however_they_are_cut(sent: list[Event], cuts: list[int]) -> None:
    stream = b"".join(
        encode(event.data, Framing.CONSOLE) if isinstance(event, Frame) else event.text.encode() + b"\r\n"
        for event in sent
        if not isinstance(event, Damage)
    )
    demultiplexer, came, at = Demultiplexer(Framing.CONSOLE), [], 0
    for size in [*cuts, len(stream)]:
        came += demultiplexer.feed(stream[at : at + size])
        at += size
    assert came == sent


def test_every_flipped_byte_is_noticed_and_the_next_frame_is_read() -> None:
    good = encode(FRAME, Framing.CONSOLE)
    for at in range(len(good)):
        for bit in range(8):
            damaged = good[:at] + bytes([good[at] ^ (1 << bit)]) + good[at + 1 :]
            found = [event for event in split(damaged + good) if isinstance(event, Frame)]
            assert set(found) == {Frame(FRAME)}, (at, bit)
            # Base64 does not use the last bits of its last character: there the frame is whole.
            assert len(found) == 1 or at >= len(good) - 4, (at, bit)


def test_every_lost_byte_is_noticed_and_the_next_frame_is_read() -> None:
    good = encode(FRAME, Framing.CONSOLE)
    for at in range(len(good)):
        found = [event for event in split(good[:at] + good[at + 1 :] + good) if isinstance(event, Frame)]
        # Without a line end nothing is missing: what follows ends the line.
        assert found == [Frame(FRAME)] * (2 if good[at] == ord("\n") else 1), at


def test_a_line_of_the_kernel_inside_a_frame_is_a_line() -> None:
    first, rest = encode(FRAME, Framing.CONSOLE).split(b"\n", 1)
    assert split(first + b"\n[ 12.3] usb 1-1\r\n" + rest) == [Line("[ 12.3] usb 1-1"), Frame(FRAME)]


def test_a_frame_behind_text_without_a_line_end() -> None:
    assert split(b"login: " + encode(FRAME, Framing.CONSOLE)) == [Line("login: "), Frame(FRAME)]


@given(st.binary(max_size=2000), st.sampled_from(Framing))
def test_noise_raises_nothing_and_is_not_kept(noise: bytes, framing: Framing) -> None:
    demultiplexer = Demultiplexer(framing)
    demultiplexer.expect({FRAME[:8]})
    demultiplexer.feed(noise)
    demultiplexer.give_up()
    assert len(demultiplexer.pending) <= TEXT_LENGTH_MAX


def test_endless_text_is_cut() -> None:
    demultiplexer = Demultiplexer(Framing.CONSOLE)
    lines = [event for _ in range(100) for event in demultiplexer.feed(b"x" * 1000)]
    assert lines and all(isinstance(line, Line) and len(line.text) <= TEXT_LENGTH_MAX for line in lines)
    assert len(demultiplexer.pending) <= TEXT_LENGTH_MAX


@given(texts, texts, st.integers(1, 30))
def test_raw_frames_among_text(before: str, after: str, size: int) -> None:
    stream = before.encode() + b"\r\n" + FRAME + after.encode() + b"\r\n\r\n1234567890"
    demultiplexer, came = Demultiplexer(Framing.RAW), []
    demultiplexer.expect({FRAME[:8]})
    for at in range(0, len(stream), size):
        came += demultiplexer.feed(stream[at : at + size])
    assert came[:2] == [Line(before), Frame(FRAME)]
    assert Line(after) in came


def test_a_raw_answer_that_nobody_asked_for_is_no_frame() -> None:
    stale = FRAME[:6] + bytes([FRAME[6] + 1]) + FRAME[7:]
    assert [event for event in split(stale + FRAME, Framing.RAW, FRAME[:8]) if isinstance(event, Frame)] == [
        Frame(FRAME)
    ]


def test_a_raw_frame_that_was_cut_gives_its_bytes_back() -> None:
    demultiplexer = Demultiplexer(Framing.RAW)
    demultiplexer.expect({FRAME[:8]})
    assert demultiplexer.feed(FRAME[:20] + b"\nhello\n") == []
    assert Line("hello") in demultiplexer.give_up()
    assert demultiplexer.feed(FRAME) == [Frame(FRAME)]
