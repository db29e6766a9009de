# SPDX-License-Identifier: Apache-2.0
"""The verdict over a suite: whatever contradicts itself, or is missing, is never PASS."""

from __future__ import annotations

import pytest

from assay.errors import (
    DeviceTimeout,
    InfrastructureError,
    LinkError,
    PlaceBusy,
    StorageError,
    UnitFailed,
    UsageFault,
    WrongBoard,
    at_layer,
)
from assay.model.outcome import Outcome
from assay.model.verdict import CaseResult, SkippedCase, SuiteRun
from assay.stages.hil.events import (
    Aborted,
    CaseEnded,
    CaseSkipped,
    CaseStarted,
    Collected,
    CollectFailed,
    Event,
    SessionFinished,
    SessionStarted,
    decode_events,
    encode_event,
)
from assay.stages.hil.faults import judge_exception
from assay.stages.hil.verdict import judge_run

AT = "2026-11-23T10:00:00.000Z"


def case(name: str, outcome: Outcome = Outcome.PASS, **more: object) -> CaseEnded:
    return CaseEnded(case=CaseResult(name=name, outcome=outcome, started=AT, duration_s=0.1, **more))  # type: ignore[arg-type]


def started(name: str, attempt: int = 1) -> CaseStarted:
    return CaseStarted(name=name, attempt=attempt, at=AT)


def session(*events: Event, names: tuple[str, ...] = ("a", "b"), end: int | None = 0) -> list[Event]:
    begin = [SessionStarted(worker="main", suite="s", at=AT), Collected(cases=names)]
    finish = [] if end is None else [SessionFinished(worker="main", exit_status=end, at=AT)]
    return [*begin, *events, *finish]


def judge(events: list[Event], exit_status: int | None = 0) -> SuiteRun:
    return judge_run("s", events, exit_status=exit_status, started=AT, finished=AT)


def test_all_passed() -> None:
    run = judge(session(case("a"), case("b")))
    assert (run.outcome, run.reason) == (Outcome.PASS, "")


def test_some_skipped_is_pass_and_says_so() -> None:
    run = judge(session(case("a"), CaseSkipped(case=SkippedCase(name="b", reason="no camera"))))
    assert run.outcome is Outcome.PASS
    assert run.skipped[0].reason == "no camera"


@pytest.mark.parametrize(
    ("events", "exit_status", "outcome", "reason"),
    [
        (session(case("a"), case("b", Outcome.FAIL), end=0), 0, Outcome.FAIL, "b"),
        (session(case("a")), 0, Outcome.ERROR, "1 of 2 tests were never run: b"),
        (session(case("a"), started("b"), end=None), -9, Outcome.ERROR, "the test process ended while this test ran"),
        (session(case("a"), case("b"), end=None), 0, Outcome.ERROR, "ended before pytest did"),
        (session(case("a"), case("b"), end=0), -11, Outcome.ERROR, "killed by signal 11"),
        (session(case("a"), case("b"), end=1), 1, Outcome.ERROR, "no test does"),
        (session(case("a"), case("b"), end=2), 2, Outcome.ERROR, "interrupted"),
        (session(case("a"), case("b"), end=3), 3, Outcome.ERROR, "internally"),
        (session(case("a"), case("b"), end=4), 4, Outcome.ERROR, "wrongly"),
        (session(names=(), end=5), 5, Outcome.ERROR, "no tests"),
        (session(names=(), end=0), 0, Outcome.ERROR, "no tests"),
        (session(case("a"), case("b"), end=77), 77, Outcome.ERROR, "status 77"),
        ([], 0, Outcome.ERROR, "before it began"),
        (
            session(*(CaseSkipped(case=SkippedCase(name=name, reason="no place")) for name in "ab")),
            0,
            Outcome.ERROR,
            "all 2 tests were skipped: no place",
        ),
        (
            session(CollectFailed(name="test_x.py", message="SyntaxError"), case("a"), case("b")),
            0,
            Outcome.ERROR,
            "SyntaxError",
        ),
        (session(case("a"), started("b"), Aborted(reason="SIGTERM", at=AT), end=2), 2, Outcome.ABORTED, "SIGTERM"),
    ],
)
def test_what_is_not_pass(events: list[Event], exit_status: int, outcome: Outcome, reason: str) -> None:
    run = judge(events, exit_status)
    assert run.outcome is outcome
    assert reason in run.reason


def test_the_gravest_case_stands_for_all() -> None:
    faults = [
        case("a", Outcome.TIMEOUT, layer="link", device_answers=True),
        case("b", Outcome.FAIL, message="too slow"),
        case("c", Outcome.TIMEOUT, layer="link"),
        case("d", Outcome.ERROR, layer="power", message="the switch is stuck\nmore"),
    ]
    found = [judge(session(*faults[:count], names=tuple("abcd")[:count], end=1), 1) for count in (1, 2, 3, 4)]
    assert [run.outcome for run in found] == [Outcome.TIMEOUT, Outcome.FAIL, Outcome.TIMEOUT, Outcome.ERROR]
    assert [run.device_answers for run in found] == [True, True, False, False]
    assert found[3].reason == "d [power]: the switch is stuck"


def test_a_second_attempt_does_not_hide_the_first() -> None:
    run = judge(session(case("a", Outcome.FAIL), case("a", attempt=2), case("b")), 0)
    assert run.outcome is Outcome.FAIL
    assert [result.attempt for result in run.cases if result.name == "a"] == [1, 2]


def test_a_torn_last_line_is_dropped_and_a_broken_one_is_not() -> None:
    lines = encode_event(case("a")) + encode_event(case("b"))
    assert decode_events(lines[:-3], "x") == [case("a")]
    with pytest.raises(InfrastructureError, match="x:1: not an event"):
        decode_events(b'{"event": "case"}\n', "x")
    with pytest.raises(InfrastructureError, match="x:2"):
        decode_events(encode_event(case("a")) + b"hello\n", "x")


@pytest.mark.parametrize(
    ("error", "phase", "outcome", "layer"),
    [
        (AssertionError("3 == 4"), "call", Outcome.FAIL, None),
        (UnitFailed("self-test", remedy=""), "call", Outcome.FAIL, None),
        (AssertionError("fixture"), "setup", Outcome.ERROR, "suite"),
        (DeviceTimeout("no line", remedy=""), "call", Outcome.TIMEOUT, "link"),
        (DeviceTimeout("no line", remedy=""), "setup", Outcome.ERROR, "link"),
        (LinkError("gone", remedy=""), "call", Outcome.ERROR, "link"),
        (PlaceBusy("busy", remedy=""), "setup", Outcome.ERROR, "port"),
        (WrongBoard("other", remedy=""), "setup", Outcome.ERROR, "port"),
        (StorageError("full", remedy=""), "teardown", Outcome.ERROR, "host"),
        (OSError(28, "No space left"), "call", Outcome.ERROR, "host"),
        (UsageFault("unit", remedy=""), "call", Outcome.ERROR, "host"),
        (NameError("x"), "call", Outcome.ERROR, "suite"),
        (KeyboardInterrupt(), "call", Outcome.ABORTED, None),
    ],
)
def test_what_an_exception_says(error: BaseException, phase: str, outcome: Outcome, layer: str | None) -> None:
    fault = judge_exception(error, phase)  # type: ignore[arg-type]
    assert (fault.outcome, fault.layer) == (outcome, layer)
    assert fault.message


def test_the_innermost_layer_is_blamed() -> None:
    with pytest.raises(LinkError) as caught, at_layer("host"), at_layer("power"):
        raise LinkError("the switch does not answer", remedy="")
    assert judge_exception(caught.value, "call").layer == "power"
