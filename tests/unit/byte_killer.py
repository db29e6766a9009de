# SPDX-License-Identifier: Apache-2.0
"""Kills whoever transfers something over HTTP, after a number of bytes that is chosen."""

from __future__ import annotations

import http.client
from collections.abc import Callable

import pytest

from assay.backends.paced_answer import _PacedReader

NEVER = 10**12


class Killed(BaseException):
    """The process is gone."""


class Killer:
    """Kills whoever talks to a registry after `left` bytes, sent and received; with as many as at first, nobody."""

    def __init__(self) -> None:
        self.left = NEVER

    def reading(self, read: Callable[..., int | None]) -> Callable[..., int | None]:
        def readinto(reader: _PacedReader, buffer: memoryview) -> int | None:
            if self.left <= 0:
                raise Killed
            view = memoryview(buffer)
            count = read(reader, view[: min(len(view), self.left)])
            self.left -= count or 0
            return count

        return readinto

    def sending(self, send: Callable[..., None]) -> Callable[..., None]:
        def sends(connection: http.client.HTTPConnection, data: bytes) -> None:
            piece = data[: self.left]
            self.left -= len(piece)
            send(connection, piece)
            if len(piece) < len(data):
                raise Killed

        return sends


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Killer:
    found = Killer()
    monkeypatch.setattr(_PacedReader, "readinto", found.reading(_PacedReader.readinto))
    monkeypatch.setattr(http.client.HTTPConnection, "send", found.sending(http.client.HTTPConnection.send))
    return found
