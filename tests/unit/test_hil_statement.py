# SPDX-License-Identifier: Apache-2.0
"""What a bench signs: PASSED for PASS only, and no test result at all for what says nothing about the unit."""

from __future__ import annotations

import pytest

from assay.model.attempts import RetryRule
from assay.model.outcome import MeasurementOutcome, Outcome
from assay.model.predicates import DeviceReport, ImageReference, RunHeader
from assay.model.verdict import BenchRun, CaseResult, Measurement, SuiteRun, SuiteVerdict, TestedUnit
from assay.stages.hil.statement import result_statement, speaks_about_unit

AT = "2026-11-23T10:00:00.000Z"
HASH, FILE, SUITE, CERTIFICATE, CHIP = "1" * 64, "2" * 64, "3" * 64, "4" * 64, "5" * 32


def bench(outcome: Outcome, *cases: CaseResult, serial: str | None = "DS-000001") -> BenchRun:
    header = RunHeader(
        run_id="test-1", assay="0", place="p", board="b", emulated=True, started=AT, finished=AT, outcome=outcome,
        checkpoint="log\n0\n",
    )  # fmt: skip
    report = DeviceReport(version="1.0.0", image_hash=HASH, how="verified-at-boot", state="confirmed")
    unit = TestedUnit(
        place="p", board="b", revision=1, emulated=True, chip=CHIP, serial=serial,
        certificate_sha256=CERTIFICATE if serial else None, before=report, before_in_flash=HASH,
    )  # fmt: skip
    image = ImageReference(release="demo-sensor@1.0.0", file_sha256=FILE, image_hash=HASH)
    return BenchRun(
        run=header, image=image, suite="demo", suite_sha256=SUITE, units=(unit,), sandbox="bubblewrap", cases=cases,
        files={"junit.xml": "6" * 64},
    )  # fmt: skip


def case(name: str, outcome: Outcome, attempt: int = 1) -> CaseResult:
    measured = Measurement(name="level", unit="V", low=1.0, high=2.0, value=1.5, outcome=MeasurementOutcome.PASS)
    return CaseResult(
        name=name, outcome=outcome, started=AT, duration_s=0.25, attempt=attempt, measurements=(measured,)
    )


def test_a_pass() -> None:
    statement = result_statement(bench(Outcome.PASS, case("a", Outcome.PASS), case("b", Outcome.PASS)))
    assert (statement.subject[0].name, statement.subject[0].digest) == ("demo-sensor@1.0.0", {"sha256": FILE})
    predicate = SuiteVerdict.model_validate(statement.predicate, strict=False)
    assert (predicate.result, predicate.passed_tests, predicate.failed_tests) == ("PASSED", ("a", "b"), ())
    named = {one.name: one for one in predicate.configuration}
    assert named["suite"].digest == {"sha256": SUITE}
    assert named["unit"].digest == {"sha256": CERTIFICATE}
    assert named["junit.xml"].digest == {"sha256": "6" * 64}
    assert predicate.bench.cases[0].measurements[0].value == 1.5


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.TIMEOUT])
def test_a_failure(outcome: Outcome) -> None:
    statement = result_statement(bench(outcome, case("a", Outcome.PASS), case("b", outcome)))
    assert statement.predicate["result"] == "FAILED"
    assert (statement.predicate["passedTests"], statement.predicate["failedTests"]) == (["a"], ["b"])


def test_passed_is_never_written_over_a_case_that_did_not_pass() -> None:
    assert result_statement(bench(Outcome.PASS, case("a", Outcome.FAIL))).predicate["result"] == "FAILED"


def test_a_test_that_passed_when_it_was_tried_again_has_failed() -> None:
    again = bench(Outcome.FAIL, case("a", Outcome.FAIL), case("a", Outcome.PASS, attempt=2))
    assert result_statement(again).predicate["passedTests"] == []


def test_a_unit_without_identity_is_known_by_its_chip() -> None:
    statement = result_statement(bench(Outcome.PASS, case("a", Outcome.PASS), serial=None))
    (unit,) = [one for one in statement.predicate["configuration"] if one["name"] == "unit"]
    assert unit["uri"] == f"urn:assay:chip:{CHIP}"
    assert "digest" not in unit


@pytest.mark.parametrize(
    ("outcome", "answers", "speaks"),
    [
        (Outcome.PASS, False, True),
        (Outcome.FAIL, False, True),
        (Outcome.TIMEOUT, True, True),
        (Outcome.TIMEOUT, False, False),
        (Outcome.ERROR, True, False),
        (Outcome.ABORTED, True, False),
    ],
)
def test_what_speaks_about_the_unit(outcome: Outcome, answers: bool, speaks: bool) -> None:
    run = SuiteRun(suite="s", started=AT, finished=AT, outcome=outcome, device_answers=answers)
    assert speaks_about_unit(run) is speaks


def test_a_test_that_passed_when_it_was_tried_again_is_warned_of_and_not_passed() -> None:
    tried = bench(Outcome.PASS, case("a", Outcome.PASS), case("b", Outcome.ERROR), case("b", Outcome.PASS, 2))
    rules = {"b": RetryRule(attempts=2, counts="last")}
    statement = result_statement(tried.model_copy(update={"retries": rules}))
    predicate = SuiteVerdict.model_validate(statement.predicate, strict=False)
    assert (predicate.result, predicate.passed_tests, predicate.warned_tests) == ("WARNED", ("a",), ("b",))
    assert [(one.attempt, one.outcome) for one in predicate.bench.cases if one.name == "b"] == [
        (1, Outcome.ERROR),
        (2, Outcome.PASS),
    ]
    assert predicate.bench.retries == rules
    assert result_statement(tried).predicate["result"] == "FAILED"
