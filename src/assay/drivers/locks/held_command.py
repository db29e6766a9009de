# SPDX-License-Identifier: Apache-2.0
"""A command that runs while we hold a place: it goes when we go, and its end is ours.

Guards: killed or not, we leave no command behind that believes the place to be its own; the terminal's signals are for
the command. Leaves to others: the lock, which is ours and never inherited: a daemon that the command starts holds
nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from assay.errors import ToolMissing

_PDEATHSIG = 1  # PR_SET_PDEATHSIG, linux/prctl.h
SIGNAL_STATUS = 128  # a shell's status of a command that signal n ended is 128 + n
HANDED_ON = (signal.SIGTERM, signal.SIGHUP)


def run_held(words: Sequence[str], environment: dict[str, str]) -> int:
    """Run the command with our terminal, and give its status as a shell would. Raises ToolMissing."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    try:
        child = subprocess.Popen(list(words), env=environment, preexec_fn=_hangs_up_with(os.getpid(), prctl))
    except OSError as error:
        raise ToolMissing(f"cannot run {words[0]}: {error.strerror}", remedy="install it, or give its path") from error
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to both, and the command decides
    for number in HANDED_ON:
        signal.signal(number, lambda got, _frame: child.send_signal(got))
    status = child.wait()
    return status if status >= 0 else SIGNAL_STATUS - status


def _hangs_up_with(parent: int, prctl: Callable[[int, int], int]) -> Callable[[], None]:
    """For the child, before it becomes the command: SIGHUP when we are gone, as from a terminal that closes. A shell
    takes SIGTERM for a mistake and SIGHUP seriously.
    """

    def arrange() -> None:
        for number in (signal.SIGINT, *HANDED_ON):
            signal.signal(number, signal.SIG_DFL)
        if prctl(_PDEATHSIG, signal.SIGHUP) != 0 or os.getppid() != parent:
            os._exit(127)

    return arrange
