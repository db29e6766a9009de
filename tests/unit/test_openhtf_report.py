# SPDX-License-Identifier: Apache-2.0
"""OpenHTF's JSON: its field names, its words, its unit codes."""

from __future__ import annotations

import json
import re

import pytest

from assay.errors import UsageFault
from assay.formats.openhtf import openhtf_json
from assay.formats.openhtf_units import UNITS, unit_of_measure
from assay.model.outcome import MeasurementOutcome, Outcome
from assay.model.verdict import CaseResult, Measurement, SkippedCase, SuiteRun

AT = "2026-11-23T10:00:00.250Z"

RECORD_FIELDS = {
    "dut_id", "station_id", "start_time_millis", "end_time_millis", "outcome", "outcome_details", "marginal",
    "metadata", "phases", "subtests", "branches", "checkpoints", "diagnoses", "log_records",
}  # fmt: skip
"""Of a record that openhtf 1.6.3 wrote, less `code_info` and those that this test does not need."""


def run_of(*cases: CaseResult, outcome: Outcome = Outcome.PASS) -> SuiteRun:
    return SuiteRun(
        suite="demo-sensor",
        started=AT,
        finished="2026-11-23T10:00:02.000Z",
        cases=cases,
        skipped=(SkippedCase(name="test_camera", reason="no camera"),),
        outcome=outcome,
        reason="" if outcome is Outcome.PASS else "link: gone",
    )


def document(run: SuiteRun) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        openhtf_json(run, dut_id="DS-1", station_id="bench-1", metadata={"place": "p"})
    )
    assert set(found) == RECORD_FIELDS
    return found


def test_a_record() -> None:
    boot = Measurement(name="boot", unit="ms", low=10.0, high=400.0, value=12.5, outcome=MeasurementOutcome.PASS)
    state = Measurement(name="state", unit="1", expected="pass", outcome=MeasurementOutcome.UNSET)
    case = CaseResult(
        name="test_boot", outcome=Outcome.FAIL, started=AT, duration_s=0.5, message="m", measurements=(boot, state)
    )
    found = document(run_of(case, outcome=Outcome.FAIL))
    assert (found["dut_id"], found["station_id"], found["outcome"]) == ("DS-1", "bench-1", "FAIL")
    assert found["start_time_millis"] == 1795428000250
    assert found["end_time_millis"] == 1795428002000
    phase, skipped = found["phases"]  # type: ignore[misc]
    assert (phase["name"], phase["outcome"], skipped["outcome"]) == ("test_boot", "FAIL", "SKIP")  # type: ignore[index]
    assert phase["end_time_millis"] - phase["start_time_millis"] == 500  # type: ignore[index,operator]
    assert phase["measurements"] == {  # type: ignore[index]
        "boot": {
            "name": "boot",
            "outcome": "PASS",
            "validators": ["10 <= x <= 400"],
            "units": {"name": "millisecond", "code": "C26", "suffix": "ms"},
            "measured_value": 12.5,
        },
        "state": {
            "name": "state",
            "outcome": "UNSET",
            "validators": ["x == 'pass'"],
            "units": {"name": "one", "code": "C62", "suffix": "1"},
        },
    }


@pytest.mark.parametrize(
    ("outcome", "answers", "phase_outcome"),
    [
        (Outcome.PASS, False, "PASS"),
        (Outcome.ERROR, False, "ERROR"),
        (Outcome.TIMEOUT, True, "FAIL"),
        (Outcome.TIMEOUT, False, "ERROR"),
        (Outcome.ABORTED, False, "ERROR"),
    ],
)
def test_words_of_phases(outcome: Outcome, answers: bool, phase_outcome: str) -> None:
    case = CaseResult(name="t", outcome=outcome, started=AT, duration_s=0.5, device_answers=answers)
    assert document(run_of(case))["phases"][0]["outcome"] == phase_outcome  # type: ignore[index]


def test_an_error_has_its_reason() -> None:
    found = document(run_of(outcome=Outcome.ERROR))
    assert found["outcome_details"] == [{"code": "INFRASTRUCTURE", "description": "link: gone"}]


def test_codes_are_those_of_un_cefact_and_each_is_there_once() -> None:
    codes = [unit.code for unit in UNITS.values()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[A-Z0-9]{2,3}", code) for code in codes)
    assert (UNITS["ms"].code, UNITS["V"].code, UNITS["Cel"].code) == ("C26", "VLT", "CEL")


def test_codes_are_those_that_openhtf_has() -> None:
    units = pytest.importorskip("openhtf.util.units", reason="openhtf is not installed")
    theirs = {(unit.name, unit.code, unit.suffix) for unit in units.UNITS_BY_NAME.values()}
    assert {(unit.name, unit.code, unit.suffix) for unit in UNITS.values()} <= theirs


def test_a_unit_that_nobody_knows() -> None:
    with pytest.raises(UsageFault, match="did you mean ms"):
        unit_of_measure("msec")
