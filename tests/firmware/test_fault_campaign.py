# SPDX-License-Identifier: Apache-2.0
"""What a fault campaign tells while it runs, when it is stopped, and of an emulator that dies. No emulator here."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import fault_injection
import fault_workers
import pytest
from fault_bench import Boot, Fault, read_fault
from fault_injection import Trial, main
from fault_outcome import WINDOW_EVENT, DiedAfterwards, EmulatorDied, Outcome, judge_end, judge_end_without
from fault_tally import DIED_FREE, DIED_ONE_IN, Ledger
from fault_workers import Halt, Signals, Stopped, run_all

WAIT_S = 60.0  # for another thread of this test, on a busy machine
ONCE = Fault(0x104A0, bytes.fromhex("02f034fc"), 0x1061A, 2, 1)


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def ledger(heard: list[str] | None = None, clock: Callable[[], float] = time.monotonic) -> Ledger:
    """One of a campaign of flips."""
    return Ledger("ast1030-evb, zig, seed 7", ["flip"], (heard if heard is not None else []).append, clock)


def test_progress_says_how_far_and_how_fast() -> None:
    clock = Clock()
    book = ledger(clock=clock)
    book.offer(8814)
    for _ in range(90):
        book.note("flip", Outcome.RECOVERY, "main 0x10", "")
    book.note("flip", Outcome.RAN_BAD, "main 0x10", "")
    clock.now = 30.0
    assert book.progress() == "ast1030-evb, zig, seed 7: 91 of 8,814 faults, 1 fatal, 182 a minute"


def test_a_fatal_fault_is_told_at_once_and_in_the_table() -> None:
    heard: list[str] = []
    book = ledger(heard)
    book.note("flip", Outcome.RECOVERY, "main 0x10", "harmless")
    book.note("flip", Outcome.RAN_BAD, "main 0x10", "bad-signature in primary: main 0x10")
    assert heard == ["FATAL flip: bad-signature in primary: main 0x10 (ast1030-evb, zig, seed 7)"]
    assert "FATAL flip: bad-signature in primary: main 0x10\n" in book.table()
    assert "PARTIAL" not in book.table()


def test_an_emulator_that_died_has_a_column_and_is_named_in_the_last_line() -> None:
    book = ledger()
    book.offer(2)
    book.note("flip", Outcome.EMULATOR_DIED, "turn_read 0x2a", "somewhere: QEMU ended with SIGSEGV and said nothing")
    book.note("flip", Outcome.RECOVERY, "main 0x10", "")
    lines = book.table().splitlines()
    names, numbers = re.split("  +", lines[1]), lines[2].split()
    counts = dict(zip(names[1:], numbers[1:], strict=True))
    assert (counts["emulator died"], counts["recovery"]) == ("1", "1")
    assert lines[3] == "DIED flip: somewhere: QEMU ended with SIGSEGV and said nothing"
    assert lines[-1] == (
        "2 of 2 faults, 0 fatal, emulator died 1 times; of those that it died under nothing is known: turn_read 0x2a"
    )


def test_an_emulator_that_dies_too_often_is_an_error() -> None:
    """A few at the beginning may be; later it is one in so many."""
    book = ledger()
    for _ in range(DIED_FREE):
        book.note("flip", Outcome.EMULATOR_DIED, "main 0x10", "")
    with pytest.raises(EmulatorDied, match=f"died under {DIED_FREE + 1} of {DIED_FREE + 1} faults"):
        book.note("flip", Outcome.EMULATOR_DIED, "main 0x10", "")
    while book.count() < (DIED_FREE + 2) * DIED_ONE_IN:
        book.note("flip", Outcome.RECOVERY, "main 0x10", "")
    book.note("flip", Outcome.EMULATOR_DIED, "main 0x10", "")
    with pytest.raises(EmulatorDied):
        book.note("flip", Outcome.EMULATOR_DIED, "main 0x10", "")


@pytest.mark.parametrize("cause", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL])
def test_an_emulator_that_a_fault_kills(cause: signal.Signals) -> None:
    """Nothing is known of that fault; the campaign goes on."""
    assert judge_end(-cause, f"{WINDOW_EVENT} CS0" if cause is not signal.SIGFPE else "") is Outcome.EMULATOR_DIED


@pytest.mark.parametrize("said", ["", "qemu: fatal: Lockup: can't escalate 3 to HardFault", f"{WINDOW_EVENT} CS0"])
@pytest.mark.parametrize("status", [1, 0, -signal.SIGKILL, -signal.SIGTERM])
def test_an_emulator_that_ends_otherwise_ends_the_campaign(status: int, said: str) -> None:
    """It ended by its own will, or somebody else's: no fault did that."""
    with pytest.raises(EmulatorDied):
        judge_end(status, said)


def test_an_emulator_that_dies_without_a_fault() -> None:
    """It is an error, but for one that had carried a fault before."""
    assert type(judge_end_without(-signal.SIGSEGV, "", carried=False)) is EmulatorDied
    assert type(judge_end_without(-signal.SIGKILL, "", carried=True)) is EmulatorDied
    assert type(judge_end_without(1, "", carried=True)) is EmulatorDied
    assert type(judge_end_without(-signal.SIGSEGV, "", carried=True)) is DiedAfterwards


class Bench:
    """Gives one outcome after the other, and raises those that are errors."""

    def __init__(self, *ends: Outcome | Exception) -> None:
        self._ends = iter(ends)

    def boot(self, _fault: Fault) -> Boot:
        """The next."""
        end = next(self._ends)
        if isinstance(end, Exception):
            raise end
        return Boot(end, 0)


class Places:
    """Names for faults."""

    def at(self, fault: Fault) -> str:
        """By its address."""
        return hex(fault.address)

    describe = at


def trial(book: Ledger, *ends: Outcome | Exception) -> Trial:
    """Of flips, on that bench."""
    scene: Any = Places()
    bench: Any = Bench(*ends)
    return Trial(scene, "flip", book, bench)


def test_a_fault_that_the_emulator_did_not_outlive_is_no_survivor() -> None:
    """What was seen of it before is taken back; the next one is tried on a new emulator."""
    book = ledger()
    tries = trial(book, Outcome.RECOVERY, DiedAfterwards("no fault was set: SIGSEGV"), Outcome.HUNG)
    tries.attempt(ONCE)
    tries.attempt(Fault(0x20, b"\0\0"))
    assert book.tallies["flip"].tried == {Outcome.RECOVERY: 0, Outcome.EMULATOR_DIED: 1, Outcome.HUNG: 1}
    assert "DIED flip: 0x104a0, recovery, and before the next one: no fault was set: SIGSEGV" in book.table()


def test_a_fatal_fault_stays_fatal_whatever_the_emulator_does_afterwards() -> None:
    book = ledger()
    tries = trial(book, Outcome.RAN_BAD, DiedAfterwards(""), Outcome.RECOVERY)
    tries.attempt(ONCE)
    tries.attempt(ONCE)
    assert book.count(Outcome.RAN_BAD) == 1


def test_an_emulator_that_dies_twice_in_a_row_without_a_fault_is_an_error() -> None:
    tries = trial(ledger(), Outcome.RECOVERY, DiedAfterwards(""), EmulatorDied("again"))
    tries.attempt(ONCE)
    with pytest.raises(EmulatorDied, match="again"):
        tries.attempt(ONCE)


@pytest.mark.parametrize("fault", [ONCE, Fault(0x8000_1234, bytes(2), lasting=True)])
def test_a_fault_is_read_as_it_is_told(fault: Fault) -> None:
    assert read_fault(fault.spell()) == fault


@pytest.mark.parametrize("word", ["", "0x10", "0x10,00,0x0,0,1,often", "0x10,zz,0x0,0,1"])
def test_what_is_no_fault_is_refused(word: str) -> None:
    with pytest.raises(ValueError):
        read_fault(word)


class Waiting:
    """A board that boots until it is killed."""

    def __init__(self) -> None:
        self.booting, self.killed = threading.Event(), threading.Event()

    def kill(self) -> None:
        """Ends the boot."""
        self.killed.set()

    def boot(self) -> None:
        """Raises RuntimeError if nobody kills it."""
        self.booting.set()
        if not self.killed.wait(WAIT_S):
            raise RuntimeError("nobody killed it")


def test_an_error_of_one_part_ends_the_others_at_once() -> None:
    halt, board = Halt(), Waiting()

    def fails() -> None:
        assert board.booting.wait(WAIT_S)
        raise EmulatorDied("broken")

    def boots() -> None:
        with halt.reaches(board):
            board.boot()

    never: list[str] = []
    with pytest.raises(EmulatorDied, match="broken"):
        run_all([boots, fails, lambda: never.append("begun")], halt, lambda: None, WAIT_S)
    assert board.killed.is_set() and not never


def test_it_is_told_how_far_it_is_while_a_boot_lasts() -> None:
    board, told = Waiting(), threading.Event()

    def tell() -> None:
        told.set()
        board.kill()

    run_all([board.boot], Halt(), tell, 0.01)
    assert told.is_set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_campaign_that_is_stopped_tells_what_it_found(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 3, whatever it found; a second signal a moment later changes nothing."""
    monkeypatch.setattr(fault_injection, "campaign", two_faults_and(number))
    monkeypatch.setattr(fault_workers, "REPEAT_S", WAIT_S)
    with hearing(number):
        status = main(["--board", "ast1030-evb", "--seed", "7", "--way", "flip"])
    out, err = capsys.readouterr()
    assert status == 3
    assert f"PARTIAL (stopped by {number.name}): what is not counted here is not known" in out
    assert "FATAL flip: somewhere" in out
    assert out.splitlines()[-1] == f"PARTIAL (stopped by {number.name}): 2 of 9 faults, 1 fatal"
    assert "FATAL flip: somewhere (ast1030-evb, zig, seed 7)" in err


def two_faults_and(number: signal.Signals) -> Callable[..., None]:
    """A campaign to which two signals come when it has two faults of nine."""

    def campaign(_workshop: object, _given: object, _folder: object, book: Ledger) -> None:
        halt, board, told = Halt(), Waiting(), threading.Event()

        def work() -> None:
            assert told.wait(WAIT_S)  # so that the pool has this thread among those that it waits for
            book.offer(9)
            book.note("flip", Outcome.RECOVERY, "main 0x10", "")
            book.note("flip", Outcome.RAN_BAD, "main 0x10", "somewhere")
            os.kill(os.getpid(), number)
            with halt.reaches(board):
                board.boot()
            os.kill(os.getpid(), number)

        run_all([work], halt, told.set, 0.01)

    return campaign


class hearing:  # noqa: N801 (read as a word)
    """The signal is not ignored, as a runner in the background may have it, and afterwards is as before."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __enter__(self) -> None:
        self._before = signal.signal(self._number, signal.SIG_DFL)

    def __exit__(self, *_error: object) -> None:
        signal.signal(self._number, self._before)


def test_an_error_keeps_what_was_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def campaign(_workshop: object, _given: object, _folder: object, book: Ledger) -> None:
        book.offer(9)
        book.note("flip", Outcome.RAN_BAD, "main 0x10", "somewhere")
        raise EmulatorDied("QEMU ended with 1")

    monkeypatch.setattr(fault_injection, "campaign", campaign)
    assert main(["--board", "ast1030-evb", "--way", "flip"]) == 3
    assert capsys.readouterr().out.splitlines()[-1] == "PARTIAL (QEMU ended with 1): 1 of 9 faults, 1 fatal"


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_while_the_table_is_printed_does_not_spoil_it() -> None:
    with hearing(signal.SIGTERM), Signals() as signals:
        signals.ignore()
        os.kill(os.getpid(), signal.SIGTERM)
    with hearing(signal.SIGTERM), Signals(), pytest.raises(Stopped, match="stopped by SIGTERM"):
        os.kill(os.getpid(), signal.SIGTERM)
