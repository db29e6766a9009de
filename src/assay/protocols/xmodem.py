# SPDX-License-Identifier: Apache-2.0
"""The sender of XMODEM-1K with CRC, as a state machine: bytes and time-outs in, bytes out.

Guards: a repeated `C` of an impatient receiver is not taken for an answer to a block (a sender that resends then is one
acknowledgement ahead for the rest of the transfer); a receiver that cancels is heard at any moment.
Leaves to others: the link and the clock.

Source: Chuck Forsberg, "XMODEM/YMODEM Protocol Reference" (1988), chapters 3, 7 and 8.
"""

from __future__ import annotations

import binascii
from enum import Enum

BLOCK_SIZE = 1024  # bytes of data in a block that starts with STX
RETRIES_MAX = 10  # in a row, for one block (Forsberg, section 7.2)
STX, EOT, ACK, NAK, CAN, SUB = 0x02, 0x04, 0x06, 0x15, 0x18, 0x1A
START_CRC = ord("C")
_LINE_END = ord("\n")


class State(Enum):
    """Where a transfer is."""

    WAIT_START = "waiting for the receiver"
    BLOCK = "sending"
    END = "ending"
    DONE = "done"
    CANCELLED = "cancelled by the receiver"
    GAVE_UP = "given up: the receiver accepts no block"


_ENDED = (State.DONE, State.CANCELLED, State.GAVE_UP)


class XmodemSender:
    """Sends `data`, padded with 0x1A to whole blocks of 1024 bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._block = 0  # counted from 0; on the wire from 1, modulo 256
        self._retries = 0
        self._cancels = 0
        self._line_start = True  # a `C` inside a banner's text is no start
        self.state = State.WAIT_START
        self.resent = 0

    @property
    def ended(self) -> bool:
        """True when no more bytes matter."""
        return self.state in _ENDED

    @property
    def acknowledged(self) -> int:
        """Bytes of the data that the receiver has."""
        return min(self._block * BLOCK_SIZE, len(self._data))

    def feed(self, received: int) -> bytes:
        """The receiver's next byte; gives what to send now, often nothing."""
        if self.ended:
            return b""
        self._cancels = self._cancels + 1 if received == CAN else 0
        if self._cancels == 2:  # one alone may be line noise
            self.state = State.CANCELLED
            return b""
        if self.state is State.WAIT_START:
            return self._wait_start(received)
        if received == ACK:
            return self._acknowledged()
        return self._again() if received == NAK else b""

    def silent(self) -> bytes:
        """Nothing came for the time-out; gives what to send again."""
        return b"" if self.ended or self.state is State.WAIT_START else self._again()

    def _wait_start(self, received: int) -> bytes:
        start = received == START_CRC and self._line_start
        self._line_start = start or received == _LINE_END
        if not start:
            return b""
        self.state = State.BLOCK
        return self._current()

    def _acknowledged(self) -> bytes:
        self._retries = 0
        if self.state is State.END:
            self.state = State.DONE
            return b""
        self._block += 1
        if self._block * BLOCK_SIZE >= len(self._data):
            self.state = State.END
        return self._current()

    def _again(self) -> bytes:
        self._retries += 1
        self.resent += 1
        if self._retries > RETRIES_MAX:
            self.state = State.GAVE_UP
            return bytes([CAN, CAN])
        return self._current()

    def _current(self) -> bytes:
        if self.state is State.END:
            return bytes([EOT])
        start = self._block * BLOCK_SIZE
        data = self._data[start : start + BLOCK_SIZE].ljust(BLOCK_SIZE, bytes([SUB]))
        number = (self._block + 1) & 0xFF
        return bytes([STX, number, 0xFF - number]) + data + binascii.crc_hqx(data, 0).to_bytes(2, "big")
