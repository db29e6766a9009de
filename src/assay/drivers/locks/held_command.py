# SPDX-License-Identifier: Apache-2.0
"""A command that runs while we hold a place: it goes when we go, with all that it started, and its end is ours.

Guards: killed or not, we leave nothing behind that believes the place to be its own; the terminal's signals are for the
command. Between us and the command stands a guard, forked from us: what the command's children leave behind becomes the
guard's, so that it finds everybody when we are killed, and it has the lock until they have gone.
Leaves to others: the lock, which the command never inherits: a daemon that it leaves behind holds nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from assay.drivers.locks.ancestors import descendants
from assay.errors import ToolMissing

_PDEATHSIG = 1  # PR_SET_PDEATHSIG, linux/prctl.h
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
SIGNAL_STATUS = 128  # a shell's status of a command that signal n ended is 128 + n
HANDED_ON = (signal.SIGTERM, signal.SIGHUP)
WITHOUT_US = signal.SIGUSR1  # what the guard gets from the kernel when we are gone
HANGUP_WAIT_S = 2.0
"""Seconds that who gets SIGHUP has to end; who ignores it goes on without the place."""
LOOK_S = 0.02


def run_held(words: Sequence[str], environment: dict[str, str]) -> int:
    """Run the command with our terminal, and give its status as a shell would. Raises ToolMissing."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    us = os.getpid()
    told, tell = os.pipe()
    guard = os.fork()
    if guard == 0:
        os.close(told)
        _guard(words, environment, us, tell, prctl)
    os.close(tell)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all, and the command decides
    for number in HANDED_ON:
        signal.signal(number, lambda got, _frame: os.kill(guard, got))
    with os.fdopen(told, "rb") as pipe:
        failed = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(guard, 0)[1])
    if failed:
        raise ToolMissing(f"cannot run {words[0]}: {failed}", remedy="install it, or give its path")
    return _as_shell(status)


def _guard(
    words: Sequence[str], environment: dict[str, str], us: int, tell: int, prctl: Callable[[int, int], int]
) -> NoReturn:
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(WITHOUT_US, lambda _got, _frame: _hang_up())
        if prctl(_SUBREAPER, 1) != 0 or prctl(_PDEATHSIG, WITHOUT_US) != 0 or os.getppid() != us:
            os._exit(127)
        try:
            child = subprocess.Popen(list(words), env=environment, preexec_fn=_hangs_up_with(os.getpid(), prctl))
        except OSError as error:
            os.write(tell, (error.strerror or "it does not start").encode())
            os._exit(127)
        for number in HANDED_ON:
            signal.signal(number, lambda got, _frame: _send(child.pid, signal.Signals(got)))
        os.close(tell)
        while True:
            ended, status = os.waitpid(-1, 0)
            if ended == child.pid:
                os._exit(_as_shell(os.waitstatus_to_exitcode(status)))
    finally:
        os._exit(127)


def _as_shell(status: int) -> int:
    return status if status >= 0 else SIGNAL_STATUS - status


def _hang_up() -> NoReturn:
    """For the guard, when we are gone: SIGHUP to everybody below, also to those who come meanwhile."""
    told: set[int] = set()
    end_s = time.monotonic() + HANGUP_WAIT_S
    while (below := descendants(os.getpid())) and time.monotonic() < end_s:
        for pid in set(below) - told:
            _send(pid, signal.SIGHUP)
            _send(pid, signal.SIGCONT)  # one that is stopped takes it when it goes on
        told |= set(below)
        time.sleep(LOOK_S)
    os._exit(SIGNAL_STATUS + signal.SIGHUP)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _hangs_up_with(parent: int, prctl: Callable[[int, int], int]) -> Callable[[], None]:
    """For the child, before it becomes the command: SIGHUP when the guard is gone, as from a terminal that closes. A
    shell takes SIGTERM for a mistake and SIGHUP seriously.
    """

    def arrange() -> None:
        for number in (signal.SIGINT, WITHOUT_US, *HANDED_ON):
            signal.signal(number, signal.SIG_DFL)
        if prctl(_PDEATHSIG, signal.SIGHUP) != 0 or os.getppid() != parent:
            os._exit(127)

    return arrange
