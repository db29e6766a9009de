# SPDX-License-Identifier: Apache-2.0
"""A suite's run in the shape of OpenHTF's JSON output, for the dashboards and databases that read it.

Guards: the fields that OpenHTF 1.6 writes have its names, types and words; a phase is one test. What OpenHTF has no
word for stands under `metadata.assay`.
Leaves to others: writing the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from assay.formats.openhtf_units import unit_of_measure
from assay.model.attempts import flaky
from assay.model.outcome import Outcome
from assay.model.verdict import CaseResult, Measurement, SkippedCase, SuiteRun

_CODE_OF_ERROR = "INFRASTRUCTURE"


def openhtf_json(run: SuiteRun, *, dut_id: str, station_id: str, metadata: Mapping[str, Any]) -> bytes:
    """The report. `dut_id` is the unit's serial number (its chip id when it has none), `station_id` the host."""
    document = {
        "dut_id": dut_id,
        "station_id": station_id,
        "start_time_millis": _millis(run.started),
        "end_time_millis": _millis(run.finished),
        "outcome": run.outcome.value,
        "outcome_details": _details(run),
        "marginal": None,
        "metadata": {
            "test_name": run.suite,
            "config": {"station_id": station_id},
            "assay": {
                **metadata,
                "reason": run.reason,
                "layer": run.layer,
                "flaky": flaky(run.cases, run.retries),
                "retries": {name: rule.model_dump(mode="json") for name, rule in run.retries.items()},
            },
        },
        "phases": [
            *(_phase(case, again=_again(run, case)) for case in run.cases),
            *(_skipped(run, skipped) for skipped in run.skipped),
        ],
        "subtests": [],
        "branches": [],
        "diagnosers": [],
        "diagnoses": [],
        "log_records": [],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _details(run: SuiteRun) -> list[dict[str, str]]:
    """Why a run is ERROR; OpenHTF keeps here the code and the words of what was raised."""
    if run.outcome in (Outcome.PASS, Outcome.FAIL):
        return []
    return [{"code": _CODE_OF_ERROR if run.outcome is Outcome.ERROR else run.outcome.value, "description": run.reason}]


def _again(run: SuiteRun, case: CaseResult) -> bool:
    return any(other.name == case.name and other.attempt > case.attempt for other in run.cases)


def _phase(case: CaseResult, *, again: bool) -> dict[str, Any]:
    """`again`: another attempt came after this one (OpenHTF's REPEAT)."""
    start = _millis(case.started)
    return {
        "name": case.name,
        "measurements": {measurement.name: _measurement(measurement) for measurement in case.measurements},
        "options": {},
        "start_time_millis": start,
        "end_time_millis": start + round(case.duration_s * 1000),
        "attachments": {},
        "diagnosers": [],
        "diagnosis_results": [],
        "failure_diagnosis_results": [],
        "subtest_name": None,
        "marginal": None,
        "outcome": "PASS" if case.outcome is Outcome.PASS else _phase_outcome(case),
        "result": {
            "phase_result": "REPEAT" if again else "CONTINUE",
            "attempt": case.attempt,
            "layer": case.layer,
            "message": case.message,
        },
    }


def _phase_outcome(case: CaseResult) -> str:
    """OpenHTF's PhaseOutcome knows PASS, FAIL, SKIP and ERROR."""
    failed = case.outcome is Outcome.FAIL or (case.outcome is Outcome.TIMEOUT and case.device_answers)
    return "FAIL" if failed else "ERROR"


def _skipped(run: SuiteRun, skipped: SkippedCase) -> dict[str, Any]:
    at = _millis(run.started)
    return {
        "name": skipped.name,
        "measurements": {},
        "options": {},
        "start_time_millis": at,
        "end_time_millis": at,
        "attachments": {},
        "diagnosers": [],
        "diagnosis_results": [],
        "failure_diagnosis_results": [],
        "subtest_name": None,
        "marginal": None,
        "outcome": "SKIP",
        "result": {"phase_result": "SKIP", "message": skipped.reason},
    }


def _measurement(measurement: Measurement) -> dict[str, Any]:
    unit = unit_of_measure(measurement.unit)
    data: dict[str, Any] = {
        "name": measurement.name,
        "outcome": measurement.outcome.value,
        "units": {"name": unit.name, "code": unit.code, "suffix": unit.suffix},
    }
    if validators := _validators(measurement):
        data["validators"] = validators
    if measurement.value is not None:
        data["measured_value"] = measurement.value
    return data


def _validators(measurement: Measurement) -> list[str]:
    """The limits in the words of OpenHTF's `in_range` and `equals`."""
    if isinstance(measurement.expected, str):
        return [f"'x' matches /^{re.escape(measurement.expected)}$/"]
    if measurement.expected is not None:
        return [f"x == {measurement.expected}"]
    if measurement.low is None and measurement.high is None:
        return []
    if measurement.low == measurement.high:
        return [f"x == {measurement.low}"]
    low = "" if measurement.low is None else f"{measurement.low} <= "
    high = "" if measurement.high is None else f" <= {measurement.high}"
    return [f"{low}x{high}"]


def _millis(rfc3339: str) -> int:
    return (datetime.fromisoformat(rfc3339) - datetime.fromisoformat("1970-01-01T00:00:00+00:00")) // timedelta(
        milliseconds=1
    )
