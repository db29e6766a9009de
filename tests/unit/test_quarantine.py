# SPDX-License-Identifier: Apache-2.0
"""Places that tests keep away from: what comes of the records alone, and a person's word over it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from plugin_bench import Bench
from test_hil_statement import bench as bench_run
from test_hil_statement import case

from assay.cli.main import main
from assay.errors import InQuarantine
from assay.model.outcome import Outcome
from assay.model.record import RecordType
from assay.model.statement import Subject
from assay.model.trust import Role
from assay.model.verdict import SuiteRun
from assay.pipeline.quarantine import check, decide, states
from assay.pipeline.recovery import run_digest
from assay.pipeline.site import Site
from assay.stages.hil.statement import result_statement, run_statement
from assay.stages.hil.unit_history import RunSeen, history_of

NOW = "2026-11-26T00:00:00Z"


def seen(*outcomes: str, what: str = "suite image", layer: str = "link") -> list[RunSeen]:
    return [
        RunSeen(Outcome(outcome), what, layer if outcome == "ERROR" else None, 0, "DS-1", NOW) for outcome in outcomes
    ]


def test_flips_and_repeated_errors_are_doubts() -> None:
    assert history_of(seen("PASS", "FAIL", "PASS")).doubt == ""
    assert "changed between PASS and FAIL 3 times in 4 runs" in history_of(seen("PASS", "FAIL", "PASS", "FAIL")).doubt
    assert history_of(seen("PASS", "FAIL") + seen("PASS", "FAIL", what="other image")).doubt == ""
    assert history_of(seen("ERROR", "ERROR", "PASS", "ERROR")).doubt == ""
    assert "last 3 runs ended in an ERROR of the bench, most often link" in history_of(seen(*["ERROR"] * 3)).doubt
    assert history_of(seen(*["ERROR"] * 5, layer="suite")).doubt == ""
    assert history_of(seen("FAIL", "PASS", "FAIL", "PASS", *["PASS"] * 20)).doubt == ""


class Records:
    """A site, and runs that its records tell of."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder / ".assay")
        self.count = 0

    def ran(self, outcome: Outcome, place: str = "desk", layer: str = "link", serial: str | None = "DS-000001") -> None:
        self.count += 1
        run = bench_run(outcome, case("a", outcome), serial=serial)
        header = run.run.model_copy(update={"place": place, "run_id": f"test-{self.count}"})
        if outcome in (Outcome.PASS, Outcome.FAIL):
            statement = result_statement(run.model_copy(update={"run": header}))
            self.site.recorder.record(statement, RecordType.TEST, Role.BENCH, serial)
            return
        suite = SuiteRun(suite="s", started=NOW, finished=NOW, outcome=outcome, reason="it broke", layer=layer)
        subject = Subject(name="run", digest={"sha256": run_digest(header.run_id)})
        statement = run_statement(header, suite, subject=subject, serial=serial)
        self.site.recorder.record(statement, RecordType.RUN, Role.BENCH, serial)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


def test_a_place_comes_into_quarantine_by_its_records_and_out_by_a_word(records: Records) -> None:
    site = records.site
    assert states(site) == {}
    for outcome in (Outcome.PASS, Outcome.FAIL, Outcome.PASS):
        records.ran(outcome)
        check(site, "desk")
    records.ran(Outcome.FAIL)
    with pytest.raises(InQuarantine, match=r"desk is in quarantine.*changed between PASS and FAIL 3 times"):
        check(site, "desk")
    state = decide(site, "desk", "lift", "new cable")
    assert (state.quarantined, state.history.runs) == (False, 0)
    records.ran(Outcome.FAIL)
    check(site, "desk")
    assert states(site)["desk"].history.failed == 1


def test_errors_of_the_bench_count_and_those_of_the_suite_do_not(records: Records) -> None:
    for _ in range(3):
        records.ran(Outcome.ERROR, place="left", layer="power")
        records.ran(Outcome.ERROR, place="right", layer="suite", serial=None)
    found = states(records.site)
    assert (found["left"].quarantined, found["right"].quarantined) == (True, False)
    assert found["left"].history.errors == {"power": 3}


def test_a_persons_word_is_a_record_that_no_cache_can_lose(records: Records, tmp_path: Path) -> None:
    site = records.site
    records.ran(Outcome.PASS)
    decide(site, "desk", "begin", "smells burnt")
    copy = tmp_path / "copy"
    for kept in ("log", "records", "keys"):
        shutil.copytree(site.folder / kept, copy / kept)
    (state,) = states(Site(copy)).values()
    assert state.quarantined and state.why == "smells burnt" and " on " in state.by and state.history.passed == 1


def test_a_unit_takes_its_quarantine_along(records: Records) -> None:
    records.ran(Outcome.PASS, place="desk")
    decide(records.site, "desk", "begin", "smells burnt")
    records.ran(Outcome.PASS, place="shelf")
    with pytest.raises(InQuarantine, match="its unit DS-000001 is in quarantine at desk: smells burnt"):
        check(records.site, "shelf")


def test_the_command(records: Records) -> None:
    records.ran(Outcome.ERROR)

    def run(*words: str) -> tuple[int, dict[str, object]]:
        line = [
            sys.executable,
            "-m",
            "assay",
            "bench",
            "quarantine",
            *words,
            "--json",
            "--site",
            str(records.site.folder),
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, env=environment)
        return done.returncode, json.loads(done.stdout)

    assert run("desk")[0] == 2
    status, told = run("desk", "--reason", "loose connector")
    assert (status, told["quarantined"], told["why"]) == (0, True, "loose connector")
    status, told = run()
    (place,) = told["places"]  # type: ignore[misc]
    assert (place["place"], place["history"]["errors"], place["quarantined"]) == ("desk", {"link": 1}, True)
    status, told = run("desk", "--lift", "--reason", "soldered")
    assert (status, told["quarantined"]) == (0, False)
    assert run("dsek", "--reason", "a slip")[0] == 2


def test_the_list_of_places_tells_of_it_and_is_there_when_records_are_not(records: Records, tmp_path: Path) -> None:
    place = '[[places]]\nname = "{0}"\nboard = "any"\nport = "socket://{0}:1"\n'
    bench = tmp_path / "bench.toml"
    bench.write_text('schema = "assay.bench/1"\n' + place.format("desk") + place.format("shelf"))
    words = ["bench", "list", "--bench", str(bench), "--site", str(records.site.folder)]

    def listed() -> dict[str, str | None]:
        answer = CliRunner().invoke(main, [*words, "--json"])
        assert answer.exit_code == 0, answer.output
        return {each["name"]: each["quarantine"] for each in json.loads(answer.stdout)["places"]}

    assert listed() == {"desk": "", "shelf": ""}
    decide(records.site, "desk", "begin", "loose connector")
    assert listed() == {"desk": "loose connector", "shelf": ""}
    assert "  QUARANTINE: loose connector\n" in CliRunner().invoke(main, words).output
    for record in (records.site.folder / "records").glob("*.json"):
        record.write_bytes(b"{}")
    assert listed() == {"desk": None, "shelf": None}
    assert "nobody knows which places are in quarantine: " in CliRunner().invoke(main, words).output


def test_tests_are_not_given_a_place_in_quarantine_unless_asked(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.write("def test_it(unit): assert unit.place == 'right'\n")
    places = {"FAKE_PLACES": json.dumps({"left": [], "right": []}), "FAKE_QUARANTINE": "left"}
    named = ("--assay-place", "left", "--assay-place", "right")
    assert bench.run(*named, **places) == 0, bench.output
    shutil.rmtree(bench.results)
    assert bench.run("--assay-place", "left", **places) == 1
    (only,) = bench.verdict.cases
    assert (only.outcome, "it flips" in only.message) == (Outcome.ERROR, True)
    shutil.rmtree(bench.results)
    bench.write("def test_it(unit): assert unit.place == 'left'\n")
    assert bench.run(*named, "--assay-quarantined", **places) == 0, bench.output
