# SPDX-License-Identifier: Apache-2.0
"""The port of a twin: a pseudo-terminal whose path stays the same for as long as the twin exists.

Guards: the other side is raw, so that no byte is changed or echoed; it stays open, so that no byte is lost when a
program closes the port and another opens it.
"""

from __future__ import annotations

import contextlib
import os
import tty
from pathlib import Path


class Terminal:
    """A pseudo-terminal; `link` is a symbolic link to its other side. Raises OSError when the system has none left."""

    def __init__(self, link: Path) -> None:
        self._link = link
        self._master = self._slave = -1
        self.device = ""
        self.plug()

    @property
    def plugged(self) -> bool:
        """False while the port is away."""
        return self._master >= 0

    def plug(self) -> None:
        """Make the port; it may be another terminal than before, behind the same link."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.device = os.ttyname(self._slave)
        fresh = self._link.with_name(f".{self._link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.device)
        fresh.replace(self._link)

    def unplug(self) -> None:
        """Take the port away, the link too if it is still ours: who has it open finds it broken."""
        if not self.plugged:
            return
        with contextlib.suppress(OSError):
            if str(self._link.readlink()) == self.device:
                self._link.unlink()
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def fileno(self) -> int:
        """For select."""
        return self._master

    def read(self, size: int) -> bytes:
        """What a program wrote to the port, at most `size` bytes; empty when there is nothing."""
        try:
            return os.read(self._master, size)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> int:
        """Hand `data` to the port; gives how much of it the port took."""
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Take the port away for good."""
        self.unplug()
