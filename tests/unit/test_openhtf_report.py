# SPDX-License-Identifier: Apache-2.0
"""OpenHTF's JSON: its field names, its words, its unit codes; held against a record of the real OpenHTF.

`nox -s tests` puts OpenHTF into a folder of its own (`requirements/openhtf.txt`), where a program of its own uses it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assay.errors import UsageFault
from assay.formats.openhtf import openhtf_json
from assay.formats.openhtf_units import UNITS, unit_of_measure
from assay.model.outcome import MeasurementOutcome, Outcome
from assay.model.verdict import CaseResult, Measurement, SkippedCase, SuiteRun

AT = "2026-11-23T10:00:00.250Z"

PACKAGES = Path(__file__).parents[2] / ".nox" / "openhtf"
PEER = Path(__file__).with_name("openhtf_peer.py")
THEIRS_ALONE = {"code_info", "codeinfo", "descriptor_id"}
"""Of its own source; what comes from no program of OpenHTF has none."""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], set[tuple[str, str, str]]]:
    """What the real OpenHTF writes, and the units that it knows."""
    if not PACKAGES.is_dir():
        pytest.skip("no openhtf here: nox -s tests")
    record, units = (tmp_path_factory.mktemp("openhtf") / name for name in ("record.json", "units.json"))
    environment = {**os.environ, "PYTHONPATH": str(PACKAGES)}
    command = [sys.executable, "-S", str(PEER), str(record), str(units)]
    subprocess.run(command, env=environment, timeout=120, check=True, capture_output=True, cwd=record.parent)
    return json.loads(record.read_bytes()), {tuple(unit) for unit in json.loads(units.read_bytes())}


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
            "validators": ["10.0 <= x <= 400.0"],
            "units": {"name": "millisecond", "code": "C26", "suffix": "ms"},
            "measured_value": 12.5,
        },
        "state": {
            "name": "state",
            "outcome": "UNSET",
            "validators": ["'x' matches /^pass$/"],
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


def test_codes_are_those_that_openhtf_has(peer: tuple[dict[str, Any], set[tuple[str, str, str]]]) -> None:
    assert {(unit.name, unit.code, unit.suffix) for unit in UNITS.values()} <= peer[1]


def limits(name: str, unit: str, value: float | str | bool, **bounds: Any) -> Measurement:
    return Measurement(name=name, unit=unit, value=value, outcome=MeasurementOutcome.PASS, **bounds)


LIMITS = (
    limits("boot", "ms", 12.5, low=10.0, high=400.25),
    limits("count", "1", 1234567.0, low=1234567.0, high=1234567.0),
    limits("least", "V", 1.5, low=-0.5),
    limits("most", "V", 0.5, high=1234567.5),
    limits("state", "1", "a.b (1)", expected="a.b (1)"),
    limits("kept", "1", True, expected=True),
    limits("free", "1", 3.0),
)
OUTSIDE = Measurement(name="boot", unit="ms", low=10.0, high=400.0, value=401.0, outcome=MeasurementOutcome.FAIL)


def test_a_record_is_as_openhtf_writes_it(peer: tuple[dict[str, Any], set[tuple[str, str, str]]]) -> None:
    """Each field of record, phases and measurements; outcomes, limits and units in its words."""
    cases = (("test_limits", Outcome.PASS, LIMITS), ("test_outside", Outcome.FAIL, (OUTSIDE,)))
    cases += (("test_again", Outcome.PASS, ()), ("test_gone", Outcome.ERROR, ()))
    results = [CaseResult(name=n, outcome=o, started=AT, duration_s=0.5, measurements=m) for n, o, m in cases]
    ours, theirs = document(run_of(*results, outcome=Outcome.ERROR)), peer[0]
    assert set(ours) == set(theirs) - THEIRS_ALONE
    assert {name: type(ours[name]) for name in ours} == {name: type(theirs[name]) for name in ours}
    assert set(ours["outcome_details"][0]) == set(theirs["outcome_details"][0])  # type: ignore[index]
    assert (ours["dut_id"], ours["outcome"]) == (theirs["dut_id"], theirs["outcome"])
    phases = {phase["name"]: phase for phase in theirs["phases"]}  # of one that was repeated, the last turn
    for phase in ours["phases"]:  # type: ignore[attr-defined]
        peers = phases[phase["name"]]
        assert set(phase) == set(peers) - THEIRS_ALONE
        assert phase["outcome"] == peers["outcome"], phase["name"]
        assert "phase_result" in phase["result"]
    for name in ("test_limits", "test_outside"):
        found = {phase["name"]: phase["measurements"] for phase in ours["phases"]}[name]  # type: ignore[attr-defined]
        assert found == {each: phases[name]["measurements"][each] for each in found}
    assert phases["test_outside"]["measurements"]["never"] == {"name": "never", "outcome": "UNSET"}


def test_a_unit_that_nobody_knows() -> None:
    with pytest.raises(UsageFault, match="did you mean ms"):
        unit_of_measure("msec")
