# SPDX-License-Identifier: Apache-2.0
"""How runs end in the log: with the real recorder, killed wherever it hurts, one record for each run, never two."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay.backends.records.record_store import RecordStore
from assay.errors import NotRecorded
from assay.interfaces.step_book import StepBook
from assay.model.outcome import Outcome
from assay.model.policy import PolicyNote
from assay.model.predicates import InterruptedRun
from assay.model.record import RecordType
from assay.model.statement import Statement, Subject
from assay.model.trust import Role
from assay.pipeline.recovery import conclude, keep_skipped, recover, run_digest
from assay.pipeline.site import Site

KILLS = 10

WORK = """
import sys
from pathlib import Path
from assay.model.outcome import Outcome
from assay.model.record import RecordType
from assay.model.statement import Statement, Subject
from assay.model.trust import Role
from assay.pipeline.recovery import conclude
from assay.pipeline.site import Site
sys.path.insert(0, sys.argv[2])
from test_journal_recovery import statement
site = Site(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    with site.journals.open_run("flash", "p1", place="p1", board="ast1030-evb", emulated=True) as run:
        run.begin("write")
        run.done("write", {})
        conclude(site, run, statement(run.run_id), RecordType.RUN, Role.STATION, Outcome.PASS, serial="S-1")
    print("over", flush=True)
"""


def statement(run_id: str) -> Statement:
    subject = Subject(name=f"run/{run_id}", digest={"sha256": run_digest(run_id)})
    return Statement(subject=(subject,), predicateType="urn:assay:predicate:run:v1", predicate={"run_id": run_id})


def recorded(site: Site) -> list[str]:
    """The run ids of all records of runs, by what is in the log."""
    store, found = RecordStore(site.folder), []
    for _, entry in store.entries():
        if entry.type is RecordType.RUN:
            found.append(_statement(store.record(entry.record)).subject[0].name.removeprefix("run/"))
    return found


def _statement(bundle: bytes) -> Statement:
    import base64

    payload = base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"])
    return Statement.model_validate_json(payload)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def test_a_run_that_nobody_takes_up_gets_a_record_that_says_where(site: Site) -> None:
    run = site.journals.open_run("provision", "p1", place="p1", board="ast1030-evb", emulated=True)
    run.begin("write-bootloader")
    run.done("write-bootloader", {})
    run.identify(serial="DEMO-7")
    run.begin("write-app")
    run.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert recover(site) == [run.run_id]
    assert recover(site) == []
    assert recorded(site) == [run.run_id]
    store = RecordStore(site.folder)
    ((_, entry),) = [row for row in store.entries() if row[1].type is RecordType.RUN]
    assert entry.serial == "DEMO-7"
    found = InterruptedRun.model_validate_json(json.dumps(_statement(store.record(entry.record)).predicate))
    assert (found.verb, found.stopped_at, found.run.outcome) == ("provision", "in step write-app", Outcome.ABORTED)
    assert [(step.name, step.outcome) for step in found.steps] == [
        ("write-bootloader", Outcome.PASS),
        ("write-app", Outcome.ABORTED),
    ]
    assert found.run.emulated
    assert found.run.finished == site.journals.state(run.run_id).seen or found.run.finished >= found.run.started


def test_another_verb_on_the_place_makes_the_record(site: Site) -> None:
    run = site.journals.open_run("provision", "p1", place="p1", board="ast1030-evb", emulated=True)
    run.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with site.journals.open_run("update", "p1", place="p1") as other:
        assert recorded(site) == [run.run_id]
        other.finish(Outcome.PASS)


def test_a_sealed_record_is_finished_as_it_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: object, *_: object) -> None:
        raise NotRecorded("no room", remedy="make room")

    site.recorder.checkpoint()
    run = site.journals.open_run("update", "p1", place="p1")
    with monkeypatch.context() as broken, pytest.raises(NotRecorded), run:
        broken.setattr(type(site.recorder), "record", die)
        conclude(site, run, statement(run.run_id), RecordType.RUN, Role.FIELD, Outcome.FAIL, serial="S-1", reason="bad")
    assert recorded(site) == []
    assert recover(site) == [run.run_id]
    assert recorded(site) == [run.run_id]
    assert site.journals.state(run.run_id).outcome is Outcome.FAIL


def test_a_policy_that_was_passed_over_is_told_by_a_run_that_was_cut_short(site: Site) -> None:
    run = site.journals.open_run("flash", "desk", place="desk")
    book = StepBook(run, lambda _line: None, lambda _what: lambda _done, _whole: None)
    keep_skipped(book, PolicyNote(skipped="bring-up"))
    run.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    recover(site)
    store = RecordStore(site.folder)
    ((_, entry),) = [row for row in store.entries() if row[1].type is RecordType.RUN]
    found = InterruptedRun.model_validate_json(json.dumps(_statement(store.record(entry.record)).predicate))
    assert found.run.policy == PolicyNote(skipped="bring-up")


def test_killed_at_any_moment_every_run_has_one_record(site: Site) -> None:
    dice = random.Random(7)
    site.recorder.checkpoint()
    for _ in range(KILLS):
        command = [sys.executable, "-c", WORK, str(site.folder), str(Path(__file__).parent)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )
        assert process.stdout is not None
        for _ in range(1 + dice.randint(1, 3)):
            process.stdout.readline()  # ready, and runs that are over
        time.sleep(dice.uniform(0.0, 0.3))
        process.kill()
        process.wait()
        process.stdout.close()
    recover(site)
    assert site.journals.open_runs() == []
    found = recorded(site)
    assert len(found) == len(set(found))
    assert set(found) == {state.run_id for state in site.journals.runs("flash")}
    assert len(found) >= KILLS
