# SPDX-License-Identifier: Apache-2.0
"""One direction of a serial line: bytes go in, and come out when a line of that baud rate would have carried them.

Guards: the rate is kept exactly, however late the caller looks, and an idle line gives no credit for a burst.
Leaves to others: the clock (an argument) and the ports.
"""

from __future__ import annotations

BITS_PER_BYTE = 10  # 8N1: a start bit, eight data bits, a stop bit
ROOM_BYTES = 8192  # 89 ms of line at 921600 bit/s: a wire process that wakes up late loses no line time
ROUNDING = 1e-6  # of a byte: a sum of floats that falls just short of a whole byte is that byte


class SerialLine:
    """Bytes on their way in one direction. Times in seconds of one monotonic clock."""

    def __init__(self, baud: int | None) -> None:
        self._pending = bytearray()
        self._start_s = 0.0  # when the first pending byte began to leave
        self._byte_s = BITS_PER_BYTE / baud if baud else 0.0

    def room(self) -> int:
        """How many bytes `put` takes now."""
        return ROOM_BYTES - len(self._pending)

    def put(self, data: bytes, now_s: float) -> None:
        """Queue `data` behind what is on its way."""
        if not self._pending:
            self._start_s = max(self._start_s, now_s)
        self._pending += data

    def due(self, now_s: float) -> bytes:
        """The bytes that have arrived by `now_s`; they stay until `taken`."""
        if not self._byte_s:
            return bytes(self._pending)
        return bytes(self._pending[: max(0, int((now_s - self._start_s) / self._byte_s + ROUNDING))])

    def taken(self, count: int) -> None:
        """The first `count` bytes were handed on."""
        del self._pending[:count]
        self._start_s += count * self._byte_s

    def wait_s(self, now_s: float, granularity_s: float) -> float | None:
        """Seconds until it is worth to look again: all has arrived, or `granularity_s` passed; None when empty."""
        if not self._pending:
            return None
        all_arrived_s = self._start_s + len(self._pending) * self._byte_s - now_s
        return max(0.0, min(all_arrived_s, granularity_s))

    def set_baud(self, baud: int | None, now_s: float) -> None:
        """Another rate from now on, also for what is on its way."""
        self._byte_s = BITS_PER_BYTE / baud if baud else 0.0
        self._start_s = max(self._start_s, now_s)

    def clear(self) -> None:
        """Lose what is on its way."""
        self._pending.clear()
