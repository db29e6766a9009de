# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with the bytes of one direction of a line, by seed and by the number of the byte.

Guards: the same bytes meet the same faults, in whatever pieces and at whatever time they come; each kind of fault has
dice of its own, so that one kind can be taken away to see whether it was the cause.
Leaves to others: how long a line stands still or a port is away (`cable`).
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from assay.drivers.twin.wire_profile import KINDS, LineProfile

NEVER = 2**63
ORDER = {kind: number for number, kind in enumerate(KINDS)}


@dataclass(frozen=True)
class Piece:
    """Bytes that go on; `then` is what happens behind them: `stall`, `disconnect` or nothing."""

    data: bytes
    then: str | None = None


class LineFaults:
    """The faults of one direction. `counts` says how many of each kind there were."""

    def __init__(self, profile: LineProfile, seed: int, direction: str) -> None:
        self._profile = profile
        self._dice = {kind: random.Random(f"{seed}/{direction}/{kind}") for kind in KINDS}  # noqa: S311 (to be replayed)
        self._listed = {kind: sorted(at for at, named in profile.listed if named == kind) for kind in KINDS}
        self._next = {kind: self._draw(kind, -1) for kind in KINDS}
        self.at = 0  # bytes that have come so far
        self.counts: Counter[str] = Counter()

    def apply(self, data: bytes) -> list[Piece]:
        """What becomes of the next bytes."""
        end = self.at + len(data)
        if min(*self._next.values(), *(listed[0] for listed in self._listed.values() if listed)) >= end:
            self.at = end
            return [Piece(data)]
        return list(self._pieces(data, end))

    def _pieces(self, data: bytes, end: int) -> Iterator[Piece]:
        out, first = bytearray(), self.at
        while True:
            kind, at = self._nearest()
            out += data[self.at - first : min(at, end) - first]
            self.at = min(at, end)
            if at >= end:
                break
            fates = {kind} | {other for other in KINDS if self._due(other) == at}
            for fate in fates:
                self.counts[fate] += 1
                self._pass(fate, at)
            for then in ("stall", "disconnect"):
                if then in fates:
                    yield Piece(bytes(out), then)
                    out.clear()
            out += self._become(data[at - first], fates)
            self.at = at + 1
        yield Piece(bytes(out))

    def _become(self, byte: int, fates: set[str]) -> bytes:
        if "damaged" in fates:
            byte ^= self._dice["damaged"].randrange(1, 256)
        if "lost" in fates:
            return b""
        return bytes([byte, byte]) if "repeated" in fates else bytes([byte])

    def _due(self, kind: str) -> int:
        listed = self._listed[kind]
        return min(self._next[kind], listed[0] if listed else NEVER)

    def _nearest(self) -> tuple[str, int]:
        kind = min(KINDS, key=lambda kind: (self._due(kind), ORDER[kind]))
        return kind, self._due(kind)

    def _pass(self, kind: str, at: int) -> None:
        while self._listed[kind] and self._listed[kind][0] <= at:
            del self._listed[kind][0]
        if self._next[kind] <= at:
            self._next[kind] = self._draw(kind, at)

    def _draw(self, kind: str, at: int) -> int:
        """The number of the next byte behind `at` that this happens to: the gaps of independent chances."""
        share = self._profile.share(kind)
        if share <= 0:
            return NEVER
        return at + 1 + int(math.log(1.0 - self._dice[kind].random()) / math.log(1.0 - share))
