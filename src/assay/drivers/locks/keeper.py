# SPDX-License-Identifier: Apache-2.0
"""The keeper of a lasting lock: a process of its own that holds a place for another one, which may be a shell.

Guards: the place is free when the process that it is held for ends, when its time is over, when it is given back, or
when the keeper is killed; a process id that somebody else has by now is not waited for.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import NoReturn

from assay.drivers.locks.ancestors import started
from assay.drivers.locks.file_lock import HeldDoors
from assay.errors import StorageError, UsageFault

UP, ENDED = b"1", b"0"
POLL_MAX_S = 3600.0
"""poll(2) takes milliseconds in 31 bits: 596 hours."""


def start_keeper(lock: HeldDoors, bound_to: int, limit_s: float | None) -> int:
    """Fork a keeper that holds `lock` for process `bound_to`, at most `limit_s` seconds; its process id.

    Raises UsageFault when that process has ended, StorageError when the keeper did not come up; the place is free then.
    """
    ticks = started(bound_to)
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _keep(lock, bound_to, ticks, limit_s, theirs)
    os.close(theirs)
    up = os.read(ours, 1)
    os.close(ours)
    if up == UP:
        lock.hand_over()
        return pid
    lock.release()
    if up == ENDED:
        raise UsageFault(
            f"process {bound_to} has ended: nothing is held for it", remedy="name one that runs with --pid"
        )
    raise StorageError("the keeper of the lock did not come up", remedy="look whether the disk is full")


def _keep(lock: HeldDoors, bound_to: int, ticks: int | None, limit_s: float | None, ready: int) -> NoReturn:
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda _got, _frame: os._exit(0))
        try:
            holder = os.pidfd_open(bound_to)
        except ProcessLookupError:
            ticks = None
        if ticks is None or started(bound_to) != ticks:
            os.write(ready, ENDED)
            os._exit(1)
        lock.keep()
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):  # a shell that reads our output does not wait for the keeper
            os.dup2(null, standard)
        os.write(ready, UP)
        os.close(ready)
        _wait_for_end(holder, limit_s)
    finally:
        os._exit(0)


def _wait_for_end(process: int, limit_s: float | None) -> None:
    """Until the process of that pidfd has ended, at most `limit_s` seconds."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    end_s = None if limit_s is None else time.monotonic() + limit_s
    while True:
        left_s = POLL_MAX_S if end_s is None else end_s - time.monotonic()
        if left_s <= 0 or poll.poll(min(left_s, POLL_MAX_S) * 1000):
            return
