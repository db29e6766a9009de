# SPDX-License-Identifier: Apache-2.0
"""The serial cable between a twin's port and its chip: both directions, at the line's rate, with nobody or somebody
reading.

Guards: a slow reader loses nothing; a port that nobody reads does not hold up the chip, whose UART cannot wait either.
Leaves to others: power (`wire`), timing of bytes (`serial_line`).
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from assay.drivers.twin.serial_line import SerialLine
from assay.drivers.twin.terminal import Terminal
from assay.errors import LinkError

READ_MAX = 65536  # bytes in one go
GRANULARITY_S = 0.001  # bytes are handed on in lots of this length of line: fine enough for any time-out, and cheap
STALL_MAX_S = 0.5  # nobody reads the port for this long: from now on bytes fall on the floor, as from a real UART


class Cable:
    """`terminal` is the port, `connect` plugs in the chip. Times in seconds of one monotonic clock."""

    def __init__(self, terminal: Terminal, baud: int | None) -> None:
        self._terminal = terminal
        self._uart: socket.socket | None = None
        self._to_host = SerialLine(baud)
        self._to_chip = SerialLine(baud)
        self._stalled_since_s: float | None = None
        self.counts = {"bytes_to_host": 0, "bytes_to_device": 0, "bytes_dropped": 0}

    def connect(self, uart: socket.socket) -> None:
        """The chip has power: its UART is there."""
        self._uart = uart

    def disconnect(self, now_s: float) -> None:
        """The chip has no power: what it had sent is on the line, what it had not heard is gone."""
        uart, self._uart = self._uart, None
        if uart is not None:
            with contextlib.suppress(OSError):
                while data := uart.recv(READ_MAX):
                    self._to_host.put(data[: self._to_host.room()], now_s)
        self._to_chip.clear()

    def set_baud(self, baud: int | None, now_s: float) -> None:
        """Another rate, both ways."""
        for line in (self._to_host, self._to_chip):
            line.set_baud(baud, now_s)

    def readers(self, now_s: float) -> list[Any]:
        """What to wait for until it is readable."""
        waiting: list[Any] = [self._terminal] if self._to_chip.room() > 0 else []
        if self._uart is not None and (self._to_host.room() > 0 or self._stalled(now_s)):
            waiting.append(self._uart)
        return waiting

    def writers(self, now_s: float) -> list[Any]:
        """What to wait for until it is writable."""
        waiting: list[Any] = [self._terminal] if self._to_host.due(now_s) else []
        if self._uart is not None and self._to_chip.due(now_s):
            waiting.append(self._uart)
        return waiting

    def wait_s(self, now_s: float) -> float | None:
        """The longest time to sleep; None when nothing is on its way."""
        waits = []
        for line in (self._to_host, self._to_chip):
            wait_s = line.wait_s(now_s, GRANULARITY_S)
            if wait_s is not None:
                # What has arrived and is not taken wakes select by itself; the clock only looks after a stall.
                waits.append(STALL_MAX_S if wait_s == 0.0 else wait_s)
        return min(waits, default=None)

    def take_in(self, source: Any, now_s: float) -> bool:
        """Read a source that is readable; False when it is none of this cable's. Raises LinkError when QEMU ended."""
        if source is self._terminal:
            self._from_host(now_s)
        elif source is self._uart and self._uart is not None:
            self._from_chip(self._uart, now_s)
        else:
            return False
        return True

    def hand_on(self, now_s: float) -> None:
        """Give both ends what has arrived for them, as far as they take it."""
        due = self._to_host.due(now_s)
        count = self._terminal.write(due) if due else 0
        self._to_host.taken(count)
        if count or not due:
            self._stalled_since_s = None
        elif self._stalled_since_s is None:
            self._stalled_since_s = now_s
        if self._uart is not None and (due := self._to_chip.due(now_s)):
            with contextlib.suppress(BlockingIOError, ConnectionError):
                self._to_chip.taken(self._uart.send(due))

    def _from_host(self, now_s: float) -> None:
        data = self._terminal.read(self._to_chip.room())
        if self._uart is not None:  # a chip without power hears nothing
            self._to_chip.put(data, now_s)
            self.counts["bytes_to_device"] += len(data)

    def _from_chip(self, uart: socket.socket, now_s: float) -> None:
        stalled = self._stalled(now_s)
        try:
            data = uart.recv(READ_MAX if stalled else self._to_host.room())
        except BlockingIOError:
            return
        except OSError as error:
            raise LinkError(f"QEMU's UART: {error}", remedy="see qemu.log in the twin's folder") from error
        if not data:
            raise LinkError("QEMU closed its UART", remedy="see qemu.log in the twin's folder")
        self.counts["bytes_to_host"] += len(data)
        if stalled:
            self.counts["bytes_dropped"] += len(data)
        else:
            self._to_host.put(data, now_s)

    def _stalled(self, now_s: float) -> bool:
        return self._stalled_since_s is not None and now_s - self._stalled_since_s >= STALL_MAX_S
