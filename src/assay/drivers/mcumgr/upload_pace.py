# SPDX-License-Identifier: Apache-2.0
"""How long the frames of an upload are, how many are under way, and how long an answer is waited for. Pure.

Guards: all three follow from what this line has shown so far, so that a clean line is full and a bad one is not made
worse. Times in seconds of one monotonic clock.
Leaves to others: sending and waiting (`upload`).
"""

from __future__ import annotations

import math

WINDOW_MAX = 3  # frames under way, of a device with more buffers than ours: two fill any line
WINDOW_AFTER_LOSS = 2  # each frame under way behind a lost one is sent again
FRAME_COST = 50  # bytes on the line that a frame costs whatever its length
FIRST_FRAME_BYTES = 1000  # on the line, until the first is answered: what it takes tells how fast the line is
TURN_MIN_S = 0.4  # the shortest wait for an answer: longer than a device waits for the rest of a raw frame
TURN_MAX_S = 4.0
TURN_UNKNOWN_S = 1.0  # before the device has answered once: to program 4 KB and erase a sector
TURN_FACTOR = 4  # a device that is this much slower than it was is silent
TURN_FADES = 0.9  # the slowest answer so far counts less with each one that follows


class Pace:
    """One upload's. `byte_s`: seconds that a byte takes on the line, at least."""

    def __init__(self, byte_s: float, buf_count: int) -> None:
        self._byte_s = self._least_byte_s = byte_s
        # One of the device's buffers is for its answer: Zephyr takes both from one pool.
        self.window_max = max(1, min(buf_count - 1, WINDOW_MAX))
        self._free_s = 0.0  # when the line has carried all that was sent
        self._bytes = 0
        self.losses = 0
        self._silences = 0  # in a row
        self._slowest_s: float | None = None

    @property
    def window(self) -> int:
        """Frames that may be under way."""
        return min(self.window_max, WINDOW_AFTER_LOSS) if self.losses else self.window_max

    def frame_bytes(self) -> float:
        """The length on the line that costs least, all in all, at the rate of losses seen so far.

        Of n bytes FRAME_COST are lost to each frame, and n times the rate of losses to frames that are sent again,
        with those under way behind them: the sum is least at the root.
        """
        if self._slowest_s is None:
            return FIRST_FRAME_BYTES
        return math.sqrt(FRAME_COST * self._bytes / (self.losses * self.window)) if self.losses else math.inf

    def sent(self, size: int, now_s: float) -> float:
        """`size` bytes were given to the line; answers when it has carried them."""
        self._free_s = max(self._free_s, now_s) + size * self._byte_s
        self._bytes += size
        return self._free_s

    def answered(self, carried_s: float, size: int, now_s: float) -> None:
        """The frame of `size` bytes whose last byte was there at `carried_s` is answered."""
        turn_s = max(0.0, now_s - carried_s)
        if self._slowest_s is None:  # it was the first on the line: perhaps that is slower than it is said to be
            self._byte_s += turn_s / max(size, 1)
        elif now_s < carried_s:  # it was the device that was slow then, and the line has carried this long ago
            early_s = carried_s - now_s
            self._byte_s = max(self._least_byte_s, self._byte_s - early_s / max(size, 1))
            self._free_s = max(now_s, self._free_s - early_s)
        self._slowest_s = max(turn_s, TURN_FADES * (self._slowest_s or 0.0))
        self._silences = 0

    def patience_s(self) -> float:
        """How long after its last byte the answer to a frame may take."""
        turn_s = TURN_UNKNOWN_S if self._slowest_s is None else TURN_FACTOR * self._slowest_s
        return min(max(turn_s, TURN_MIN_S) * 2.0**self._silences, TURN_MAX_S)

    def lost(self, *, silent: bool) -> None:
        """A frame has to be sent again, since the device missed it or (`silent`) said nothing."""
        self.losses += 1
        self._silences += silent

    def was_late(self) -> None:
        """What was taken for lost had arrived: the host, the line or the device is busy, and damages nothing."""
        self.losses -= 1
        self._slowest_s = max(self._slowest_s or 0.0, TURN_MIN_S)
