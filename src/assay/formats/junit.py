# SPDX-License-Identifier: Apache-2.0
"""A suite's run as JUnit XML in the `xunit2` dialect that Jenkins, GitLab and pytest agree on.

Guards: what says something about the unit is `<failure>`, what says nothing about it (bench, link, host, the suite
itself) is `<error>`; characters that XML cannot hold are written as escapes: noise from a port never spoils a report.
Leaves to others: writing the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from xml.etree import ElementTree as ET

from assay.model.attempts import counted
from assay.model.outcome import Outcome
from assay.model.verdict import CaseResult, Measurement, SkippedCase, SuiteRun

_NOT_XML = re.compile("[^\\x09\\x0a\\x0d\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
"""What is not a character of XML 1.0 (section 2.2, production 2)."""


def junit_xml(run: SuiteRun, properties: Mapping[str, str], *, hostname: str) -> bytes:
    """The report. `properties` say what was tested: image digest, serial number, place."""
    root = ET.Element("testsuites", {"name": "assay"})
    suite = ET.SubElement(root, "testsuite", _attributes(run, hostname))
    box = ET.SubElement(suite, "properties")
    said = {"assay.outcome": run.outcome.value, "assay.reason": run.reason}
    said |= {"assay.layer": run.layer} if run.layer else {}
    for name, value in {**properties, **said}.items():
        ET.SubElement(box, "property", {"name": _clean(name), "value": _clean(value)})
    for case in counted(run.cases, run.retries):
        before = [other for other in run.cases if other.name == case.name and other.attempt < case.attempt]
        _add_case(suite, run, case, before)
    for skipped in run.skipped:
        _add_skipped(suite, run.suite, skipped)
    if not _said_by_cases(run):
        _add_run_fault(suite, run)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _attributes(run: SuiteRun, hostname: str) -> dict[str, str]:
    cases = counted(run.cases, run.retries)
    bad = [_element_of(case) for case in cases]
    extra = 0 if _said_by_cases(run) else 1
    return {
        "name": _clean(run.suite),
        "tests": str(len(cases) + len(run.skipped) + extra),
        "failures": str(bad.count("failure")),
        "errors": str(bad.count("error") + extra),
        "skipped": str(len(run.skipped)),
        "time": _seconds(_between(run.started, run.finished)),
        "timestamp": run.started,
        "hostname": _clean(hostname),
    }


def _add_case(suite: ET.Element, run: SuiteRun, case: CaseResult, before: list[CaseResult]) -> None:
    """`before`: earlier attempts, which do not count by the rule of the test; in the words of Maven's Surefire."""
    attributes = {**_name(run.suite, case.name), "time": _seconds(case.duration_s)}
    element = ET.SubElement(suite, "testcase", attributes)
    kind = _element_of(case)
    if kind:
        word = case.outcome.value + (f" ({case.layer})" if case.layer else "")
        message = _clean(case.message.strip().split("\n", 1)[0])
        ET.SubElement(element, kind, {"type": word, "message": message}).text = _clean(case.message)
    if case.name in run.retries and run.retries[case.name].counts == "last":
        for other in before:
            _add_earlier(element, other, "rerun" if kind else "flaky")
    lines = [f"attempt {case.attempt}" + (f" on {case.place}" if case.place else "")]
    lines += [_measured(measurement) for measurement in case.measurements]
    ET.SubElement(element, "system-out").text = _clean("\n".join(lines))


def _add_earlier(element: ET.Element, case: CaseResult, word: str) -> None:
    """`flaky`: it passed in the end; `rerun`: it did not. Readers that know neither see the last attempt."""
    kind = _element_of(case)
    if not kind:  # a test of a group may pass, and be tried again with the others
        return
    layer = f" ({case.layer})" if case.layer else ""
    message = _clean(f"attempt {case.attempt}: " + case.message.strip().split("\n", 1)[0])
    earlier = ET.SubElement(element, word + kind.title(), {"type": case.outcome.value + layer, "message": message})
    ET.SubElement(earlier, "stackTrace").text = _clean(case.message)


def _add_skipped(suite: ET.Element, suite_name: str, skipped: SkippedCase) -> None:
    element = ET.SubElement(suite, "testcase", {**_name(suite_name, skipped.name), "time": "0.000"})
    ET.SubElement(element, "skipped", {"type": "pytest.skip", "message": _clean(skipped.reason)})


def _add_run_fault(suite: ET.Element, run: SuiteRun) -> None:
    """A run may be worth nothing although each of its tests passed; readers that only count cases have to see it."""
    element = ET.SubElement(suite, "testcase", {"classname": _clean(run.suite), "name": "assay run", "time": "0.000"})
    ET.SubElement(element, "error", {"type": run.outcome.value, "message": _clean(run.reason)})


def _said_by_cases(run: SuiteRun) -> bool:
    return run.outcome is Outcome.PASS or any(_element_of(case) for case in counted(run.cases, run.retries))


def _element_of(case: CaseResult) -> str:
    """`failure` speaks about the unit, `error` does not; a device that let us wait and then answers has failed."""
    if case.outcome is Outcome.PASS:
        return ""
    failed = case.outcome is Outcome.FAIL or (case.outcome is Outcome.TIMEOUT and case.device_answers)
    return "failure" if failed else "error"


def _name(suite_name: str, nodeid: str) -> dict[str, str]:
    """pytest's `folder/test_file.py::Class::test[x]` as the class name and name that JUnit readers group by."""
    *scopes, name = _clean(nodeid).split("::")
    path = scopes[0].removesuffix(".py").replace("/", ".") if scopes else ""
    return {"classname": ".".join([part for part in (_clean(suite_name), path, *scopes[1:]) if part]), "name": name}


def _measured(measurement: Measurement) -> str:
    limits = {"low": measurement.low, "high": measurement.high, "expected": measurement.expected}
    text = " ".join(f"{name}={value}" for name, value in limits.items() if value is not None)
    return f"measurement {measurement.name} = {measurement.value} {measurement.unit} {text} {measurement.outcome}"


def _seconds(duration_s: float) -> str:
    return f"{max(0.0, duration_s):.3f}"


def _between(started: str, finished: str) -> float:
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()


def _clean(text: str) -> str:
    return _NOT_XML.sub(lambda match: f"\\x{ord(match.group()):02x}", text)
