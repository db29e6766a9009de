# SPDX-License-Identifier: Apache-2.0
"""The two ways in which a twin's board asks for entropy, as byte machines.

Guards: the random bytes pass through here and nowhere else; nothing here prints, logs or keeps them.
Leaves to others: where the randomness comes from (`source`) and the sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Source = Callable[[int], bytes]
"""Gives that many random bytes."""

EGD_POOL_BITS = 0  # command: how many bits are there; answer 4 bytes, big-endian
EGD_READ = 1  # command with a length: answer length and at most that many bytes
EGD_READ_BLOCKING = 2  # command with a length: answer exactly that many bytes (the one QEMU's rng-egd uses)
POOL_BITS = 4096  # what the kernel's pool was once; a number that never blocks a reader


class EntropyPort(Protocol):
    """Answers what a board asks."""

    def feed(self, asked: bytes) -> bytes:
        """The answer to the bytes that came in."""
        ...


class UartEntropy:
    """A byte n (1 to 255) is answered by n random bytes (docs: reference/device, Entropy)."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def feed(self, asked: bytes) -> bytes:
        """A zero asks for nothing and gets nothing."""
        return b"".join(self._source(count) for count in asked if count)


class EgdEntropy:
    """The protocol of the Entropy Gathering Daemon, as far as QEMU's `rng-egd` speaks it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._command: int | None = None  # a command whose length byte has not come yet

    def feed(self, asked: bytes) -> bytes:
        """A command may be split anywhere; an unknown one is dropped, as EGD does."""
        return b"".join(self._byte(value) for value in asked)

    def _byte(self, value: int) -> bytes:
        command, self._command = self._command, None
        if command == EGD_READ_BLOCKING:
            return self._source(value) if value else b""
        if command == EGD_READ:
            return bytes([value]) + (self._source(value) if value else b"")
        if value == EGD_POOL_BITS:
            return POOL_BITS.to_bytes(4, "big")
        if value in (EGD_READ, EGD_READ_BLOCKING):
            self._command = value
        return b""


class SilentEntropy:
    """A source that is broken: what a board does then can be tested."""

    def feed(self, asked: bytes) -> bytes:
        """Nothing, whatever is asked."""
        del asked
        return b""


PORTS: dict[str, Callable[[Source], EntropyPort]] = {"uart": UartEntropy, "virtio-rng": EgdEntropy}
"""By `twin.entropy` of the board's TOML."""
