# SPDX-License-Identifier: Apache-2.0
"""`assay test` on real firmware: what is signed, what is refused, and the ways in which a PASS could be false."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hil_unit import (
    DEMO,
    Unit,
    coreutils_digest,
    eventually,
    has_started,
    needs_sandbox,
    no_process_is_left,
    plain_pytest,
    records,
    release_of,
    sha256,
    statement,
    unit,
)
from life_site import APP, ROOT, environment, life_site

__all__ = ["no_process_is_left", "unit"]


def test_the_demo_suite_is_signed_with_what_it_found(unit: Unit) -> None:
    unit.count += 1
    started = time.monotonic()
    told = unit.site.good(*unit.line(DEMO))
    print(f"assay test took {time.monotonic() - started:.2f} s")
    assert (told["outcome"], told["serial"], told["record_type"]) == ("PASS", unit.serial, "test")
    assert 5 <= len(told["cases"]) <= 12
    said = statement(unit.site, told["record"])
    assert said["subject"] == [{"name": f"{APP}@1.0.0", "digest": {"sha256": told["file_sha256"]}}]
    predicate = said["predicate"]
    assert (predicate["result"], predicate["failedTests"]) == ("PASSED", [])
    assert sorted(predicate["passedTests"]) == sorted(case["name"] for case in told["cases"])
    bench = predicate["urn:assay:test-run:v1"]
    (seen,) = bench["units"]
    assert (seen["serial"], seen["emulated"], seen["before"]["image_hash"]) == (unit.serial, True, told["image_hash"])
    assert seen["before_in_flash"] == seen["after_in_flash"] == seen["after"]["image_hash"] == told["image_hash"]
    assert seen["evidence_before"]["nonce_hex"] != seen["evidence_after"]["nonce_hex"]
    named = {one["name"]: one.get("digest", {}).get("sha256") for one in predicate["configuration"]}
    assert named["suite"] == coreutils_digest(DEMO)
    assert named["unit"] == seen["certificate_sha256"]
    for name, digest in told["files"].items():
        assert sha256(unit.results / name) == digest == named[name]
        assert (unit.site.folder / "attachments" / digest).read_bytes() == (unit.results / name).read_bytes()


def test_reports_name_image_unit_and_place(unit: Unit) -> None:
    told = unit.test("def test_it(unit, measure): measure('level', unit='V', low=1, high=2).take(1.5)")
    assert told.status == 0, told.said
    suite = ET.parse(unit.results / "junit.xml").find("testsuite")
    assert suite is not None
    properties = {one.attrib["name"]: one.attrib["value"] for one in suite.iter("property")}
    assert properties["assay.image.sha256"] == told.data["file_sha256"]
    assert (properties["assay.serial"], properties["assay.place"]) == (unit.serial, "u")
    assert int(properties["assay.attempt"]) >= 1
    openhtf = json.loads((unit.results / "openhtf.json").read_bytes())
    assert (openhtf["dut_id"], openhtf["station_id"], openhtf["outcome"]) == (
        unit.serial, suite.attrib["hostname"], "PASS",
    )  # fmt: skip
    assert openhtf["phases"][0]["measurements"]["level"]["units"]["code"] == "VLT"
    facts = {name: value for name, value in openhtf["metadata"]["assay"].items() if name.startswith("assay.")}
    assert facts == {name: value for name, value in properties.items() if name in facts}
    told_by_both = {"assay.image.sha256", "assay.image.hash", "assay.serial", "assay.chip", "assay.place"}
    assert told_by_both | {"assay.board", "assay.attempt"} <= set(facts)
    unit.test("def test_it(unit): pass")
    again = json.loads((unit.results / "openhtf.json").read_bytes())["metadata"]["assay"]
    assert int(again["assay.attempt"]) == int(properties["assay.attempt"]) + 1


@pytest.mark.parametrize("board", ["ast1030-evb", "rv32-virt"])
@pytest.mark.timeout(300)
def test_two_workers_have_a_fresh_twin_each(board: str, tmp_path: Path) -> None:
    site = life_site(board, tmp_path / "site")
    line = ("test", DEMO, "--place", f"twin:{board}", "-n", "2", "--release", f"{APP}@1.0.0", "--trust", site.trust)
    told = site.good(*line, "--results", tmp_path / "results")
    assert told["outcome"] == "PASS"
    places = [one["place"] for one in told["units"]]
    assert len(set(places)) == len({one["chip"] for one in told["units"]}) == 2
    assert {case["place"] for case in told["cases"]} == set(places)
    assert told["serial"] is None
    assert not list((site.folder / "twins").glob("fresh-*"))


def test_a_named_unit_is_not_tested_by_halves(unit: Unit) -> None:
    told = unit.test("def test_it(unit): pass", "-n", "2")
    assert told.status == 2
    assert "the whole suite on that unit" in told.said


@pytest.mark.timeout(300)
def test_plain_pytest_with_two_workers_makes_two_twins(tmp_path: Path) -> None:
    """Without `assay test`: the plugin alone, each worker with a twin of its own."""
    site = life_site("ast1030-evb", tmp_path / "site")
    done = subprocess.run(
        plain_pytest(site, DEMO, "twin:ast1030-evb", "-n", "2", "--assay-results", str(tmp_path / "results")),
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    run = json.loads((tmp_path / "results" / "suite.json").read_bytes())
    assert run["outcome"] == "PASS"
    assert len({one["chip"] for one in run["units"]}) == 2
    assert eventually(lambda: not list((site.folder / "twins").glob("fresh-*")))


def test_a_unit_that_runs_another_image_is_error_with_a_record(unit: Unit) -> None:
    told = unit.site.verb(*unit.line(unit.suite("def test_it(unit): pass"), version="1.1.0"))
    assert told.status == 3
    assert "the image under test is" in told.data["error"]
    assert "assay flash" in told.data["remedy"]
    junit = ET.parse(unit.results / "junit.xml").find("testsuite")
    assert junit is not None
    assert (junit.attrib["errors"], junit.attrib["failures"]) == ("1", "0")
    assert any(one["run"]["outcome"] == "ERROR" and one["verb"] == "test" for one in records(unit.site, "run"))


def test_a_unit_that_comes_to_another_image_in_the_suite_is_error(tmp_path: Path) -> None:
    site = life_site("ast1030-evb", tmp_path / "site")
    site.twin("u")
    unit = Unit(site, tmp_path, site.good(*site.provision_line("u"))["serial"])
    blob = json.loads(release_of(site, "1.1.0"))["image"]["file_sha256"]
    told = unit.test(f"""
import hashlib
def test_update(smp, unit):
    data = pathlib.Path({str(site.folder / "store" / "blobs" / "sha256" / blob)!r}).read_bytes()
    smp.upload(data, hashlib.sha256(data).digest())
    smp.set_pending(smp.measure(1).image_hash)
    smp.reset()
def test_next(unit): pass
""")
    assert told.status == 3, told.said
    cases = {case["name"].partition("::")[2]: (case["outcome"], case["layer"]) for case in told.data["cases"]}
    assert cases == {"test_update": ("ERROR", "flasher"), "test_next": ("ERROR", "flasher")}
    assert told.data["record_type"] == "run"


def test_the_console_of_the_image_before_is_not_heard(unit: Unit) -> None:
    """The version line of the boot before the test lies in the port's buffer; the test waits for a new one."""
    told = unit.test("def test_it(console): console.wait_for('ASSAY-APP 1', timeout_s=0.5)")
    assert told.status == 1
    assert (told.data["outcome"], told.data["record_type"]) == ("TIMEOUT", "test")
    assert statement(unit.site, told.data["record"])["predicate"]["result"] == "FAILED"


@pytest.mark.parametrize(
    ("text", "conftest", "status", "words"),
    [
        ("def test_it(unit): assert False", "def pytest_sessionfinish(session): session.exitstatus = 0", 1, "test_it"),
        ("def test_it(unit): assert False", "def pytest_unconfigure(): import os; os._exit(0)", 1, "test_it"),
        ("def test_a(unit): pass\ndef test_b(unit): os._exit(0)", "", 3, "ended while this test ran"),
        ("def test_a(unit): pass\ndef test_b(unit): os.kill(os.getpid(), 9)", "", 3, "ended while this test ran"),
        ("def test_a(unit): pass", "def pytest_sessionfinish(session): session.exitstatus = 1", 3, "no test does"),
        ("def test_a(unit): pass", "def pytest_runtestloop(session): return True", 3, "never run"),
        ("def helper(): pass", "", 3, "no tests"),
        ("def test_a(): pytest.skip('no lamp')", "", 3, "all 1 tests were skipped: no lamp"),
        ("import nothing_of_that_name\ndef test_a(): pass", "", 3, "nothing_of_that_name"),
        ("def test_a(unit): pass", "raise RuntimeError('conftest')", 3, "before it began"),
    ],
)
def test_an_exit_status_that_lies(unit: Unit, text: str, conftest: str, status: int, words: str) -> None:
    told = unit.test(text, conftest=conftest)
    assert (told.status, words in told.data["reason"]) == (status, True), told.said
    assert told.data["record_type"] == ("test" if status == 1 else "run")


def test_the_callers_settings_of_pytest_do_not_matter(unit: Unit) -> None:
    suite = unit.suite("def test_a(unit): pass\ndef test_b(unit): assert False")
    settings = environment() | {"PYTEST_ADDOPTS": "-k test_a", "PYTEST_PLUGINS": "nothing_of_that_name"}
    done = subprocess.run(
        unit.site.command(*unit.line(suite)), capture_output=True, text=True, cwd=ROOT, env=settings, timeout=200
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(json.loads(done.stdout)["cases"]) == 2


def test_two_processes_on_one_port(unit: Unit) -> None:
    """The second is told who the first is, and the first does not notice."""
    suite, go = unit.waiting("def test_it(unit, smp):\n    WAIT\n    assert smp.echo('x') == 'x'")
    line = unit.site.command(*unit.line(suite))
    with subprocess.Popen(
        line, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as first:
        assert eventually(lambda: has_started(unit.results, "test_it"))
        second = unit.site.verb("test", suite, *unit.line(suite)[2:-1], unit.folder / "other")
        assert second.status == 3
        assert f"assay test (pid {first.pid}, user" in second.data["error"]
        alone = subprocess.run(
            plain_pytest(unit.site, suite, "u"),
            cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert alone.returncode == 1
        assert f"assay test (pid {first.pid}, user" in alone.stdout
        go.touch()
        out, _ = first.communicate(timeout=200)
    assert first.returncode == 0, out


@needs_sandbox
def test_a_twin_that_was_off_runs_for_the_whole_test_and_is_off_again(unit: Unit) -> None:
    assert unit.site.good("twin", "status", "u")["running"] is False
    told = unit.test("def test_it(unit, power): power.cycle()")
    assert told.status == 0, told.said
    assert unit.site.good("twin", "status", "u")["running"] is False


def test_a_measurement_out_of_its_limits_fails_the_unit(unit: Unit) -> None:
    told = unit.test("def test_it(unit, measure): measure('level', unit='V', low=1, high=2).take(2.5)")
    assert (told.status, told.data["outcome"], told.data["record_type"]) == (1, "FAIL", "test")
    predicate = statement(unit.site, told.data["record"])["predicate"]
    assert (predicate["result"], predicate["passedTests"]) == ("FAILED", [])


def test_a_test_that_was_tried_again_is_warned_of_in_record_and_trace(unit: Unit) -> None:
    told = unit.test("""
import pytest
from assay.errors import LinkError
uptimes, began_s = [], time.monotonic()
@pytest.mark.retry(attempts=2, counts="last", from_power="cycle")
def test_it(unit, smp):
    uptimes.append(smp.stats().uptime_ms)
    if len(uptimes) == 1:
        raise LinkError("the jig lost its line", remedy="look at the jig")
    assert uptimes[1] < (time.monotonic() - began_s) * 1000 and smp.stats().boots == 1, uptimes
""")
    assert (told.status, told.data["outcome"], len(told.data["flaky"])) == (0, "PASS", 1), told.said
    predicate = statement(unit.site, told.data["record"])["predicate"]
    assert (predicate["result"], predicate["passedTests"], len(predicate["warnedTests"])) == ("WARNED", [], 1)
    bench = predicate["urn:assay:test-run:v1"]
    assert [(case["attempt"], case["outcome"], case.get("layer")) for case in bench["cases"]] == [
        (1, "ERROR", "link"),
        (2, "PASS", None),
    ]
    (rule,) = bench["retries"].values()
    assert (rule["attempts"], rule["counts"], rule["from_power"]) == (2, "last", "cycle")
    traced = unit.site.verb("trace", unit.serial, "--trust", str(unit.site.trust))
    assert traced.status == 0 and "passed only at attempt 2" in json.dumps(traced.data), traced.said


def test_a_group_of_steps_is_tried_again_from_the_dark(unit: Unit) -> None:
    """Both steps, and after a power cut: a reset would have left the boots counted."""
    told = unit.test("""
import pytest
from assay.errors import LinkError
boots = []
@pytest.mark.retry(attempts=2, counts="last", group="pairing", from_power="cut", off_s=0.2)
class TestPairing:
    def test_first(self, smp): boots.append(smp.stats().boots)
    def test_second(self, smp, console):
        if len(boots) == 1:
            smp.reset()
            console.wait_for("ASSAY-APP", timeout_s=30)
            boots.append(smp.stats().boots)
            raise LinkError("the jig lost its line", remedy="look at the jig")
def test_told(unit): assert boots[1] == boots[0] + 1 and boots[2] == 1 and len(boots) == 3, boots
""")
    assert told.status == 0, told.said
    assert [(case["name"].rpartition("::")[2], case["attempt"], case["outcome"]) for case in told.data["cases"]] == [
        ("test_first", 1, "PASS"),
        ("test_second", 1, "ERROR"),
        ("test_first", 2, "PASS"),
        ("test_second", 2, "PASS"),
        ("test_told", 1, "PASS"),
    ]
