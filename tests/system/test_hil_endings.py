# SPDX-License-Identifier: Apache-2.0
"""`assay test` comes to an end with reports and a record: a suite that hangs, a signal, a kill, a unit that dies."""

from __future__ import annotations

import json
import signal
import time
from xml.etree import ElementTree as ET

import pytest
from hil_unit import (
    Unit,
    eventually,
    has_started,
    is_told,
    no_process_is_left,
    popen,
    processes_with,
    records,
    statement,
    unit,
)

__all__ = ["no_process_is_left", "unit"]


def test_a_suite_that_does_not_end_is_ended(unit: Unit) -> None:
    started = time.monotonic()
    told = unit.test("def test_a(unit): pass\ndef test_b(unit): time.sleep(300)", "--timeout", "30")
    assert time.monotonic() - started < 200
    assert (told.status, told.data["outcome"], told.data["reason"]) == (1, "TIMEOUT", "not done after 30 s")
    outcomes = [case["outcome"] for case in told.data["cases"]]
    assert outcomes == ["PASS", "ABORTED"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_reports_and_a_record(unit: Unit, number: signal.Signals) -> None:
    suite = unit.suite("def test_a(unit): pass\ndef test_b(unit): time.sleep(300)")
    with popen(unit, suite) as process:
        assert eventually(lambda: has_started(unit.results, "test_b"))
        process.send_signal(number)
        out, _ = process.communicate(timeout=200)
    told = json.loads(out)
    assert (process.returncode, told["outcome"]) == (3, "ABORTED")
    assert [case["outcome"] for case in told["cases"]] == ["PASS", "ABORTED"]
    assert ET.parse(unit.results / "junit.xml").find("testsuite/testcase/error") is not None
    assert statement(unit.site, told["record"])["predicate"]["run"]["outcome"] == "ABORTED"
    assert eventually(lambda: not processes_with(str(suite)))


@pytest.mark.timeout(200)
def test_a_run_that_was_killed_is_recorded_by_the_next_one(unit: Unit) -> None:
    suite = unit.suite("def test_a(unit): pass\ndef test_b(unit): time.sleep(300)")
    before = len(records(unit.site, "run"))
    with popen(unit, suite) as process:
        assert eventually(lambda: has_started(unit.results, "test_b"))
        process.kill()
        process.wait()
    assert eventually(lambda: not processes_with(str(suite))), "pytest outlived assay test"
    assert len(records(unit.site, "run")) == before
    assert unit.test("def test_it(unit): pass").status == 0
    found = [one for one in records(unit.site, "run") if "in step suite" in one["stopped_at"]]
    assert len(records(unit.site, "run")) == before + 1
    assert [(one["verb"], one["run"]["outcome"]) for one in found] == [("test", "ABORTED")]
    assert unit.site.verb("log", "verify", "--trust", unit.site.trust).status == 0


def test_a_unit_that_dies_in_a_test_is_error(unit: Unit) -> None:
    """Somebody pulls the plug: QEMU is killed from outside, and nothing switches it on again."""
    suite, go = unit.waiting("def test_it(smp, measure):\n    measure('begun').take(1)\n    WAIT\n    smp.echo('x')")
    with popen(unit, suite) as process:
        assert eventually(lambda: is_told(unit.results, '"measured"', "begun"))
        unit.site.good("twin", "power", "off", "u", "--force")
        go.touch()
        out, _ = process.communicate(timeout=200)
    told = json.loads(out)
    (case,) = told["cases"]
    assert (case["outcome"], case["layer"], case["device_answers"]) == ("TIMEOUT", "link", False)
    assert case["message"]
    assert unit.site.verb(*unit.line(unit.suite("def test_it(unit): pass"))).status == 0
