# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of a byte link to a device."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """A byte link. Every method raises `LinkError` (never an error of the library below) when the link breaks."""

    @property
    def address(self) -> str:
        """The address as the user gave it (`/dev/ttyUSB0`, `socket://...`, a twin's tty)."""
        ...

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """At least one byte, at most `max_bytes`; empty after `timeout_s` seconds of silence."""
        ...

    def write(self, data: bytes) -> None:
        """Send all of `data`; returns when the link has taken it."""
        ...

    def drop_input(self) -> None:
        """Throw away what has been received and not read."""
        ...

    def close(self) -> None:
        """Release the link; a second call does nothing."""
        ...


class MendingTransport(Transport, Protocol):
    """A byte link that mends itself: while it is away, what is written is lost, and nothing comes."""

    @property
    def breaks(self) -> int:
        """How often it broke once it stood: what was asked on it before will not be answered."""
        ...

    @property
    def away(self) -> str:
        """Why it does not stand at this moment; empty while it does."""
        ...
