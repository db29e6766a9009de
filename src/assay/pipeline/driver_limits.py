# SPDX-License-Identifier: Apache-2.0
"""A limit for each call into somebody's driver, whose code may never come back.

Guards: the call is interrupted in the main thread, where whoever used the driver closes ports, journal and place as
after any error; a call that cannot be interrupted (a library that waits on and on) ends the process, whose locks go
with it, and whose run the next verb finds in the journal. Leaves to others: whose fault it is (`driver_faults`); calls
from other threads, which cannot be interrupted, and have no limit.

Python runs the handler of a signal between two steps of the main thread, and a system call that a signal interrupts is
such a step; so the watching thread does nothing but send one.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType

from assay.errors import AssayError
from assay.interfaces import last_words

SIGNAL = signal.SIGRTMIN + 7
"""None that tools, test runners or C libraries use."""
AGAIN_S = 0.5
"""A driver that swallows what interrupts it is interrupted again."""
GRACE_S = 10.0
"""Seconds from the first interruption until the process is ended."""


class NotBack(BaseException):
    """The call is over its limit. No `Exception`: a driver that catches those is not to go on with the next try."""


class Limit:
    """`with Limit(60.0, error):` in the main thread; raises `NotBack` when the time is over, and ends the process with
    `error()` when that does not help. `more` begins the time anew. Calls may be nested; the innermost one counts.
    """

    _watching: threading.Thread | None = None
    _now: Limit | None = None

    def __init__(self, limit_s: float, error: Callable[[], AssayError]) -> None:
        self._limit_s, self._error = limit_s, error
        self._outer: Limit | None = None
        self._counts = threading.current_thread() is threading.main_thread()
        self.end_s = 0.0

    def more(self) -> None:
        """The call shows that it is alive."""
        self.end_s = time.monotonic() + self._limit_s

    def __enter__(self) -> Limit:
        self.more()
        if self._counts:
            if Limit._watching is None or not Limit._watching.is_alive():  # or we are a child of who had one
                signal.signal(SIGNAL, _interrupt)
                Limit._watching = threading.Thread(target=_watch, name="driver limits", daemon=True)
                Limit._watching.start()
            self._outer, Limit._now = Limit._now, self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._counts:
            Limit._now = self._outer

    def give_up(self) -> None:
        """End this process, in whose main thread nothing runs any more."""
        error = self._error()
        try:
            last_words.tell(error)
            sys.stdout.flush()
        finally:
            os._exit(error.status)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    limit = Limit._now
    if limit is not None and time.monotonic() > limit.end_s:
        raise NotBack


def _watch() -> None:
    main = threading.main_thread().ident
    assert main is not None
    while True:
        time.sleep(AGAIN_S)
        limit = Limit._now
        late_s = time.monotonic() - limit.end_s if limit is not None else -1.0
        if limit is not None and late_s > GRACE_S:
            limit.give_up()
        if late_s > 0:
            signal.pthread_kill(main, SIGNAL)
