# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin on a fake bench: which place a test gets, how many, and what is said when there is none."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from plugin_bench import Bench, bench

from assay.model.outcome import Outcome
from assay.pipeline.test_session import wish_of

__all__ = ["bench"]

TWO = ("--assay-place", "left", "--assay-place", "right")
TWO_PLACES = '{"left": [], "right": ["radio"]}'


def test_without_a_place_tests_are_skipped_with_a_reason(bench: Bench) -> None:
    bench.write("def test_it(unit): pass\ndef test_plain(measure): measure('x', high=1).take(0)\n")
    base = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "assay.pytest_plugin", "-c", os.devnull, "."]
    done = subprocess.run(base, cwd=bench.suite, env=bench.environment(), capture_output=True, timeout=60, text=True)
    assert done.returncode == 0
    assert "no place: name one with --assay-place" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout


def test_a_place_needs_a_release_and_a_trust_file(bench: Bench) -> None:
    bench.write("def test_it(unit): pass\n")
    base = [sys.executable, "-m", "pytest", "-p", "assay.pytest_plugin", "-c", os.devnull, "--assay-place", "p", "."]
    done = subprocess.run(base, cwd=bench.suite, env=bench.environment(), capture_output=True, timeout=60, text=True)
    assert done.returncode == 4
    assert "--assay-place needs --assay-release and --assay-trust" in done.stderr


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


def test_variables_do_what_options_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_PLACE", "a, b")
    monkeypatch.setenv("ASSAY_RELEASE", "demo-sensor@1.0.0")
    wish = wish_of({})
    assert (wish.places, wish.release) == (("a", "b"), "demo-sensor@1.0.0")
    wish = wish_of({"place": ["twin", "c"], "board": "ast1030-evb"})
    assert wish.places == ("twin:ast1030-evb", "c")
