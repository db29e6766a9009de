# SPDX-License-Identifier: Apache-2.0
"""Uploads on lines and servers of every kind: raw framing where it is understood, and what damage does there."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

import pytest
from pseudo_device import PseudoDevice, sample_image

from assay.drivers.mcumgr.upload_pace import FIRST_FRAME_BYTES, TURN_MAX_S, TURN_MIN_S, Pace
from assay.errors import LinkError
from assay.interfaces.device import DeviceRefusal
from assay.protocols.smp.framing import Framing
from assay.protocols.smp.upload_chunk import CHECKSUM_BYTES, HEADER_BYTES, QUESTION_BYTES, chunk, fitting, question

IMAGE, SHA256 = sample_image(20_000)
UPLOAD = (1, 1)
FRAME_BEGINS = b"\x06\x09"


def both(**more: int) -> PseudoDevice:
    """A device that understands both framings and checks what it holds, as the reference firmware does."""
    device = PseudoDevice(buf_size=2048, **more)
    device.understands = {Framing.CONSOLE, Framing.RAW}
    device.says_match = True
    return device


def changing(change: Callable[[bytearray, int], None]) -> Callable[[bytes], bytes]:
    """A line that changes each write to it; the second argument counts them."""
    count = [0]

    def mangle(data: bytes) -> bytes:
        count[0] += 1
        changed = bytearray(data)
        change(changed, count[0])
        return bytes(changed)

    return mangle


def chunk_framings(device: PseudoDevice) -> list[bool]:
    """For each upload frame that arrived: had it a checksum, as in raw framing?"""
    return ["crc" in content for group, command, content in device.requests if (group, command) == UPLOAD]


def test_bulk_goes_raw_and_questions_in_console_framing() -> None:
    device = both()
    unit = device.open_auto()
    assert unit.upload(IMAGE, SHA256).retries == 0
    assert bytes(device.flash) == IMAGE and device.longest <= 2048
    assert chunk_framings(device)[0] is False and all(chunk_framings(device)[1:])
    assert device.framing is Framing.RAW
    assert unit.echo("x") == "x" and device.framing is Framing.CONSOLE


def test_a_board_that_does_not_understand_raw_gets_console_framing() -> None:
    device = PseudoDevice()
    lines: list[bytes] = []
    device.link.to_device = lambda data: (lines.append(data), data)[1]
    unit = device.open_auto()
    unit.upload(IMAGE, SHA256)
    assert bytes(device.flash) == IMAGE and not any(chunk_framings(device))
    assert b"\n" in lines  # what the device took for the beginning of a line is ended
    begun_s = device.link.now_s
    device.flash.clear()
    unit.upload(IMAGE, b"another" + bytes(25))
    assert device.link.now_s == begun_s  # it is not asked again


@pytest.mark.parametrize("auto", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_damaged_bytes_in_raw_framing_are_made_good(auto: bool, seed: int) -> None:
    device, dice = both(), random.Random(seed)
    if not auto:
        device.framing = Framing.RAW

    def damage(data: bytearray, _number: int) -> None:
        for at in range(len(data)):
            if dice.random() < 2e-4:
                data[at] ^= 1 << dice.randrange(8)

    device.link.to_device, device.link.to_host = changing(damage), changing(damage)
    report = (device.open_auto() if auto else device.open()).upload(IMAGE, SHA256)
    assert bytes(device.flash) == IMAGE and report.retries > 0


@pytest.mark.parametrize("at", range(48))
def test_any_damaged_byte_of_a_raw_frame_costs_that_frame_only(at: int) -> None:
    device = both()

    def damage(data: bytearray, _number: int) -> None:
        if len(data) > 1000 and not hits:
            hits.append(at)
            data[at] ^= 0x11

    hits: list[int] = []
    device.link.to_device = changing(damage)
    report = device.open_auto().upload(IMAGE, SHA256)
    assert hits and bytes(device.flash) == IMAGE
    assert report.frames <= len(IMAGE) // 300  # each frame behind it may come twice, and shorter


def test_a_line_that_loses_bytes_in_raw_framing_is_left_for_console_framing() -> None:
    device = both()

    def lose(data: bytearray, _number: int) -> None:
        if data[0] in (0x08, 0x0A) and len(data) > 100:
            del data[50]

    device.link.to_device = changing(lose)
    report = device.open_auto().upload(IMAGE, SHA256)
    assert bytes(device.flash) == IMAGE and device.framing is Framing.CONSOLE
    assert 2 <= report.retries <= 4


@pytest.mark.parametrize("framing", list(Framing))
@pytest.mark.parametrize("seed", range(5))
def test_reordered_and_repeated_frames(framing: Framing, seed: int) -> None:
    device, dice, held = both(), random.Random(seed), []
    device.framing = framing

    def reorder(data: bytes) -> bytes:
        if dice.random() < 0.1:
            held.append(data)
            return b""
        sent = [data, data] if dice.random() < 0.1 else [data]
        return b"".join(device._feed(part) for part in [*sent, *(held.pop() for _ in held[:1])])

    device.link.answer = reorder
    device.open().upload(IMAGE, SHA256)
    assert bytes(device.flash) == IMAGE


def test_an_image_that_arrived_damaged_is_sent_once_more_in_console_framing() -> None:
    device = both()
    device.checks = False  # somebody's server: raw framing without a checksum

    def damage(data: bytearray, number: int) -> None:
        if number == 5:
            data[-10] ^= 1

    device.link.to_device = changing(damage)
    report = device.open_auto().upload(IMAGE, SHA256)
    assert bytes(device.flash) == IMAGE and report.retries == 1
    assert chunk_framings(device)[-1] is False


def test_a_server_that_always_holds_other_bytes_is_an_error() -> None:
    device = both()
    device.refuse[UPLOAD] = {"off": len(IMAGE), "match": False}
    with pytest.raises(LinkError, match="holds other bytes"):
        device.open_auto().upload(IMAGE, SHA256)


def test_a_refusal_in_raw_framing_is_believed_in_console_framing() -> None:
    device = both()

    def forget(data: bytearray, number: int) -> None:
        if number == 6:
            device.refuse[UPLOAD] = {"err": {"group": 0x4153, "rc": 2}}

    device.link.to_device = changing(forget)
    with pytest.raises(DeviceRefusal, match="bad-request"):
        device.open_auto().upload(IMAGE, SHA256)
    assert device.framing is Framing.CONSOLE


def test_answers_that_are_late_do_not_shorten_frames() -> None:
    device, kept = both(), [b""]
    feed = device.link.answer

    def late(data: bytes) -> bytes:
        """The answers to three frames stay somewhere for a while."""
        answer = feed(data)
        if 5 <= len(device.requests) < 8:
            kept[0] += answer
            return b""
        answer, kept[0] = kept[0] + answer, b""
        return answer

    device.link.answer = late
    report = device.open_auto().upload(IMAGE, SHA256)
    assert bytes(device.flash) == IMAGE and device.framing is Framing.RAW
    sizes = [len(c["data"]) for group, command, c in device.requests if (group, command) == UPLOAD]
    assert report.retries > 0 and sizes[-2] == max(sizes)


def test_a_server_that_takes_a_part_of_a_frame_is_not_punished() -> None:
    device = PseudoDevice(buf_size=1024, buf_count=1)
    device.takes_multiples_of = 8
    report = device.open().upload(IMAGE[:19_996], SHA256)
    assert bytes(device.flash) == IMAGE[:19_996] and report.retries == 0
    device = PseudoDevice(buf_size=1024, buf_count=4)
    device.takes_multiples_of = 2048  # it will never take a whole one
    with pytest.raises(LinkError):
        device.open().upload(IMAGE, SHA256)


@pytest.mark.parametrize(("buf_count", "unanswered"), [(1, 0), (2, 0), (3, 1), (4, 2), (9, 2)])
def test_one_at_a_time_where_a_device_cannot_take_more(buf_count: int, unanswered: int) -> None:
    """Answers that nobody has read yet when a frame goes out; one buffer of several is for the answer."""
    device = PseudoDevice(buf_size=1024, buf_count=buf_count)
    feed, waiting = device.link.answer, []

    def watch(data: bytes) -> bytes:
        waiting.append(device.link.received.count(FRAME_BEGINS))
        return feed(data)

    device.link.answer = watch
    device.open().upload(IMAGE, SHA256)
    assert bytes(device.flash) == IMAGE and max(waiting) == unanswered


@pytest.mark.parametrize("buf_size", [128, 200, 256, 384])
def test_no_frame_is_longer_than_the_buffer(buf_size: int) -> None:
    device = PseudoDevice(buf_size=buf_size, buf_count=1)
    device.open().upload(IMAGE[:3000], SHA256)
    assert bytes(device.flash) == IMAGE[:3000] and device.longest + 4 <= buf_size


def test_the_frames_of_the_contract() -> None:
    asked = question(bytes(500_000), SHA256, 1)
    assert len(bytes(asked)) + 4 <= 128 and asked.data == bytes(QUESTION_BYTES)
    longest = chunk(0xFFFFFFFF, bytes(4000), 1, checked=True)
    assert len(bytes(longest)) - 4000 == HEADER_BYTES + CHECKSUM_BYTES
    assert len(bytes(chunk(0xFFFFFFFF, bytes(4000), 1, checked=False))) - 4000 == HEADER_BYTES
    # Over offset and data, as firmware/tests/host/test_smp_upload.c computes it.
    assert vars(chunk(1, b"a", 1, checked=True))["crc"] == zlib.crc32(b"\x01\0\0\0a")


@pytest.mark.parametrize("frame_bytes", [41, 42, 43, 60, 252, 281, 282, 283, 300, 1020, 6140])
@pytest.mark.parametrize("offset", [32, 255, 256, 0xFFFF, 0x10000, 0xFFFFFFFF])
def test_a_frame_is_as_full_as_its_numbers_allow(frame_bytes: int, offset: int) -> None:
    size = fitting(frame_bytes, offset)
    assert len(bytes(chunk(offset, bytes(size), 1, checked=False))) <= frame_bytes
    assert len(bytes(chunk(offset, bytes(size + 2), 1, checked=False))) > frame_bytes


def test_the_pace_follows_what_the_line_shows() -> None:
    pace = Pace(1e-4, 4)
    assert (pace.window, pace.frame_bytes()) == (3, FIRST_FRAME_BYTES)
    carried_s = pace.sent(700, 10.0)
    assert carried_s == pytest.approx(10.07)
    pace.answered(carried_s, 700, 10.08)
    assert pace.frame_bytes() > 1e6 and pace.patience_s() == TURN_MIN_S
    for _ in range(10):
        pace.sent(10_000, 11.0)
    pace.lost(silent=False)
    assert pace.window == 2 and 1000 < pace.frame_bytes() < 2000
    for _ in range(9):
        pace.lost(silent=True)
    assert pace.frame_bytes() < 600 and pace.patience_s() == TURN_MAX_S
    assert Pace(1e-4, 2).window == Pace(1e-4, 1).window == 1


def test_a_line_that_is_slower_than_it_is_said_to_be_gets_its_time() -> None:
    pace = Pace(1e-5, 4)
    pace.answered(pace.sent(700, 0.0), 700, 0.7)
    assert pace.sent(4000, 1.0) > 4.9


def test_a_device_that_was_slow_once_is_no_slow_line() -> None:
    """With frames under way: that nothing comes any more is noticed in seconds, however much was sent before."""
    pace, now_s = Pace(1e-6, 4), 0.5
    pace.answered(pace.sent(1000, 0.0), 1000, now_s)
    under_way = [pace.sent(30_000, now_s) for _ in range(pace.window)]
    for _ in range(100):
        now_s += 0.05
        pace.answered(under_way.pop(0), 30_000, now_s)
        under_way.append(pace.sent(30_000, now_s))
    assert max(under_way) + pace.patience_s() - now_s < TURN_MAX_S
