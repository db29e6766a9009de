# SPDX-License-Identifier: Apache-2.0
"""The serial cable between a twin's port and its chip: both directions, at the line's rate, with the faults of its
profile, with nobody or somebody reading.

Guards: a slow reader loses nothing; a port that nobody reads does not hold up the chip, whose UART cannot wait either.
Leaves to others: power (`wire`), timing of bytes (`serial_line`), which byte meets which fault (`line_faults`).
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace
from typing import Any

from assay.drivers.twin.line_faults import LineFaults
from assay.drivers.twin.serial_line import SerialLine
from assay.drivers.twin.terminal import Terminal
from assay.drivers.twin.wire_profile import WireProfile
from assay.errors import LinkError

READ_MAX = 65536  # bytes in one go
GRANULARITY_S = (
    0.005  # of line: bytes are handed on in such lots, and at once when no more are on their way; 8 wires share a core
)
STALL_MAX_S = 0.5  # nobody reads the port for this long: from now on bytes fall on the floor, as from a real UART


class Cable:
    """`terminal` is the port, `connect` plugs in the chip. Times in seconds of one monotonic clock."""

    def __init__(self, terminal: Terminal, profile: WireProfile) -> None:
        self._terminal = terminal
        self._uart: socket.socket | None = None
        self._stalled_since_s: float | None = None
        self._back_at_s: float | None = None  # when the port, which is away, comes back
        self._counts = {"bytes_to_host": 0, "bytes_to_device": 0, "bytes_dropped": 0}
        self.use(profile)

    def use(self, profile: WireProfile) -> None:
        """Another wire: what is on its way is lost, and bytes are counted anew."""
        self.profile = profile
        self._to_host, self._to_chip = (SerialLine(profile.baud, profile.latency_s) for _ in range(2))
        self._host_faults = LineFaults(profile.to_host, profile.seed, "to_host")
        self._chip_faults = LineFaults(profile.to_device, profile.seed, "to_device")

    @property
    def counts(self) -> dict[str, Any]:
        """Bytes since this process began; faults, and bytes that could have met one, since this wire was put in."""
        both = {"to_device": self._chip_faults, "to_host": self._host_faults}
        faults = {direction: {"bytes": line.at, **line.counts} for direction, line in both.items()}
        return {**self._counts, "faults": faults}

    def connect(self, uart: socket.socket) -> None:
        """The chip has power: its UART is there."""
        self._uart = uart

    def disconnect(self, now_s: float) -> None:
        """The chip has no power: what it had sent is on the line, what it had not heard is gone."""
        uart, self._uart = self._uart, None
        if uart is not None:
            with contextlib.suppress(OSError):
                while data := uart.recv(READ_MAX):
                    self._send_to_host(data[: self._to_host.room()], now_s)
        self._to_chip.clear()

    def set_baud(self, baud: int | None, now_s: float) -> None:
        """Another rate, both ways."""
        self.profile = replace(self.profile, baud=baud)
        for line in (self._to_host, self._to_chip):
            line.set_baud(baud, now_s)

    def readers(self, now_s: float) -> list[Any]:
        """What to wait for until it is readable."""
        waiting: list[Any] = [self._terminal] if self._terminal.plugged and self._to_chip.room() > 0 else []
        if self._uart is not None and (self._to_host.room() > 0 or self._stalled(now_s)):
            waiting.append(self._uart)
        return waiting

    def writers(self, now_s: float) -> list[Any]:
        """What to wait for until it is writable."""
        waiting: list[Any] = [self._terminal] if self._terminal.plugged and self._to_host.due(now_s) else []
        if self._uart is not None and self._to_chip.due(now_s):
            waiting.append(self._uart)
        return waiting

    def wait_s(self, now_s: float) -> float | None:
        """The longest time to sleep; None when nothing is on its way."""
        waits = [] if self._back_at_s is None else [max(0.0, self._back_at_s - now_s)]
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
        if self._back_at_s is not None and now_s >= self._back_at_s:
            self._back_at_s = None
            self._terminal.plug()
        due = self._to_host.due(now_s)
        if due and not self._terminal.plugged:
            self._counts["bytes_dropped"] += len(due)
            self._to_host.taken(len(due))
            due = b""
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
        if not self._terminal.plugged:  # it went away in this very turn
            return
        data = self._terminal.read(self._to_chip.room())
        if self._uart is None:  # a chip without power hears nothing
            return
        self._counts["bytes_to_device"] += len(data)
        for piece in self._chip_faults.apply(data):
            self._to_chip.put(piece.data, now_s)
            if piece.then == "stall":
                self._to_chip.pause(self.profile.to_device.stall_s, now_s)
            elif piece.then == "disconnect":
                self._unplug(self.profile.to_device.disconnect_s, now_s)
                return  # what lay behind it in the port is gone

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
        self._counts["bytes_to_host"] += len(data)
        if stalled:
            self._counts["bytes_dropped"] += len(data)
        else:
            self._send_to_host(data, now_s)

    def _send_to_host(self, data: bytes, now_s: float) -> None:
        for piece in self._host_faults.apply(data):
            self._to_host.put(piece.data, now_s)
            if piece.then == "stall":
                self._to_host.pause(self.profile.to_host.stall_s, now_s)
            elif piece.then == "disconnect":
                self._unplug(self.profile.to_host.disconnect_s, now_s)

    def _unplug(self, seconds: float, now_s: float) -> None:
        """The port goes away, and with it what had arrived for it and was not read; the chip does not notice."""
        self._terminal.unplug()
        self._to_host.clear()
        self._back_at_s = now_s + seconds

    def _stalled(self, now_s: float) -> bool:
        return self._stalled_since_s is not None and now_s - self._stalled_since_s >= STALL_MAX_S
