# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin on a fake bench: what is on disk when a process, a worker or everything stops."""

from __future__ import annotations

import json
import signal
import subprocess
from xml.etree import ElementTree as ET

import pytest
from plugin_bench import Bench, bench, event_lines, wait_until

from assay.model.outcome import Outcome
from assay.pipeline.test_events import read_events
from assay.stages.hil.verdict import judge_run

__all__ = ["bench"]


def test_a_worker_that_dies_is_error(bench: Bench) -> None:
    bench.write("import os\ndef test_a(): pass\ndef test_b(): os._exit(0)\ndef test_c(): pass\n")
    bench.run("-n", "2")
    assert bench.case("test_b").outcome is Outcome.ERROR
    assert bench.verdict.outcome is Outcome.ERROR


def test_a_process_that_leaves_with_status_0_is_not_pass(bench: Bench) -> None:
    """It writes no reports; the parent judges its events (tests/system/test_hil_false_pass.py)."""
    bench.write("import os\ndef test_a(): pass\ndef test_b(): os._exit(0)\n")
    assert bench.run() == 0
    at = "2026-11-23T10:00:00.000Z"
    run = judge_run("s", read_events(bench.results), exit_status=0, started=at, finished=at)
    assert run.outcome is Outcome.ERROR
    assert "ended while this test ran" in run.reason


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_signal_leaves_reports_of_what_ran(bench: Bench, number: signal.Signals, workers: tuple[str, ...]) -> None:
    bench.write("import time\ndef test_a(unit): pass\ndef test_b(unit): time.sleep(30)\ndef test_c(unit): pass\n")
    process = subprocess.Popen(
        bench.command(*workers),
        cwd=bench.suite,
        env=bench.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_until(lambda: any("test_b" in line and "started" in line for line in event_lines(bench.results)))
    wait_until(lambda: any("test_a" in line and '"case"' in line for line in event_lines(bench.results)))
    process.send_signal(number)
    process.communicate(timeout=100)
    assert process.returncode == 2
    run = bench.verdict
    assert run.outcome is Outcome.ABORTED
    assert number.name in run.reason or number is signal.SIGINT
    assert bench.case("test_a").outcome is Outcome.PASS
    assert bench.case("test_b").outcome is Outcome.ABORTED
    junit = ET.parse(bench.results / "junit.xml")
    assert junit.find("testsuite").attrib["errors"] == "1"  # type: ignore[union-attr]


def test_every_result_is_on_disk_before_the_next_test(bench: Bench) -> None:
    bench.write("""
import os, signal
def test_a(measure): measure("boot", unit="ms", high=400).take(120)
def test_b(): os.kill(os.getpid(), signal.SIGKILL)
""")
    assert bench.run() == -signal.SIGKILL
    kinds = [json.loads(line)["event"] for line in event_lines(bench.results)]
    assert kinds == ["session", "collected", "case-started", "measured", "case", "case-started"]
