# SPDX-License-Identifier: Apache-2.0
"""Who waits for a place, in the order of coming: a file beside the lock, read and written under a lock of its own.

Guards: a waiter that was killed is no longer in the line; one that is stopped lets the others pass, and keeps its
place; a file that a crash left in pieces is an empty line. Leaves to others: the lock itself (`file_lock`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.drivers.locks.ancestors import started
from assay.formats.visible_text import visible

STALE_S = 2.0
"""Seconds without a sign of life after which a waiter is passed; it shows itself each `SIGN_S`."""
SIGN_S = 0.2
LOOKS_MAX = 50
LOOK_S = 0.002
LINE_BYTES_MAX = 256 * 1024  # some hundred waiters


@dataclass(frozen=True)
class Waiter:
    """One who waits; `who` is for people."""

    ticket: str
    pid: int
    started: int
    who: str
    seen_s: float

    def is_alive(self) -> bool:
        """False when the process has ended, also when another has its id now."""
        return started(self.pid) == self.started

    def is_stale(self) -> bool:
        """True when it did not show itself: it is stopped, or the machine stands still."""
        return time.monotonic() - self.seen_s > STALE_S


class WaitingLine:
    """The line of one place; `open_file` opens its file, made if missing."""

    def __init__(self, path: Path, open_file: Callable[[Path], int]) -> None:
        self._path = path
        self._open = open_file
        self._shown_s = 0.0
        self._first = False

    def __len__(self) -> int:
        return len(self.waiters())

    def waiters(self) -> list[Waiter]:
        """Who waits now, the first one first. What is half written is looked at again, but not for ever: its writer may
        be stopped.
        """
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return []
        try:
            for _ in range(LOOKS_MAX):
                line = _parse(os.pread(file, LINE_BYTES_MAX, 0))
                if line is not None:
                    return [waiter for waiter in line if waiter.is_alive()]
                time.sleep(LOOK_S)  # half a file would look like an empty line, and let somebody pass
            return []
        finally:
            os.close(file)

    @contextlib.contextmanager
    def number(self, who: str) -> Iterator[Callable[[], bool]]:
        """Stand in the line while the block lasts; the function says whether it is our turn. What stands there for this
        process already is not before it.
        """
        pid = os.getpid()
        ticket = secrets.token_hex(8)

        def called() -> bool:
            now_s = time.monotonic()
            if not self._first and now_s - self._shown_s < SIGN_S / 10:
                return False
            mine = Waiter(ticket, pid, started(pid) or 0, who, now_s)
            with self._locked() as file:
                if file is not None:
                    line = [mine if other.ticket == ticket else other for other in self._living(file)]
                    line += [] if mine in line else [mine]
                    _write(file, line)
                    self._shown_s = now_s
                    ahead = line[: line.index(mine)]
                    self._first = all(other.pid == pid or other.is_stale() for other in ahead)
                    return self._first
            return False

        try:
            yield called
        finally:
            self._leave(ticket)

    def _leave(self, ticket: str) -> None:
        end_s = time.monotonic() + STALE_S
        while time.monotonic() < end_s:  # else the others see that we are gone
            with self._locked() as file:
                if file is not None:
                    _write(file, [other for other in self._living(file) if other.ticket != ticket])
                    return
            time.sleep(0.001)

    def _living(self, file: int) -> list[Waiter]:
        return [waiter for waiter in _parse(os.pread(file, LINE_BYTES_MAX, 0)) or [] if waiter.is_alive()]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int | None]:
        """The file, locked; None when somebody else has it this moment (or was stopped with it)."""
        file = self._open(self._path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file
        finally:
            os.close(file)


def _parse(raw: bytes) -> list[Waiter] | None:
    """None for what is no line: damaged, or half written."""
    try:
        return [_waiter(entry) for entry in json.loads(raw)] if raw else []
    except (ValueError, KeyError, TypeError):
        return None


def _waiter(entry: dict[str, Any]) -> Waiter:
    numbers = (int(entry["pid"]), int(entry["started"]))
    return Waiter(str(entry["ticket"]), *numbers, visible(str(entry["who"])), float(entry["seen_s"]))


def _write(file: int, line: list[Waiter]) -> None:
    """Never empty meanwhile: until the rest of a longer line is gone, the file is no line at all."""
    data = json.dumps([vars(waiter) for waiter in line]).encode()
    os.pwrite(file, data, 0)
    os.ftruncate(file, len(data))
