# SPDX-License-Identifier: Apache-2.0
"""The XMODEM sender: against the receiver of the `xmodem` package, and on lines that go wrong."""

from __future__ import annotations

import io
import random

import pytest
import xmodem

from assay.protocols.xmodem import ACK, BLOCK_SIZE, CAN, EOT, NAK, RETRIES_MAX, START_CRC, STX, State, XmodemSender


class Loop:
    """A sender as the other end of a receiver's getc and putc; `mangle` sees what the sender sends, once each."""

    def __init__(self, data: bytes, mangle=lambda sent, number: sent) -> None:
        self.sender = XmodemSender(data)
        self.line = bytearray()
        self.mangle = mangle
        self.number = 0

    def getc(self, size: int, timeout: float = 1) -> bytes | None:
        if not self.line:
            return None
        data = bytes(self.line[:size])
        del self.line[:size]
        return data

    def putc(self, data: bytes, timeout: float = 1) -> int:
        for byte in data:
            self._sent(self.sender.feed(byte))
        return len(data)

    def _sent(self, data: bytes) -> None:
        if data:
            self.number += 1
            self.line += self.mangle(data, self.number)


def receive(loop: Loop) -> bytes:
    out = io.BytesIO()
    xmodem.XMODEM(loop.getc, loop.putc, mode="xmodem1k").recv(out, retry=20, timeout=0.01, delay=0, quiet=1)
    return out.getvalue()


@pytest.mark.parametrize("size", [1, BLOCK_SIZE, BLOCK_SIZE + 1, 300 * BLOCK_SIZE + 5])
def test_the_xmodem_packages_receiver_gets_the_data(size: int) -> None:
    data = random.Random(size).randbytes(size)
    loop = Loop(data)
    got = receive(loop)
    assert got == data.ljust(-(-size // BLOCK_SIZE) * BLOCK_SIZE, b"\x1a")
    assert loop.sender.state is State.DONE
    assert loop.sender.acknowledged == size
    assert loop.sender.resent == 0


def test_damaged_blocks_are_sent_again() -> None:
    def mangle(sent: bytes, number: int) -> bytes:
        return sent[:500] + b"\x00\x01" + sent[502:] if number % 3 == 2 and len(sent) > 1 else sent

    data = random.Random(2).randbytes(5 * BLOCK_SIZE)
    loop = Loop(data, mangle)
    assert receive(loop) == data
    assert loop.sender.resent > 0


def run(sender: XmodemSender, received: bytes) -> list[bytes]:
    return [sent for sent in (sender.feed(byte) for byte in received) if sent]


def test_an_impatient_receiver_gets_each_block_once() -> None:
    sender = XmodemSender(bytes(2 * BLOCK_SIZE))
    sent = run(sender, bytes([START_CRC, START_CRC, START_CRC, ACK, START_CRC, ACK, ACK]))
    assert [block[:2] for block in sent] == [bytes([STX, 1]), bytes([STX, 2]), bytes([EOT])]
    assert sender.state is State.DONE


def test_a_c_inside_a_banner_is_no_start() -> None:
    sender = XmodemSender(b"x")
    assert run(sender, b"ASSAY-ROM 1 board=C rev=1\r\nCC") != []
    assert run(XmodemSender(b"x"), b"board=C rev=C\r") == []


def test_one_cancel_is_noise_two_are_an_end() -> None:
    sender = XmodemSender(bytes(3000))
    run(sender, bytes([START_CRC, CAN, NAK]))
    assert sender.state is State.BLOCK
    assert run(sender, bytes([CAN, CAN, ACK])) == []
    assert sender.state is State.CANCELLED


def test_a_receiver_that_only_refuses_ends_it() -> None:
    sender = XmodemSender(b"x")
    sent = run(sender, bytes([START_CRC]) + bytes([NAK]) * (RETRIES_MAX + 1))
    assert sender.state is State.GAVE_UP
    assert sent[-1] == bytes([CAN, CAN])
    assert sender.silent() == b""


def test_silence_repeats_the_block_and_the_end() -> None:
    sender = XmodemSender(b"x")
    assert sender.silent() == b""  # before the receiver has asked
    (block,) = run(sender, bytes([START_CRC]))
    assert sender.silent() == block
    assert run(sender, bytes([ACK])) == [bytes([EOT])]
    assert sender.silent() == bytes([EOT])
