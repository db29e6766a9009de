# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin on a fake bench: what counts and what does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from plugin_bench import Bench, bench

from assay.model.outcome import Outcome

__all__ = ["bench"]

ROOT = Path(__file__).parents[2]


def test_fixtures_of_a_unit_that_runs_the_image(bench: Bench) -> None:
    bench.write("""
def test_all(unit, console, power, smp, measure):
    assert unit.info.version == "1.0.0" and unit.serial is None and unit.emulated
    assert unit.board.name == "fake-board" and unit.release.reference == "demo-sensor@1.0.0"
    power.cycle()
    assert "version=1.0.0 boot" in console.wait_for("ASSAY-APP 1")
    assert smp.echo("x") == "x"
    measure("boot_time", unit="ms", low=1, high=400).take(120)
""")
    assert bench.run() == 0, bench.output
    run = bench.verdict
    assert run.outcome is Outcome.PASS
    (unit,) = run.units
    assert (unit.place, unit.chip, unit.image_hash) == ("fake-main", "33" * 16, "11" * 32)
    (case,) = run.cases
    assert (case.place, case.measurements[0].value) == ("fake-main", 120.0)
    assert bench.log.read_text() == "open main\nclose main\n"
    assert ET.parse(bench.results / "junit.xml").find("testsuite").attrib["tests"] == "1"  # type: ignore[union-attr]
    assert json.loads((bench.results / "openhtf.json").read_bytes())["dut_id"] == "33" * 16


def test_a_suite_in_the_projects_folder_needs_no_other_plugin(bench: Bench) -> None:
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "assay.pytest_plugin"]
    environment = bench.environment()
    done = subprocess.run(
        [*line, "suites/demo-sensor"], cwd=ROOT, env=environment, capture_output=True, timeout=60, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no place: name one with --assay-place" in done.stdout


@pytest.mark.parametrize(
    ("body", "outcome", "layer", "words"),
    [
        ("assert 1 == 2", Outcome.FAIL, None, "assert 1 == 2"),
        ("pytest.fail('bad solder')", Outcome.FAIL, None, "bad solder"),
        ("raise UnitFailed('self-test', remedy='')", Outcome.FAIL, None, "self-test"),
        ("raise LinkError('gone', remedy='')", Outcome.ERROR, "link", "gone"),
        ("raise PlaceBusy('held by pid 1', remedy='')", Outcome.ERROR, "port", "held by"),
        ("undefined_name", Outcome.ERROR, "suite", "NameError"),
        ("measure('boot', unit='ms', high=400).take(512)", Outcome.FAIL, None, "boot = 512 ms, outside at most 400 ms"),
        ("measure('boot', unit='ms', high=400)", Outcome.FAIL, None, "declared and never taken"),
        ("measure('boot', unit='msec')", Outcome.ERROR, "host", "not a known UCUM unit"),
    ],
)
def test_what_a_test_can_come_to(bench: Bench, body: str, outcome: Outcome, layer: str | None, words: str) -> None:
    bench.write(f"def test_it(measure):\n    {body}\ndef test_fine(measure): pass\n")
    assert bench.run() == 1
    case = bench.case("test_it")
    assert (case.outcome, case.layer) == (outcome, layer)
    assert words in case.message
    assert bench.verdict.outcome is outcome
    assert bench.case("test_fine").outcome is Outcome.PASS


def test_a_measurement_that_was_skipped_is_not_a_failure(bench: Bench) -> None:
    bench.write("""
def test_it(measure):
    measure("light", unit="lx", high=3)
    pytest.skip("no lamp")
def test_fine(): pass
""")
    assert bench.run() == 0
    assert bench.verdict.skipped[0].reason == "no lamp"


def test_faults_of_setup_and_teardown_are_errors(bench: Bench) -> None:
    bench.write("""
@pytest.fixture
def bad(): assert False, "no jig"
@pytest.fixture
def leaky():
    yield
    raise StorageError("disk full", remedy="make room")
def test_a(bad): pass
def test_b(leaky): pass
def test_c(leaky): assert False, "the unit is bad"
""")
    bench.run()
    found = {case.name[-1]: (case.outcome, case.layer) for case in bench.verdict.cases}
    assert found == {"a": (Outcome.ERROR, "suite"), "b": (Outcome.ERROR, "host"), "c": (Outcome.ERROR, "host")}
    assert "the unit is bad" in bench.case("test_c").message


def test_a_suite_without_tests_is_not_pass(bench: Bench) -> None:
    assert bench.run() == 5
    assert (bench.verdict.outcome, bench.verdict.reason) == (Outcome.ERROR, "the suite has no tests")


def test_a_file_that_cannot_be_loaded_is_not_pass(bench: Bench) -> None:
    bench.write("def test_a(): pass\n")
    bench.write("import nothing_of_that_name\n", "test_broken.py")
    assert bench.run("--continue-on-collection-errors") == 1
    assert bench.verdict.outcome is Outcome.ERROR
    assert "nothing_of_that_name" in bench.verdict.reason


def test_results_of_another_run_are_not_mixed_in(bench: Bench) -> None:
    bench.write("def test_a(): pass\n")
    assert bench.run() == 0
    assert bench.run() == 4
    assert "holds the results of another run" in bench.output


def test_somebody_elses_retry_is_counted(bench: Bench) -> None:
    bench.write("def test_a():\n    assert next(TRIES)\nTRIES = iter((False, True))\n")
    with (bench.suite / "conftest.py").open("a") as file:
        file.write("""
from _pytest.runner import runtestprotocol
def pytest_runtest_protocol(item, nextitem):
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True
""")
    assert bench.run() == 0
    assert [(case.attempt, case.outcome) for case in bench.verdict.cases] == [(1, Outcome.FAIL), (2, Outcome.PASS)]
    assert bench.verdict.outcome is Outcome.FAIL
