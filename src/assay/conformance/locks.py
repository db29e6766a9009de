# SPDX-License-Identifier: Apache-2.0
"""What locks on places have to do (`interfaces.lock.Locks`): `--assay-driver=module:function` gives them.

Other processes of this host are started by the same name, since a lock protects only if everybody takes the same one.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from assay.conformance.driver_choice import DriverChoice, choice_of
from assay.errors import PlaceBusy
from assay.interfaces.lock import Locks

PATIENCE_S = 30.0
HOLD = """
import importlib, sys, time
module, _, function = sys.argv[1].partition(":")
locks = getattr(importlib.import_module(module), function)()
held = locks.acquire(sys.argv[2], verb=sys.argv[3], place="conformance", wait_s=float(sys.argv[4]))
print("held", flush=True)
sys.stdin.readline()
held.release()
print("released", flush=True)
sys.stdin.readline()
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def choice(request: pytest.FixtureRequest) -> DriverChoice:
    """The locks under test."""
    return choice_of(request.config)


@pytest.fixture
def locks(choice: DriverChoice) -> Locks:
    """The locks of this host."""
    assert choice.function is not None, "name the locks as module:function"
    return choice.function()  # type: ignore[no-any-return]


@pytest.fixture
def port() -> str:
    """A port that nobody else uses."""
    return f"/dev/assay-conformance-{secrets.token_hex(8)}"


@pytest.fixture
def other(choice: DriverChoice, port: str) -> Iterator[Start]:
    """Starts another process that takes the place, and holds it until a line comes; it is no relative's lender."""
    started: list[subprocess.Popen[str]] = []

    def start(verb: str = "flash", wait_s: float = 0.0) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, choice.name, port, verb, str(wait_s)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def says(process: subprocess.Popen[str]) -> str:
    """Its next line; empty when it ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    """Let it go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_free_place_has_no_holder(locks: Locks, port: str) -> None:
    """Also after it was used."""
    assert locks.holder(port) is None
    locks.acquire(port, verb="test").release()
    assert locks.holder(port) is None


def test_the_holder_is_named(locks: Locks, port: str, other: Start) -> None:
    """Process, verb and place; and the one that is refused reads it."""
    process = other("provision")
    assert says(process) == "held"
    holder = locks.holder(port)
    assert holder is not None
    assert (holder.pid, holder.verb, holder.place) == (process.pid, "provision", "conformance")
    with pytest.raises(PlaceBusy) as told:
        locks.acquire(port, verb="flash")
    assert str(process.pid) in told.value.message and "provision" in told.value.message


def test_a_place_that_was_given_back_is_free(locks: Locks, port: str, other: Start) -> None:
    """While its last holder still lives."""
    process = other()
    assert says(process) == "held"
    tell(process)
    assert says(process) == "released"
    with locks.acquire(port, verb="test") as held:
        assert held.holder.pid == os.getpid()


def test_giving_back_twice_is_once(locks: Locks, port: str, other: Start) -> None:
    """The second time takes nothing from who has it since."""
    held = locks.acquire(port, verb="test")
    held.release()
    process = other()
    assert says(process) == "held"
    held.release()
    assert locks.holder(port) is not None


def test_a_killed_holder_holds_nothing(locks: Locks, port: str, other: Start) -> None:
    """SIGKILL, and nobody took note of its end."""
    process = other()
    assert says(process) == "held"
    process.kill()
    with locks.acquire(port, verb="test", wait_s=PATIENCE_S):
        pass


def test_waiting_ends_when_the_place_is_free(locks: Locks, port: str, other: Start) -> None:
    """`wait_s` is a bound and no delay."""
    process = other()
    assert says(process) == "held"
    tell(process)
    began_s = time.monotonic()
    locks.acquire(port, verb="test", wait_s=PATIENCE_S).release()
    assert time.monotonic() - began_s < PATIENCE_S / 2


def test_waiting_ends_when_its_time_is_over(locks: Locks, port: str, other: Start) -> None:
    """Not before, and with the holder's name."""
    process = other()
    assert says(process) == "held"
    began_s = time.monotonic()
    with pytest.raises(PlaceBusy, match=str(process.pid)):
        locks.acquire(port, verb="test", wait_s=0.5)
    assert 0.5 <= time.monotonic() - began_s < PATIENCE_S


def test_a_child_shares_its_parents_place(locks: Locks, port: str, other: Start) -> None:
    """And gives it back without taking it from the parent."""
    with locks.acquire(port, verb="test"):
        child = other()
        assert says(child) == "held"
        tell(child)
        assert says(child) == "released"
        holder = locks.holder(port)
        assert holder is not None and holder.pid == os.getpid()


def test_other_places_are_not_in_the_way(locks: Locks, port: str, other: Start) -> None:
    """One lock for each place."""
    process = other()
    assert says(process) == "held"
    with locks.acquire(f"{port}-2", verb="test"):
        pass
