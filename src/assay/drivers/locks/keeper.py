# SPDX-License-Identifier: Apache-2.0
"""The keeper of a lasting lock: a process of its own that holds a place for another one, which may be a shell.

Guards: the place is free when the process that it is held for ends, when its time is over, when it is given back, or
when the keeper is killed; a process id that somebody else has by now is not waited for.
"""

from __future__ import annotations

import os
import select
import signal
from typing import NoReturn

from assay.drivers.locks.ancestors import started
from assay.drivers.locks.file_lock import FileLock
from assay.errors import StorageError


def start_keeper(lock: FileLock, bound_to: int, limit_s: float | None) -> int:
    """Fork a keeper that holds `lock` for process `bound_to`, at most `limit_s` seconds; its process id.

    Raises StorageError when it did not come up, and the place is free then.
    """
    ticks = started(bound_to)
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _keep(lock, bound_to, ticks, limit_s, theirs)
    os.close(theirs)
    up = os.read(ours, 1)
    os.close(ours)
    lock.release()  # the keeper's copy holds it
    if not up:
        raise StorageError("the keeper of the lock did not come up", remedy="look whether the disk is full")
    return pid


def _keep(lock: FileLock, bound_to: int, ticks: int | None, limit_s: float | None, ready: int) -> NoReturn:
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda _got, _frame: os._exit(0))
        holder = os.pidfd_open(bound_to)
        if ticks is None or started(bound_to) != ticks:
            os._exit(1)
        lock.keep()
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):  # a shell that reads our output does not wait for the keeper
            os.dup2(null, standard)
        os.write(ready, b"1")
        os.close(ready)
        poll = select.poll()
        poll.register(holder, select.POLLIN)
        poll.poll(None if limit_s is None else limit_s * 1000)
    finally:
        os._exit(0)
