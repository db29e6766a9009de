# SPDX-License-Identifier: Apache-2.0
"""Signals that ask a verb to end become an exception, so that it closes ports, locks and journals on its way out.

Guards: a signal that was ignored when we started (`nohup`, a background job) stays ignored; a second one after
`REPEAT_S` ends the process at once, should closing hang.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

from assay.errors import Interrupted

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
