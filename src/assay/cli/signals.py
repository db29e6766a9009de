# SPDX-License-Identifier: Apache-2.0
"""Signals that ask a verb to end become an exception, so that it closes ports, locks and journals on its way out.

Guards: a signal that was ignored when we started (`nohup`, a background job) stays ignored; a second one after
`REPEAT_S` ends the process at once, should closing hang. Work that must not be torn holds signals back, and says when
one may come.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

from assay.errors import Interrupted
from assay.interfaces.held_signals import held

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

REPEAT_S = 1.0
"""Seconds in which further signals count as the same wish: a shell, a runner and a pipeline may each send one."""


def ignore_signals() -> None:
    """All is said and done: a signal that comes while Python tidies up would only spoil the exit status."""
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)


def raise_on_signals() -> None:
    """From now on a signal of `ENDING` raises `Interrupted` in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return
    first: list[float] = []

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (signature of handlers)
        now = time.monotonic()
        if not first:
            first.append(now)
            raise Interrupted(signal.Signals(number).name)
        if now - first[0] > REPEAT_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def signals_held() -> AbstractContextManager[None]:
    """Signals of `ENDING` wait until the block is left; processes and threads that begin in it hold them, too."""
    return held(ENDING)


@contextmanager
def signals_heeded() -> Iterator[None]:
    """Within `signals_held`: in this block a signal may come, also one that has waited. Raises `Interrupted`."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
