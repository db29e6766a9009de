# SPDX-License-Identifier: Apache-2.0
"""JUnit XML: what other people's readers count is what happened."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from assay.formats.junit import junit_xml
from assay.model.outcome import MeasurementOutcome, Outcome
from assay.model.verdict import CaseResult, Measurement, SkippedCase, SuiteRun

AT = "2026-11-23T10:00:00.000Z"
NOISE = "garbage \x00\x1b[31m \ud800 ]]> <&>\u00b5"


def result(name: str, outcome: Outcome, **more: object) -> CaseResult:
    return CaseResult(name=name, outcome=outcome, started=AT, duration_s=0.25, **more)  # type: ignore[arg-type]


def suite(*cases: CaseResult, outcome: Outcome, reason: str = "", skipped: tuple[SkippedCase, ...] = ()) -> SuiteRun:
    return SuiteRun(
        suite="demo-sensor",
        started=AT,
        finished="2026-11-23T10:00:01.500Z",
        cases=cases,
        skipped=skipped,
        outcome=outcome,
        reason=reason,
    )


def parse(run: SuiteRun, properties: dict[str, str] | None = None) -> ET.Element:
    root = ET.fromstring(junit_xml(run, properties or {}, hostname="bench-1"))
    assert root.tag == "testsuites"
    (element,) = root
    counted = {kind: len(element.findall(f"testcase/{kind}")) for kind in ("failure", "error", "skipped")}
    assert element.attrib["tests"] == str(len(element.findall("testcase")))
    assert element.attrib["failures"] == str(counted["failure"])
    assert element.attrib["errors"] == str(counted["error"])
    assert element.attrib["skipped"] == str(counted["skipped"])
    return element


def test_outcomes_become_the_elements_that_readers_know() -> None:
    run = suite(
        result("test_a.py::test_ok", Outcome.PASS),
        result("test_a.py::test_bad", Outcome.FAIL, message="boot_time = 512 ms\nmore"),
        result("test_a.py::test_link", Outcome.ERROR, layer="link", message="gone"),
        result("test_a.py::test_slow", Outcome.TIMEOUT, layer="link", device_answers=True, message="no line"),
        result("test_a.py::test_silent", Outcome.TIMEOUT, layer="link", message="no line"),
        outcome=Outcome.ERROR,
        skipped=(SkippedCase(name="test_a.py::test_camera", reason="no camera"),),
    )
    element = parse(run, {"assay.image.sha256": "ab" * 32, "assay.serial": "DS-000001"})
    kinds = {
        case.attrib["name"]: next((c.tag for c in case if c.tag != "system-out"), "")
        for case in element.iter("testcase")
    }
    assert kinds == {
        "test_ok": "",
        "test_bad": "failure",
        "test_link": "error",
        "test_slow": "failure",
        "test_silent": "error",
        "test_camera": "skipped",
    }
    properties = {p.attrib["name"]: p.attrib["value"] for p in element.iter("property")}
    assert properties["assay.serial"] == "DS-000001"
    assert properties["assay.outcome"] == "ERROR"
    assert element.attrib["time"] == "1.500"
    assert element.find("testcase[@name='test_link']/error").attrib["type"] == "ERROR (link)"  # type: ignore[union-attr]
    assert element.find("testcase[@name='test_ok']").attrib["classname"] == "demo-sensor.test_a"  # type: ignore[union-attr]


def test_a_run_that_is_worth_nothing_has_an_error_although_its_tests_passed() -> None:
    element = parse(suite(result("test_ok", Outcome.PASS), outcome=Outcome.ERROR, reason="2 of 3 tests never ran"))
    assert element.attrib["errors"] == "1"
    assert element.find("testcase/error").attrib["message"] == "2 of 3 tests never ran"  # type: ignore[union-attr]


def test_an_empty_run_has_an_error_too() -> None:
    assert parse(suite(outcome=Outcome.ABORTED, reason="SIGTERM")).attrib["errors"] == "1"


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.ERROR])
def test_noise_from_a_port_does_not_spoil_the_report(outcome: Outcome) -> None:
    measured = Measurement(name="line", unit="1", value="\x07", outcome=MeasurementOutcome.FAIL)
    case = result("test_noise", outcome, message=NOISE, place="p\x01", measurements=(measured,))
    element = parse(suite(case, outcome=outcome), {"assay.place": "\x02"})
    text = element.find("testcase")[0].text  # type: ignore[index]
    assert text == "garbage \\x00\\x1b[31m \\xd800 ]]> <&>\u00b5"
    assert "measurement line = \\x07 1" in str(element.findtext("testcase/system-out"))
