# SPDX-License-Identifier: Apache-2.0
"""Runs the parts of a fault campaign beside each other, says how far they are, and ends them when somebody asks.

A signal raises `Stopped` in the main thread; the emulators are killed then, so that no worker waits for a boot. A
signal that was ignored when we started (`nohup`) stays ignored. A second one after a while ends the process at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Protocol

WORKERS = 2
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REPEAT_S = 10.0  # in which further signals are the same wish; until then the table is there


class Stopped(KeyboardInterrupt):
    """Somebody asked for the end."""


class Killable(Protocol):
    """A board, as far as it must be ended."""

    def kill(self) -> None:
        """Ends its emulator, also while another thread waits for it."""


class Halt:
    """Asked of all workers: to leave off at once."""

    def __init__(self) -> None:
        self.asked = False
        self._lock = threading.Lock()
        self._boards: list[Killable] = []

    @contextmanager
    def reaches(self, board: Killable) -> Iterator[None]:
        """This board is killed if it is asked for meanwhile."""
        with self._lock:
            self._boards.append(board)
        try:
            yield
        finally:
            with self._lock:
                self._boards.remove(board)

    def ask(self) -> None:
        """From now on."""
        self.asked = True
        with self._lock:
            for board in self._boards:
                board.kill()


class Signals:
    """While it is entered, the first signal of ENDING raises `Stopped`, unless `ignore` came first."""

    def __init__(self) -> None:
        self._heard_s: float | None = None
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Signals:
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ignore(self) -> None:
        """What was found is going to be told: a signal that comes now would spoil that."""
        self._heard_s = time.monotonic()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._heard_s is None:
            self._heard_s = now
            raise Stopped(f"stopped by {signal.Signals(number).name}")
        if now - self._heard_s > REPEAT_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def run_all(jobs: list[Callable[[], None]], halt: Halt, tell: Callable[[], None], every_s: float) -> None:
    """All jobs, and every so often `tell`. What one of them raises, or a signal, ends the others."""
    pool = ThreadPoolExecutor(WORKERS)
    try:
        pending = {pool.submit(job) for job in jobs}
        while pending:
            done, pending = wait(pending, every_s, FIRST_EXCEPTION)
            for future in done:
                future.result()
            if pending:
                tell()
    except BaseException:
        halt.ask()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
