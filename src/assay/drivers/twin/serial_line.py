# SPDX-License-Identifier: Apache-2.0
"""One direction of a serial line: bytes go in, and come out when a line of that baud rate would have carried them.

Guards: the rate is kept exactly, however late the caller looks, and an idle line gives no credit for a burst.
Leaves to others: the clock (an argument) and the ports.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

BITS_PER_BYTE = 10  # 8N1: a start bit, eight data bits, a stop bit
ROOM_BYTES = 8192  # 89 ms of line at 921600 bit/s: a wire process that wakes up late loses no line time
ROUNDING = 1e-6  # of a byte: a sum of floats that falls just short of a whole byte is that byte


@dataclass
class _Lot:
    """Bytes that follow each other without a gap; the first began to leave at `begin_s`."""

    begin_s: float
    data: bytearray


class SerialLine:
    """Bytes on their way in one direction. Times in seconds of one monotonic clock; `latency_s` on top of the rate."""

    def __init__(self, baud: int | None, latency_s: float = 0.0) -> None:
        self._lots: deque[_Lot] = deque()
        self._pending = 0
        self._free_s = 0.0  # when the last byte has left
        self._paused = False  # a gap follows the last lot
        self._byte_s = BITS_PER_BYTE / baud if baud else 0.0
        self._latency_s = latency_s

    def room(self) -> int:
        """How many bytes `put` takes now."""
        travelling = int(self._latency_s / self._byte_s) if self._byte_s else 0
        return max(0, ROOM_BYTES + travelling - self._pending)

    def put(self, data: bytes, now_s: float) -> None:
        """Queue `data` behind what is on its way."""
        if not data:
            return
        if self._lots and not self._paused and self._byte_s:
            self._lots[-1].data += data
        else:
            begin_s = self._free_s if self._lots and self._byte_s else max(self._free_s, now_s)
            self._lots.append(_Lot(begin_s, bytearray(data)))
        self._paused = False
        self._pending += len(data)
        self._free_s = self._end_s(self._lots[-1])

    def pause(self, seconds: float, now_s: float) -> None:
        """What is put from now on leaves so much later."""
        self._free_s = max(self._free_s, now_s) + seconds
        self._paused = True

    def due(self, now_s: float) -> bytes:
        """The bytes that have arrived by `now_s`; they stay until `taken`."""
        if len(self._lots) == 1 and not self._byte_s and self._lots[0].begin_s + self._latency_s <= now_s:
            return bytes(self._lots[0].data)
        arrived = bytearray()
        for lot in self._lots:
            count = self._arrived(lot, now_s)
            arrived += lot.data[:count]
            if count < len(lot.data):
                break
        return bytes(arrived)

    def taken(self, count: int) -> None:
        """The first `count` bytes were handed on."""
        self._pending -= count
        while count:
            lot = self._lots[0]
            part = min(count, len(lot.data))
            del lot.data[:part]
            lot.begin_s += part * self._byte_s
            count -= part
            if not lot.data:
                self._lots.popleft()

    def wait_s(self, now_s: float, granularity_s: float) -> float | None:
        """Seconds until it is worth to look again: all has arrived, or `granularity_s` passed; None when empty."""
        if not self._lots:
            return None
        begin_s = self._lots[0].begin_s + self._latency_s
        all_arrived_s = self._end_s(self._lots[0]) + self._latency_s - now_s
        return max(0.0, min(all_arrived_s, max(granularity_s, begin_s - now_s)))

    def set_baud(self, baud: int | None, now_s: float) -> None:
        """Another rate from now on, also for what is on its way."""
        self._byte_s = BITS_PER_BYTE / baud if baud else 0.0
        free_s = now_s
        for lot in self._lots:
            lot.begin_s = max(lot.begin_s, free_s) if self._byte_s else now_s
            free_s = self._end_s(lot)
        self._free_s = free_s

    def clear(self) -> None:
        """Lose what is on its way."""
        self._lots.clear()
        self._pending = 0

    def _end_s(self, lot: _Lot) -> float:
        return lot.begin_s + len(lot.data) * self._byte_s

    def _arrived(self, lot: _Lot, now_s: float) -> int:
        since_s = now_s - self._latency_s - lot.begin_s
        if not self._byte_s:
            return len(lot.data) if since_s >= 0 else 0
        return min(len(lot.data), max(0, int(since_s / self._byte_s + ROUNDING)))
