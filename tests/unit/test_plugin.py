# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin on a fake bench: what counts, what does not, and what is on disk when everything stops.

Each test writes a suite, runs pytest on it in a process of its own, and reads what it left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from assay.model.outcome import Outcome
from assay.model.verdict import CaseResult, SuiteRun

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONFTEST = f"import sys; sys.path.insert(0, {str(HERE)!r}); import fake_bench; fake_bench.install()\n"
START_TIMEOUT_S = 20.0


class Bench:
    """A folder with a suite, and a way to run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.suite = folder / "suite"
        self.suite.mkdir()
        (self.suite / "conftest.py").write_text(CONFTEST)
        self.results = folder / "results"
        self.log = folder / "bench.log"
        self.output = ""

    def write(self, text: str, name: str = "test_it.py") -> None:
        (self.suite / name).write_text("import pytest, fake_bench\nfrom assay.errors import *\n" + text)

    def command(self, *options: str) -> list[str]:
        named = [] if "--assay-place" in options else ["--assay-place", "fake"]
        place = [*named, "--assay-release", "demo-sensor@1.0.0", "--assay-trust", "trust.toml"]
        plugins = ["-p", "no:cacheprovider", "-p", "assay.pytest_plugin", *(["-p", "xdist"] if "-n" in options else [])]
        base = [sys.executable, "-m", "pytest", "-q", *plugins, "-c", os.devnull, "--rootdir", "."]
        return [*base, *place, "--assay-results", str(self.results), *options, "."]

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASSAY_", "PYTEST_"))}
        quick = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return {**kept, **quick, "FAKE_LOG": str(self.log), **more}

    def run(self, *options: str, **more: str) -> int:
        done = subprocess.run(
            self.command(*options),
            cwd=self.suite,
            env=self.environment(**more),
            capture_output=True,
            timeout=60,
            text=True,
        )
        self.output = done.stdout + done.stderr
        return done.returncode

    @property
    def verdict(self) -> SuiteRun:
        suite = json.loads((self.results / "suite.json").read_bytes())
        assert suite.pop("schema") == "assay.suite/1"
        return SuiteRun.model_validate_json(json.dumps(suite))

    def case(self, name: str) -> CaseResult:
        (found,) = [case for case in self.verdict.cases if case.name.endswith(f"::{name}")]
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


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


def test_without_a_place_tests_are_skipped_with_a_reason(bench: Bench) -> None:
    bench.write("def test_it(unit): pass\ndef test_plain(measure): measure('x', high=1).take(0)\n")
    base = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "assay.pytest_plugin", "-c", os.devnull, "."]
    done = subprocess.run(base, cwd=bench.suite, env=bench.environment(), capture_output=True, timeout=60, text=True)
    assert done.returncode == 0
    assert "no place: name one with --assay-place" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout


def test_a_suite_in_the_projects_folder_needs_no_other_plugin(bench: Bench) -> None:
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "assay.pytest_plugin"]
    environment = bench.environment()
    done = subprocess.run(
        [*line, "suites/demo-sensor"], cwd=ROOT, env=environment, capture_output=True, timeout=60, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no place: name one with --assay-place" in done.stdout


def test_a_place_needs_a_release_and_a_trust_file(bench: Bench) -> None:
    bench.write("def test_it(unit): pass\n")
    base = [sys.executable, "-m", "pytest", "-p", "assay.pytest_plugin", "-c", os.devnull, "--assay-place", "p", "."]
    done = subprocess.run(base, cwd=bench.suite, env=bench.environment(), capture_output=True, timeout=60, text=True)
    assert done.returncode == 4
    assert "--assay-place needs --assay-release and --assay-trust" in done.stderr


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ("image = fake_bench.OTHER_IMAGE", "was started from image 2222222222222222"),
        ("image = None", "was started from image (none)"),
        ("image = b''", "was started from image (none)"),
        ("flash_image = fake_bench.OTHER_IMAGE", "has in its primary slot image 2222222222222222"),
        ("how = 'quoted'", "quotes the hash"),
        ("stage = fake_bench.Stage.BOOT", "the bootloader answers"),
    ],
)
def test_a_unit_that_runs_another_image_is_error_and_not_fail(bench: Bench, lie: str, words: str) -> None:
    bench.write(f"fake_bench.DEVICE.{lie}\ndef test_it(unit): assert False, 'never reached'\n")
    assert bench.run() == 1
    case = bench.case("test_it")
    assert (case.outcome, case.layer) == (Outcome.ERROR, "flasher")
    assert words in case.message
    assert "next: flash it" in bench.output or "quoted" in lie
    assert bench.verdict.outcome is Outcome.ERROR


def test_another_board_on_the_port_is_error(bench: Bench) -> None:
    bench.write("fake_bench.DEVICE.board = 'other'\ndef test_it(unit): pass\n")
    bench.run()
    assert (bench.case("test_it").outcome, bench.case("test_it").layer) == (Outcome.ERROR, "port")


def test_the_image_is_proved_again_after_a_power_cycle(bench: Bench) -> None:
    bench.write("""
def test_it(power):
    fake_bench.DEVICE.image_after_boot = fake_bench.OTHER_IMAGE
    power.cycle()
""")
    bench.run()
    case = bench.case("test_it")
    assert (case.outcome, case.layer) == (Outcome.ERROR, "flasher")


def test_another_unit_on_the_place_is_noticed(bench: Bench) -> None:
    bench.write("def test_it(smp): fake_bench.DEVICE.chip = bytes(16)\n")
    bench.run()
    assert "another unit answers" in bench.case("test_it").message
    assert bench.verdict.outcome is Outcome.ERROR


def test_a_unit_that_was_left_without_power_has_it_in_the_next_test(bench: Bench) -> None:
    bench.write("def test_a(power): power.off()\ndef test_b(smp): assert smp.echo('x') == 'x'\n")
    assert bench.run() == 0, bench.output


def test_console_lines_from_before_the_test_do_not_count(bench: Bench) -> None:
    """The line of the image that ran before would make this pass."""
    bench.write("def test_it(console): console.wait_for('ASSAY-APP 1', timeout_s=0.1)\n")
    bench.run()
    case = bench.case("test_it")
    assert (case.outcome, case.device_answers) == (Outcome.TIMEOUT, True)
    assert bench.verdict.outcome is Outcome.TIMEOUT
    assert bench.verdict.device_answers


def test_console_lines_from_before_a_power_cut_do_not_count(bench: Bench) -> None:
    bench.write("""
def test_it(console, power):
    power.cut()
    assert console.lines() == ()
    power.on()
    console.wait_for("a last word", timeout_s=0.1)
""")
    bench.run()
    assert bench.case("test_it").outcome is Outcome.TIMEOUT


def test_a_device_that_falls_silent_is_timeout_that_tells_nothing(bench: Bench) -> None:
    bench.write("""
def test_it(smp):
    fake_bench.DEVICE.silent = True
    smp.echo("x")
""")
    bench.run()
    case = bench.case("test_it")
    assert (case.outcome, case.layer, case.device_answers) == (Outcome.TIMEOUT, "link", False)
    assert not bench.verdict.device_answers


def test_a_power_switch_that_does_not_obey_is_error(bench: Bench) -> None:
    bench.write("""
def test_it(power):
    fake_bench.SWITCH.stuck = True
    power.cycle()
""")
    bench.run()
    assert (bench.case("test_it").outcome, bench.case("test_it").layer) == (Outcome.ERROR, "power")


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


def test_a_place_that_cannot_be_opened_is_error_for_every_test(bench: Bench) -> None:
    bench.write("def test_a(unit): pass\ndef test_b(smp): pass\n")
    assert bench.run(FAKE_OPEN_FAULT="the port is gone") == 1
    assert [case.outcome for case in bench.verdict.cases] == [Outcome.ERROR] * 2
    # In CI pytest gives the whole message in its summary again.
    assert bench.output.count("next: try another place") in (2, 4)
    assert "Traceback" not in bench.output


def test_a_test_for_another_board_is_skipped(bench: Bench) -> None:
    bench.write("""
@pytest.mark.unit(board="other")
def test_a(unit): assert False
@pytest.mark.unit(board="fake-board")
def test_b(unit): pass
""")
    assert bench.run() == 0
    assert [skipped.reason for skipped in bench.verdict.skipped] == ["needs board other, the place has fake-board"]


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


def test_each_worker_has_its_own_place(bench: Bench) -> None:
    bench.write("import time\n" + "".join(f"def test_{n}(unit): time.sleep(0.2)\n" for n in range(6)))
    assert bench.run("-n", "2") == 0, bench.output
    run = bench.verdict
    assert run.outcome is Outcome.PASS
    assert sorted(unit.place for unit in run.units) == ["fake-gw0", "fake-gw1"]
    assert {case.place for case in run.cases} == {"fake-gw0", "fake-gw1"}
    assert len(run.cases) == 6
    assert sorted(bench.log.read_text().split()) == sorted(
        ["open", "gw0", "close", "gw0", "open", "gw1", "close", "gw1"]
    )


TWO = ("--assay-place", "left", "--assay-place", "right")
TWO_PLACES = '{"left": [], "right": ["radio"]}'


def test_a_test_gets_a_place_that_has_what_it_needs(bench: Bench) -> None:
    bench.write("""
@pytest.mark.unit(feature="radio")
def test_radio(unit): assert unit.place == "right"
def test_any(unit): pass
@pytest.mark.unit(feature=["radio", "gps"])
def test_gps(unit): pass
@pytest.mark.unit(board="other")
def test_other(unit): pass
""")
    assert bench.run(*TWO, FAKE_PLACES=TWO_PLACES) == 0, bench.output
    assert {case.name.partition("::")[2]: case.place for case in bench.verdict.cases} == {
        "test_radio": "right",
        "test_any": "right",
    }
    assert [skipped.reason for skipped in bench.verdict.skipped] == [
        "needs gps, the place has radio; needs radio, gps, the place has no features",
        "needs board other, the place has fake-board",
    ]
    assert bench.log.read_text().split("\n")[:1] == ["open main"], "left was not opened"
    assert bench.log.read_text().count("open") == 1


def test_several_units_in_one_test(bench: Bench) -> None:
    bench.write("""
@pytest.mark.unit("a")
@pytest.mark.unit("b", feature="radio")
def test_both(units):
    assert (units["a"].unit.place, units["b"].unit.place) == ("left", "right")
    units["a"].power.off()
    assert not units["a"].power.is_on() and units["b"].power.is_on()
    assert units["b"].smp.info().chip == units["b"].unit.info.chip
@pytest.mark.unit("a")
def test_one_beside_the_unit(unit, units): assert unit.place != units["a"].unit.place
@pytest.mark.unit("a")
@pytest.mark.unit("b")
@pytest.mark.unit("c")
def test_three(units): pass
""")
    assert bench.run(*TWO, FAKE_PLACES=TWO_PLACES) == 0, bench.output
    cases = {case.name.partition("::")[2]: case for case in bench.verdict.cases}
    assert sorted(cases) == ["test_both", "test_one_beside_the_unit"]
    assert cases["test_both"].place is not None
    assert sorted(cases["test_both"].place.split(", ")) == ["left", "right"]
    assert [skipped.reason for skipped in bench.verdict.skipped] == ["is taken by this test"]


def test_a_place_that_is_used_is_passed_over(bench: Bench) -> None:
    bench.write("def test_a(unit): assert unit.place == 'right'\n")
    assert bench.run(*TWO, FAKE_PLACES=TWO_PLACES, FAKE_BUSY="left") == 0, bench.output
    assert bench.case("test_a").outcome is Outcome.PASS


def test_no_free_place_is_error_and_names_who_has_it(bench: Bench) -> None:
    bench.write("@pytest.mark.unit(feature='radio')\ndef test_a(unit): pass\n")
    assert bench.run(*TWO, FAKE_PLACES=TWO_PLACES, FAKE_BUSY="left,right") == 1
    case = bench.case("test_a")
    assert case.outcome is Outcome.ERROR and "right is used by assay flash (pid 7)" in (case.message or "")


def test_a_marker_that_asks_for_nothing_known_is_error(bench: Bench) -> None:
    bench.write("@pytest.mark.unit(colour='red')\ndef test_a(unit): pass\ndef test_b(units): pass\n")
    assert bench.run() == 1
    assert "pytest.mark.unit has no 'colour'" in (bench.case("test_a").message or "")
    assert bench.case("test_b").outcome is Outcome.ERROR and "takes names from the markers" in bench.output


def test_a_worker_that_dies_is_error(bench: Bench) -> None:
    bench.write("import os\ndef test_a(): pass\ndef test_b(): os._exit(0)\ndef test_c(): pass\n")
    bench.run("-n", "2")
    assert bench.case("test_b").outcome is Outcome.ERROR
    assert bench.verdict.outcome is Outcome.ERROR


def test_a_process_that_leaves_with_status_0_is_not_pass(bench: Bench) -> None:
    """It writes no reports; the parent judges its events (tests/system/test_hil_run.py)."""
    from assay.pipeline.test_events import read_events
    from assay.stages.hil.verdict import judge_run

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
    _wait_until(lambda: any("test_b" in line and "started" in line for line in _lines(bench.results)))
    _wait_until(lambda: any("test_a" in line and '"case"' in line for line in _lines(bench.results)))
    process.send_signal(number)
    process.communicate(timeout=20)
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
    kinds = [json.loads(line)["event"] for line in _lines(bench.results)]
    assert kinds == ["session", "collected", "case-started", "measured", "case", "case-started"]


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


def test_variables_do_what_options_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.pipeline.test_session import wish_of

    monkeypatch.setenv("ASSAY_PLACE", "a, b")
    monkeypatch.setenv("ASSAY_RELEASE", "demo-sensor@1.0.0")
    wish = wish_of({})
    assert (wish.places, wish.release) == (("a", "b"), "demo-sensor@1.0.0")
    wish = wish_of({"place": ["twin", "c"], "board": "ast1030-evb"})
    assert wish.places == ("twin:ast1030-evb", "c")


def _lines(folder: Path) -> list[str]:
    return [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)
