# SPDX-License-Identifier: Apache-2.0
"""`assay test` on real firmware: what is signed, what is refused, and the ways in which a PASS could be false.

Most tests share one provisioned unit: a suite leaves it as it found it, or the run is not PASS.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from life_site import APP, ROOT, LifeSite, Told, environment, life_site

from assay.pipeline import test_sandbox

DEMO = ROOT / "suites" / "demo-sensor"
PATIENCE_S = 30.0
needs_sandbox = pytest.mark.skipif(bool(test_sandbox.why_not()), reason=test_sandbox.why_not())


@dataclass
class Unit:
    """A provisioned unit on the twin `u`, and a folder for suites and results."""

    site: LifeSite
    folder: Path
    serial: str
    count: int = 0

    def suite(self, text: str, **files: str) -> Path:
        """A suite of one file, and of `files` by their name without suffix."""
        self.count += 1
        folder = self.folder / f"suite-{self.count}"
        folder.mkdir()
        (folder / "test_it.py").write_text("import os, pathlib, time, pytest\n" + text)
        for name, content in files.items():
            (folder / f"{name}.py").write_text(content)
        return folder

    def line(self, suite: Path, *more: str, place: str = "u", version: str = "1.0.0") -> tuple[str | Path, ...]:
        line = ("test", suite, "--place", place, "--release", f"{APP}@{version}", "--trust", self.site.trust)
        return (*line, "--results", self.results, *more)

    @property
    def results(self) -> Path:
        return self.folder / f"results-{self.count}"

    def test(self, text: str, *more: str, **files: str) -> Told:
        return self.site.verb(*self.line(self.suite(text, **files), *more))


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Unit:
    folder = tmp_path_factory.mktemp("hil")
    site = life_site("ast1030-evb", folder / "site")
    site.twin("u")
    return Unit(site, folder, site.good(*site.provision_line("u"))["serial"])


def statement(site: LifeSite, sha256: str) -> dict[str, Any]:
    bundle = json.loads((site.folder / "records" / f"{sha256}.json").read_text())
    found: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return found


def records(site: LifeSite, kind: str) -> list[dict[str, Any]]:
    found = [statement(site, path.stem) for path in (site.folder / "records").glob("*.json")]
    return [one["predicate"] for one in found if one["predicateType"].rstrip("v01.").rstrip("/:").endswith(kind)]


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
    assert named["suite"] == _coreutils_digest(DEMO)
    assert named["unit"] == seen["certificate_sha256"]
    for name, digest in told["files"].items():
        assert _sha256(unit.results / name) == digest == named[name]
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
    assert (openhtf["dut_id"], openhtf["outcome"]) == (unit.serial, "PASS")
    assert openhtf["phases"][0]["measurements"]["level"]["units"]["code"] == "VLT"


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
        _plain_pytest(site, DEMO, "twin:ast1030-evb", "-n", "2", "--assay-results", str(tmp_path / "results")),
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    run = json.loads((tmp_path / "results" / "suite.json").read_bytes())
    assert run["outcome"] == "PASS"
    assert len({one["chip"] for one in run["units"]}) == 2
    assert _eventually(lambda: not list((site.folder / "twins").glob("fresh-*")))


# False PASS: another image, old console bytes, a lying exit status, a second user of the port


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
    blob = json.loads(_release_of(site, "1.1.0"))["image"]["file_sha256"]
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
        unit.site.command(*unit.line(suite)), capture_output=True, text=True, cwd=ROOT, env=settings, timeout=60
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(json.loads(done.stdout)["cases"]) == 2


def test_two_processes_on_one_port(unit: Unit) -> None:
    """The second is told who the first is, and the first does not notice."""
    suite = unit.suite("def test_it(unit, smp):\n    time.sleep(3)\n    assert smp.echo('x') == 'x'")
    line = unit.site.command(*unit.line(suite))
    with subprocess.Popen(
        line, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as first:
        assert _eventually(lambda: _started(unit.results, "test_it"))
        second = unit.site.verb("test", suite, *unit.line(suite)[2:-1], unit.folder / "other")
        assert second.status == 3
        assert f"assay test (pid {first.pid}, user" in second.data["error"]
        alone = subprocess.run(
            _plain_pytest(unit.site, suite, "u"),
            cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert alone.returncode == 1
        assert f"assay test (pid {first.pid}, user" in alone.stdout
        out, _ = first.communicate(timeout=60)
    assert first.returncode == 0, out


# What a test cannot do


@needs_sandbox
def test_a_suite_can_neither_read_the_keys_nor_write_the_records(unit: Unit) -> None:
    told = unit.test(f"""
SITE = pathlib.Path({str(unit.site.folder)!r})
def test_keys(unit):
    assert list((SITE / "keys").iterdir()) == []
def test_roots_of_other_processes(unit):
    roots = [path for path in pathlib.Path("/proc").glob("[0-9]*/root") if (path / str(SITE)[1:] / "keys").exists()]
    assert [name for path in roots for name in os.listdir(path / str(SITE)[1:] / "keys")] == []
@pytest.mark.parametrize("name", ["records/x", "log/x", "store/x", "keys.toml", "journal.sqlite"])
def test_write(unit, name):
    with pytest.raises(OSError):
        (SITE / name).write_bytes(b"x")
def test_environment(unit):
    assert not [name for name in os.environ if "KEY" in name or name == "SECRET_OF_THE_CALLER"]
""")
    assert told.status == 0, told.said
    assert told.data["sandbox"] == "bubblewrap"
    assert list((unit.site.folder / "keys").iterdir())


@needs_sandbox
def test_a_suite_sees_nothing_of_this_machine_that_it_does_not_need(unit: Unit, tmp_path: Path) -> None:
    secret = tmp_path / "another-project" / "secret"
    secret.parent.mkdir()
    secret.write_text("of somebody else")
    unit.site.twin("other")
    suite = f"""
import socket
SECRET = pathlib.Path({str(secret)!r})
def test_files(unit, power):
    power.cycle()
    assert pathlib.Path({str(ROOT)!r}, "boards").is_dir()
    assert not SECRET.exists()
    (SITE / "twins" / "u" / "note").touch()
    with pytest.raises(OSError):
        (SITE / "twins" / "other" / "note").touch()
    assert os.listdir("/dev/pts") == [os.path.basename(os.readlink(SITE / "twins" / "u" / "tty"))]
    assert [name for name in os.listdir("/tmp") if name.startswith("assay-test-sites")] == []
SITE = pathlib.Path({str(unit.site.folder)!r})
def test_network(unit):
    assert [name for _, name in socket.if_nameindex()] == ["lo"]
"""
    told = unit.test(suite)
    assert told.status == 0, told.said
    bench = statement(unit.site, told.data["record"])["predicate"]["urn:assay:test-run:v1"]
    assert "sandbox_opened" not in bench
    opened = unit.test(suite, "--sandbox-bind", str(secret.parent), "--sandbox-net")
    assert (opened.status, next(case["outcome"] for case in opened.data["cases"])) == (1, "FAIL"), opened.said
    bench = statement(unit.site, opened.data["record"])["predicate"]["urn:assay:test-run:v1"]
    assert bench["sandbox_opened"] == [str(secret.parent), "network"]
    for refused in (unit.site.folder, "/", "/nowhere", "relative"):
        assert unit.test("def test_it(unit): pass", "--sandbox-bind", str(refused)).status == 2


@needs_sandbox
def test_a_twin_that_was_off_runs_for_the_whole_test_and_is_off_again(unit: Unit) -> None:
    assert unit.site.good("twin", "status", "u")["running"] is False
    told = unit.test("def test_it(unit, power): power.cycle()")
    assert told.status == 0, told.said
    assert unit.site.good("twin", "status", "u")["running"] is False


CHANGES_ITSELF = "def test_it(unit): pathlib.Path(__file__).write_text('def test_it(): pass')"


@needs_sandbox
def test_a_suite_cannot_change_itself(unit: Unit) -> None:
    told = unit.test(CHANGES_ITSELF)
    (case,) = told.data["cases"]
    assert (told.status, case["outcome"], "Read-only file system" in case["message"]) == (3, "ERROR", True)


def test_without_a_sandbox_it_is_said_and_a_suite_that_changes_itself_is_error(unit: Unit, tmp_path: Path) -> None:
    for program in ("qemu-system-arm", "git"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    done = subprocess.run(
        unit.site.command(*unit.line(unit.suite(CHANGES_ITSELF))),
        cwd=ROOT, env=environment() | {"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert (done.returncode, told["reason"]) == (3, "the suite's files changed while it ran")
    assert told["sandbox"] == "none"
    assert "no sandbox, the tests could read this site's keys: bubblewrap is not installed" in done.stderr


def test_results_that_somebody_else_wrote_prove_nothing(unit: Unit) -> None:
    told = unit.test("""
def test_it(unit, request):
    events = pathlib.Path(request.config.getoption("--assay-events"))
    (events / "gw9.events.jsonl").write_text("all is well\\n")
""")
    assert (told.status, told.data["record_type"]) == (3, "run")
    assert "gw9.events.jsonl:1: not an event" in told.data["reason"]


def test_a_measurement_out_of_its_limits_fails_the_unit(unit: Unit) -> None:
    told = unit.test("def test_it(unit, measure): measure('level', unit='V', low=1, high=2).take(2.5)")
    assert (told.status, told.data["outcome"], told.data["record_type"]) == (1, "FAIL", "test")
    predicate = statement(unit.site, told.data["record"])["predicate"]
    assert (predicate["result"], predicate["passedTests"]) == ("FAILED", [])


# Everything stops


def test_a_suite_that_does_not_end_is_ended(unit: Unit) -> None:
    started = time.monotonic()
    told = unit.test("def test_a(unit): pass\ndef test_b(unit): time.sleep(300)", "--timeout", "12")
    assert time.monotonic() - started < 60
    assert (told.status, told.data["outcome"], told.data["reason"]) == (1, "TIMEOUT", "not done after 12 s")
    outcomes = [case["outcome"] for case in told.data["cases"]]
    assert outcomes == ["PASS", "ABORTED"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_reports_and_a_record(unit: Unit, number: signal.Signals) -> None:
    suite = unit.suite("def test_a(unit): pass\ndef test_b(unit): time.sleep(300)")
    with _popen(unit, suite) as process:
        assert _eventually(lambda: _started(unit.results, "test_b"))
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    told = json.loads(out)
    assert (process.returncode, told["outcome"]) == (3, "ABORTED")
    assert [case["outcome"] for case in told["cases"]] == ["PASS", "ABORTED"]
    assert ET.parse(unit.results / "junit.xml").find("testsuite/testcase/error") is not None
    assert statement(unit.site, told["record"])["predicate"]["run"]["outcome"] == "ABORTED"
    assert _eventually(lambda: not _processes_with(str(suite)))


@pytest.mark.timeout(200)
def test_a_run_that_was_killed_is_recorded_by_the_next_one(unit: Unit) -> None:
    suite = unit.suite("def test_a(unit): pass\ndef test_b(unit): time.sleep(300)")
    before = len(records(unit.site, "run"))
    with _popen(unit, suite) as process:
        assert _eventually(lambda: _started(unit.results, "test_b"))
        process.kill()
        process.wait()
    assert _eventually(lambda: not _processes_with(str(suite))), "pytest outlived assay test"
    assert len(records(unit.site, "run")) == before
    assert unit.test("def test_it(unit): pass").status == 0
    found = [one for one in records(unit.site, "run") if "in step suite" in one["stopped_at"]]
    assert len(records(unit.site, "run")) == before + 1
    assert [(one["verb"], one["run"]["outcome"]) for one in found] == [("test", "ABORTED")]
    assert unit.site.verb("log", "verify", "--trust", unit.site.trust).status == 0


def test_a_unit_that_dies_in_a_test_is_error(unit: Unit) -> None:
    """Somebody pulls the plug: QEMU is killed from outside, and nothing switches it on again."""
    text = "def test_it(smp, measure):\n    measure('begun').take(1)\n    time.sleep(4)\n    smp.echo('x')"
    with _popen(unit, unit.suite(text)) as process:
        assert _eventually(lambda: _told(unit.results, '"measured"', "begun"))
        unit.site.good("twin", "power", "off", "u", "--force")
        out, _ = process.communicate(timeout=100)
    told = json.loads(out)
    (case,) = told["cases"]
    assert (case["outcome"], case["layer"], case["device_answers"]) == ("TIMEOUT", "link", False)
    assert case["message"]
    assert unit.site.verb(*unit.line(unit.suite("def test_it(unit): pass"))).status == 0


@pytest.fixture(autouse=True)
def _no_process_is_left(unit: Unit) -> Iterator[None]:
    yield
    assert _eventually(lambda: not _processes_with(str(unit.folder / "suite-"))), "a test process is left"


def _plain_pytest(site: LifeSite, suite: Path, place: str, *more: str) -> list[str]:
    line = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider", str(suite), *more]
    line += ["--assay-place", place, "--assay-release", f"{APP}@1.0.0", "--assay-site", str(site.folder)]
    return [*line, "--assay-trust", str(site.trust)]


def _popen(unit: Unit, suite: Path) -> subprocess.Popen[bytes]:
    line = unit.site.command(*unit.line(suite))
    return subprocess.Popen(line, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _started(results: Path, name: str) -> bool:
    return _told(results, '"case-started"', name)


def _told(results: Path, *words: str) -> bool:
    return any(
        all(word in line for word in words)
        for path in results.glob("events/*/*.jsonl")
        for line in path.read_text().splitlines()
    )


def _eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _processes_with(word: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if "pytest" in words and "-m" in words and word in words and int(path.parent.name) != os.getpid():
            found.append(int(path.parent.name))
    return found


def _release_of(site: LifeSite, version: str) -> bytes:
    """The release's manifest, which the store keeps as a blob."""
    for path in (site.folder / "store" / "blobs" / "sha256").iterdir():
        data = path.read_bytes()
        if data.startswith(b"{") and f'"version":"{version}"'.encode() in data and b'"assay.release/1"' in data:
            return data
    raise AssertionError(f"no release {version}")


def _sha256(path: Path) -> str:
    return subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout[:64]


def _coreutils_digest(folder: Path) -> str:
    """As the docs say that anyone can take it."""
    line = "find . -type f ! -path '*/__pycache__/*' -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum"
    return subprocess.run(
        f"{line} | sha256sum", shell=True, cwd=folder, capture_output=True, text=True, check=True
    ).stdout[:64]


def test_a_test_that_was_tried_again_is_warned_of_in_record_and_trace(unit: Unit) -> None:
    told = unit.test("""
import pytest
from assay.errors import LinkError
uptimes = []
@pytest.mark.retry(attempts=2, counts="last", from_power="cycle")
def test_it(unit, smp):
    uptimes.append(smp.stats().uptime_ms)
    if len(uptimes) == 1:
        raise LinkError("the jig lost its line", remedy="look at the jig")
    assert uptimes[1] < 5000 and smp.stats().boots == 1, uptimes
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
