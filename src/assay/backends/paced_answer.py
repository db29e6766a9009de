# SPDX-License-Identifier: Apache-2.0
"""Answers of an HTTP server that have an end: a server that drips is given up like one that is silent.

Guards: every byte of an answer counts, those of its headers too, so that no server keeps us for longer than its bytes
allow; what comes before the body is bounded, however often it says "100 Continue".
Leaves to others: how long a body may be, what is asked, and what it means to the user.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from socket import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HEAD_BYTES_MAX = 256 * 1024
"""Bytes before the body: a hundred long headers."""


class TooSlow(OSError):
    """The server gives less than the pace."""


@dataclass(frozen=True)
class Pace:
    """How slow a server may be: `grace_s` for nothing at all, and one second more for each `slowest_bytes_s`."""

    grace_s: float
    slowest_bytes_s: float
    clock: Callable[[], float] = time.monotonic

    def answers(self, sock: socket, *args: Any, **more: Any) -> HTTPResponse:
        """What `http.client.HTTPConnection.response_class` is to be."""
        return PacedResponse(self, sock, *args, **more)


class PacedResponse(HTTPResponse):
    """An answer that keeps to a pace. Reading raises `TooSlow`, `HTTPException` and what sockets raise."""

    def __init__(self, pace: Pace, sock: socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        assert isinstance(self.fp, io.BufferedReader)
        self._raw = _PacedReader(pace, self.fp.detach())
        self.fp = io.BufferedReader(self._raw)

    def begin(self) -> None:
        """Status and headers."""
        super().begin()
        self._raw.in_head = False


class _PacedReader(io.RawIOBase):
    """The bytes of `inner`, as long as they come at the pace."""

    def __init__(self, pace: Pace, inner: io.RawIOBase) -> None:
        self._pace = pace
        self._inner = inner
        self._begun_s = pace.clock()
        self._count = 0
        self.in_head = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        count = self._inner.readinto(buffer)
        self._count += count or 0
        late_s = self._pace.clock() - self._begun_s
        if late_s > self._pace.grace_s + self._count / self._pace.slowest_bytes_s:
            raise TooSlow(f"{self._count} bytes in {late_s:.0f} s")
        if self.in_head and self._count > HEAD_BYTES_MAX:
            raise HTTPException(f"more than {HEAD_BYTES_MAX} bytes before the body")
        return count

    def close(self) -> None:
        self._inner.close()
        super().close()
