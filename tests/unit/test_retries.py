# SPDX-License-Identifier: Apache-2.0
"""Tests that are tried again, on a fake bench: what is declared, what is tried, from which power state, what counts.

`fake_bench.DEVICE` falls silent, and a power cycle mends it: what a retry from a known power state is for.
"""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from plugin_bench import Bench, bench

from assay.errors import InfrastructureError, LinkError, PlaceBusy, at_layer
from assay.model.attempts import RetryRule, counted, flaky
from assay.model.outcome import Outcome
from assay.model.verdict import CaseResult
from assay.stages.hil.events import CaseEnded, CaseStarted, Collected, Event, SessionFinished, SessionStarted
from assay.stages.hil.verdict import judge_run

__all__ = ["bench"]

NOW = "2026-11-26T00:00:00Z"
TRIES = """
from pathlib import Path
def attempt(name):
    path = Path(name + ".tries")
    number = len(path.read_text()) + 1 if path.exists() else 1
    path.write_text("x" * number)
    return number
"""
FLAKY = (
    TRIES
    + """
@pytest.mark.retry(attempts=3, counts="last")
def test_it(unit):
    if attempt("it") == 1:
        raise LinkError("the line broke", remedy="look at it")
def test_other(unit): pass
"""
)


def attempts(bench: Bench) -> list[tuple[str, int, str]]:
    return [(case.name.rpartition("::")[2], case.attempt, case.outcome.value) for case in bench.verdict.cases]


def test_an_error_is_tried_again_and_the_attempts_stand_in_every_report(bench: Bench) -> None:
    bench.write(FLAKY)
    assert bench.run() == 0, bench.output
    assert attempts(bench) == [("test_it", 1, "ERROR"), ("test_it", 2, "PASS"), ("test_other", 1, "PASS")]
    assert (bench.verdict.outcome, bench.verdict.layer) == (Outcome.PASS, None)
    assert [rule.attempts for rule in bench.verdict.retries.values()] == [3]
    suite = ET.parse(bench.results / "junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "0")
    (earlier,) = suite.iter("flakyError")
    assert (earlier.get("type"), earlier.get("message")) == ("ERROR (link)", "attempt 1: the line broke (look at it)")
    report = json.loads((bench.results / "openhtf.json").read_bytes())
    results = [phase["result"] for phase in report["phases"]]
    assert [(result["attempt"], result["phase_result"]) for result in results] == [
        (1, "REPEAT"),
        (2, "CONTINUE"),
        (1, "CONTINUE"),
    ]
    assert report["metadata"]["assay"]["flaky"] == ["test_it.py::test_it"]


def test_every_attempt_counts_unless_the_rule_says_otherwise(bench: Bench) -> None:
    bench.write(FLAKY.replace(', counts="last"', ""))
    assert bench.run() == 1
    assert attempts(bench)[:2] == [("test_it", 1, "ERROR"), ("test_it", 2, "PASS")]
    assert (bench.verdict.outcome, bench.verdict.layer) == (Outcome.ERROR, "link")


@pytest.mark.parametrize(("on", "tries"), [("error", 1), ("any", 3)])
def test_a_fail_is_tried_again_only_when_the_rule_says_so(bench: Bench, on: str, tries: int) -> None:
    bench.write(f"""
@pytest.mark.retry(attempts=3, counts="last", on={on!r})
def test_it(unit): assert False, "the unit is bad"
""")
    assert bench.run() == 1
    assert (len(attempts(bench)), bench.verdict.outcome) == (tries, Outcome.FAIL)
    suite = ET.parse(bench.results / "junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1") and len(
        list(suite.iter("rerunFailure"))
    ) == tries - 1


@pytest.mark.parametrize("how", ["cycle", "cut", "as-is"])
def test_a_silent_device_is_tried_again_from_a_known_power_state(bench: Bench, how: str) -> None:
    bench.write(f"""
device = fake_bench.DEVICE
on = fake_bench.FakePower.on
def mend(self):
    device.silent = False
    on(self)
fake_bench.FakePower.on = mend
@pytest.mark.retry(attempts=2, counts="last", from_power={how!r}, off_s=0.01)
def test_it(unit, smp):
    if not device.console or "boot" not in device.console[-1]:
        device.silent = device.chip != b""
        device.chip_was_asked = True
    if getattr(fake_bench, "again", False):
        device.silent = False
    fake_bench.again = True
    smp.echo("hello")
""")
    status = bench.run()
    assert status == (1 if how == "as-is" else 0), bench.output
    assert [outcome for _, _, outcome in attempts(bench)] == ["TIMEOUT", "TIMEOUT" if how == "as-is" else "PASS"] or (
        how == "as-is" and attempts(bench)[1][2] == "ERROR"
    )


def test_a_place_without_a_switch_cannot_be_brought_to_a_power_state(bench: Bench) -> None:
    bench.write("""
import assay.pipeline.test_place as places
real = places.open_bench_place
import contextlib
@contextlib.contextmanager
def without(wish, worker):
    with real(wish, worker) as place:
        place.power = None
        yield place
places.open_bench_place = without
@pytest.mark.retry(attempts=2, from_power="cycle")
def test_it(unit): raise LinkError("the line broke", remedy="look")
""")
    assert bench.run() == 1
    again = bench.verdict.cases[1]
    assert (again.attempt, again.layer) == (2, "power") and "no power switch" in again.message


GROUP = (
    TRIES
    + """
made = []
@pytest.fixture(scope="class")
def session_of_class():
    made.append(1)
    yield len(made)
@pytest.mark.retry(attempts=2, counts="last", group="boot", from_power="cycle")
class TestBoot:
    def test_first(self, unit, session_of_class): assert session_of_class == attempt("first")
    def test_second(self, unit):
        if attempt("second") == 1: raise LinkError("the line broke", remedy="look")
    def test_third(self, unit): attempt("third")
def test_after(unit): pass
"""
)


def test_a_group_is_tried_again_from_its_first_step(bench: Bench) -> None:
    bench.write(GROUP)
    assert bench.run() == 0, bench.output
    assert attempts(bench) == [
        ("test_first", 1, "PASS"),
        ("test_second", 1, "ERROR"),
        ("test_first", 2, "PASS"),
        ("test_second", 2, "PASS"),
        ("test_third", 2, "PASS"),
        ("test_after", 1, "PASS"),
    ]
    assert bench.verdict.outcome is Outcome.PASS


def test_a_test_is_tried_again_in_a_worker(bench: Bench) -> None:
    bench.write(FLAKY)
    assert bench.run("-n", "1") == 0, bench.output
    assert attempts(bench)[:2] == [("test_it", 1, "ERROR"), ("test_it", 2, "PASS")]


def test_a_group_is_never_shared_out(bench: Bench) -> None:
    bench.write(GROUP)
    assert bench.run("-n", "2") != 0
    assert "without -n" in bench.output and bench.verdict.outcome is not Outcome.PASS


def test_a_wider_fixture_that_fails_at_the_end_is_not_swallowed(bench: Bench) -> None:
    bench.write("""
@pytest.fixture(scope="module")
def leaky():
    yield
    raise RuntimeError("leaks")
@pytest.mark.retry(attempts=2, counts="last")
def test_it(leaky): pass
""")
    assert bench.run() == 1 and "leaks" in bench.output
    assert bench.verdict.outcome is Outcome.ERROR


@pytest.mark.parametrize(
    ("words", "says"),
    [("attempts=1", "attempts"), ("times=2", "times"), ("2", "names"), ("from_power='sometimes'", "from_power")],
)
def test_a_rule_that_means_nothing_is_told_before_the_run(bench: Bench, words: str, says: str) -> None:
    bench.write(f"@pytest.mark.retry({words})\ndef test_it(unit): pass\n")
    assert bench.run() == 4 and says in bench.output
    assert bench.verdict.cases == () and bench.verdict.outcome is Outcome.ERROR


def case(attempt: int, outcome: Outcome) -> CaseResult:
    return CaseResult(name="t", outcome=outcome, started=NOW, duration_s=0.1, attempt=attempt)


def story(*cases: CaseResult, first: dict[str, RetryRule], later: dict[str, RetryRule] | None = None) -> list[Event]:
    events: list[Event] = [SessionStarted(worker="main", suite="s", at=NOW), Collected(cases=("t",), retries=first)]
    for one in cases:
        events += [CaseStarted(name="t", attempt=one.attempt, at=NOW), CaseEnded(case=one)]
        events += [Collected(cases=("t",), retries=later)] if later is not None else []
    return [*events, SessionFinished(worker="main", exit_status=0, at=NOW)]


LAST = {"t": RetryRule(attempts=2, counts="last")}


def test_the_rule_is_declared_before_the_run() -> None:
    tried = (case(1, Outcome.FAIL), case(2, Outcome.PASS))

    def verdict(events: list[Event]) -> tuple[Outcome, str]:
        run = judge_run("s", events, exit_status=0, started=NOW, finished=NOW)
        return run.outcome, run.reason

    assert verdict(story(*tried, first=LAST)) == (Outcome.PASS, "")
    assert verdict(story(*tried, first={}))[0] is Outcome.FAIL
    changed = verdict(story(*tried, first={}, later=LAST))
    assert changed[0] is not Outcome.PASS
    changed = verdict(story(case(1, Outcome.PASS), first={}, later=LAST))
    assert changed[0] is Outcome.ERROR and "changed after the first test" in changed[1]


def test_more_attempts_than_declared_do_not_count() -> None:
    tried = (case(1, Outcome.ERROR), case(2, Outcome.ERROR), case(3, Outcome.PASS))
    assert [one.attempt for one in counted(tried, LAST)] == [3, 2]
    run = judge_run("s", story(*tried, first=LAST), exit_status=0, started=NOW, finished=NOW)
    assert run.outcome is Outcome.ERROR
    assert flaky(tried[1:], LAST) == () and flaky((tried[0], case(2, Outcome.PASS)), LAST) == ("t",)


def test_the_layer_nearest_to_the_fault_is_blamed() -> None:
    assert (InfrastructureError("x", remedy="").layer, LinkError("x", remedy="").layer) == ("host", "link")
    assert PlaceBusy("x", remedy="").layer == "port"
    with pytest.raises(LinkError) as caught, at_layer("flasher"), at_layer("power"):
        raise LinkError("x", remedy="")
    assert caught.value.layer == "power"
