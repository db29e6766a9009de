# SPDX-License-Identifier: Apache-2.0
"""A twin's UART without a wire in between: `interfaces.transport.Transport` over QEMU's own socket.

Guards: what the chip says is kept, up to a limit, so that whoever has to explain a silent unit can show it.
Leaves to others: rates, noise and lasting paths, which a wire has (`wire`); power (`emulator`).
"""

from __future__ import annotations

import socket

from assay.errors import LinkError
from assay.interfaces.readiness import readable

SAID_MAX = 1 << 20  # bytes kept of what the chip said


class UartTransport:
    """`uart` is our end of QEMU's socket; `name` is what errors call it."""

    def __init__(self, uart: socket.socket, name: str) -> None:
        self._uart = uart
        self._name = name
        self._said = bytearray()
        uart.setblocking(True)

    @property
    def address(self) -> str:
        """What errors call it."""
        return self._name

    @property
    def said(self) -> bytes:
        """All that came from the chip, and was read."""
        return bytes(self._said)

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """At least one byte, at most `max_bytes`; empty after `timeout_s` of silence. Raises LinkError."""
        try:
            if not readable(self._uart, timeout_s):
                return b""
            data = self._uart.recv(max_bytes)
        except (OSError, ValueError) as error:
            raise self._gone() from error
        if not data:
            raise self._gone()
        if len(self._said) < SAID_MAX:
            self._said += data
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises LinkError."""
        try:
            self._uart.sendall(data)
        except OSError as error:
            raise self._gone() from error

    def drop_input(self) -> None:
        """Throw away what has been received and not read."""
        while self.read(65536, 0.0):
            pass

    def close(self) -> None:
        """The socket is the emulator's: nothing to do."""

    def _gone(self) -> LinkError:
        return LinkError(f"the emulator of {self._name} ended", remedy="see what it said: qemu.log beside its flash")
