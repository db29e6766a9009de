# SPDX-License-Identifier: Apache-2.0
"""What can come of a boot with a fault, and what an emulator that ended says of it. No emulator is started here."""

from __future__ import annotations

import signal
from enum import Enum


class Outcome(Enum):
    """What came of one boot. `RAN_BAD` is the one that must not be."""

    RAN_BAD = "ran the bad image"
    RAN_GOOD = "ran the good image"
    RAN_OTHER = "ran something else"  # the bootloader's own image in the app's place, or what a fault wrote there
    RECOVERY = "recovery"
    HUNG = "hung"
    LOCKED_UP = "locked up"  # a fault in a fault handler: QEMU ends then
    NOT_EMULATED = "not emulated"  # what came of it, nobody knows: see CANNOT
    EMULATOR_DIED = "emulator died"  # what came of it, nobody knows: see OF_ITSELF
    MISSED = "not reached"


WINDOW_EVENT = "aspeed_smc_flash_set_segment"  # the window of a flash chip in memory is another one
# What QEMU may die of because of what the core did: its status, what it must have said since the reset, the outcome.
# It divides by the size of a window that a wild write has made empty; a chip would go on.
CANNOT = (
    (-signal.SIGABRT, "fatal: Lockup: ", Outcome.LOCKED_UP),
    (-signal.SIGFPE, WINDOW_EVENT, Outcome.NOT_EMULATED),
)
# Signals that a process brings on itself: a wild access that QEMU has no answer to. The others somebody sends, as the
# kernel does SIGKILL when memory is short: they say nothing of the fault.
OF_ITSELF = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
WORDS_MAX = 300  # characters of what QEMU said


class EmulatorDied(RuntimeError):
    """QEMU ended, and no fault can have been the cause, or it does so too often: nothing is known of the fault."""


class DiedAfterwards(EmulatorDied):
    """QEMU ended of itself before the next fault was set: one that it had carried before is the cause, if any."""


def ended_with(status: int, said: str) -> str:
    """The exit status and what was said since the reset, for a person."""
    how = signal.Signals(-status).name if status < 0 else str(status)
    return f"QEMU ended with {how} and said {said.strip()[:WORDS_MAX] or 'nothing'}"


def judge_end(status: int, said: str) -> Outcome:
    """Why QEMU ended under a fault, by its exit status and what it said since the reset. Raises EmulatorDied."""
    for cause, words, outcome in CANNOT:
        if status == cause and words in said:
            return outcome
    if -status in OF_ITSELF:
        return Outcome.EMULATOR_DIED
    raise EmulatorDied(ended_with(status, said))


def judge_end_without(status: int, said: str, carried: bool) -> EmulatorDied:
    """The same where no fault was set yet. `carried`: this QEMU has had one since it was started."""
    kind = DiedAfterwards if carried and -status in OF_ITSELF else EmulatorDied
    return kind(f"no fault was set: {ended_with(status, said)}")
