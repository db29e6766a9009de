# SPDX-License-Identifier: Apache-2.0
"""The journal of runs: what is done stays done, one living owner, a last record that is never written twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay.errors import LinkError, NotRecorded, PlaceBusy
from assay.model.outcome import Outcome
from assay.pipeline.journal import JournalDatabase, user_name
from assay.pipeline.run_journal import Run

HOLDER = """
import sys, time
from pathlib import Path
from assay.pipeline.journal import JournalDatabase
with JournalDatabase(Path(sys.argv[1])).open_run("provision", "p1", place="p1") as run:
    run.begin("one"); run.done("one", {"value": 1}); run.begin("two")
    print(run.run_id, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site" / "journal.sqlite"


def hold(path: Path) -> tuple[subprocess.Popen[str], str]:
    """Another process in the middle of a run."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_run_whose_process_was_killed_goes_on_under_its_own_name(path: Path) -> None:
    process, run_id = hold(path)
    kill(process)
    with JournalDatabase(path).open_run("provision", "p1", place="p1") as run:
        assert (run.run_id, run.resumed) == (run_id, True)
        assert run.result("one") == {"value": 1}
        assert run.result("two") is None
        assert run.begin("two") == 2
        assert run.state.attempts == 2
        run.finish(Outcome.PASS)
    with JournalDatabase(path).open_run("provision", "p1", place="p1") as run:
        assert run.run_id != run_id
        assert not run.resumed


def test_a_living_owner_is_named_and_not_pushed_aside(path: Path) -> None:
    process, _ = hold(path)
    try:
        with pytest.raises(PlaceBusy, match=f"pid {process.pid}"):
            JournalDatabase(path).open_run("provision", "p1", place="p1")
        settled: list[str] = []
        others = JournalDatabase(path, settle=lambda run: settled.append(run.run_id))
        with others.open_run("update", "p1", place="p1") as run:
            run.finish(Outcome.PASS)
        assert settled == []
    finally:
        kill(process)


def test_a_stopped_owner_is_alive(path: Path) -> None:
    process, _ = hold(path)
    try:
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(PlaceBusy):
            JournalDatabase(path).open_run("provision", "p1", place="p1")
    finally:
        process.send_signal(signal.SIGCONT)
        kill(process)


def test_an_error_leaves_the_run_open_and_says_where(path: Path) -> None:
    journals = JournalDatabase(path)
    with pytest.raises(LinkError) as caught, journals.open_run("update", "p1") as run:
        run.begin("upload")
        raise LinkError("the link broke", remedy="look at the cable")
    assert "stopped in step upload; the same command goes on" in caught.value.__notes__[0]
    (state,) = journals.open_runs()
    assert state.stopped.startswith("LinkError: the link broke")
    assert state.stopped_at == "in step upload"


def test_a_finished_run_is_not_reopened_by_an_error_after_it(path: Path) -> None:
    journals = JournalDatabase(path)
    with pytest.raises(ValueError, match="late"), journals.open_run("update", "p1") as run:
        run.finish(Outcome.FAIL, "the unit is bad")
        raise ValueError("late")
    assert journals.open_runs() == []
    assert journals.state(run.run_id).outcome is Outcome.FAIL


def test_the_place_taken_by_another_verb_settles_the_dead_run_once(path: Path) -> None:
    process, run_id = hold(path)
    kill(process)
    settled: list[tuple[str, str]] = []

    def settle(run: Run) -> None:
        settled.append((run.run_id, run.state.stopped_at))
        run.finish(Outcome.ABORTED)

    journals = JournalDatabase(path, settle=settle)
    for _ in range(2):
        with journals.open_run("update", "p1", place="p1") as run:
            run.finish(Outcome.PASS)
    assert settled == [(run_id, "in step two")]
    assert journals.state(run_id).outcome is Outcome.ABORTED


def test_a_dead_run_of_another_place_is_left_alone(path: Path) -> None:
    process, _ = hold(path)
    kill(process)
    journals = JournalDatabase(path, settle=lambda run: pytest.fail("it is nobody's business"))
    with journals.open_run("update", "p2", place="p2") as run:
        run.finish(Outcome.PASS)


def test_settling_that_fails_leaves_the_run_for_the_next_one(path: Path) -> None:
    process, run_id = hold(path)
    kill(process)

    def fail(run: Run) -> None:
        raise NotRecorded("no room", remedy="make room")

    with pytest.raises(NotRecorded):
        JournalDatabase(path, settle=fail).open_run("update", "p1", place="p1")
    (state,) = JournalDatabase(path).open_runs()
    assert state.run_id == run_id


def test_a_sealed_run_is_finished_before_a_new_one_begins(path: Path) -> None:
    sealed: list[object] = []

    def settle(run: Run) -> None:
        sealed.append(run.state.seal)
        run.finish(Outcome.FAIL)

    journals = JournalDatabase(path, settle=settle)
    with pytest.raises(LinkError), journals.open_run("update", "p1", place="p1") as run:
        assert run.seal({"statement": 1}) == {"statement": 1}
        assert run.seal({"statement": 2}) == {"statement": 1}
        raise LinkError("after the seal", remedy="")
    with journals.open_run("update", "p1", place="p1") as again:
        assert again.run_id != run.run_id
        assert sealed == [{"statement": 1}]


def test_what_a_run_learned_stays(path: Path) -> None:
    journals = JournalDatabase(path)
    with journals.open_run("provision", "p1", place="p1", board="ast1030-evb", emulated=True) as run:
        run.identify(serial="DEMO-1")
        run.identify(board=None)
        state = run.state
    assert (state.serial, state.board, state.emulated, state.place) == ("DEMO-1", "ast1030-evb", True, "p1")


def test_a_step_begun_again_is_not_done(path: Path) -> None:
    with JournalDatabase(path).open_run("run", "x") as run:
        run.done("start", {"tty": "a"})
        assert run.result("start") == {"tty": "a"}
        assert run.begin("start") == 2
        assert run.result("start") is None


def test_many_processes_one_owner(path: Path) -> None:
    script = """
import sys
from pathlib import Path
from assay.errors import PlaceBusy
from assay.pipeline.journal import JournalDatabase
try:
    with JournalDatabase(Path(sys.argv[1])).open_run("build", "x"):
        print("owner", flush=True)
        sys.stdin.read()  # until all have asked
except PlaceBusy:
    print("busy", flush=True)
"""
    command = [sys.executable, "-c", script, str(path)]
    pipe = subprocess.PIPE
    ends = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(6)]
    words = [process.stdout.readline().strip() for process in ends if process.stdout is not None]
    for process in ends:
        process.communicate()
    assert sorted(words) == ["busy"] * 5 + ["owner"]


def test_killed_at_any_moment_what_was_said_to_be_done_is_done(path: Path) -> None:
    """The process prints a number after `done` has returned; after SIGKILL the journal holds at least that many."""
    script = """
import sys
from pathlib import Path
from assay.pipeline.journal import JournalDatabase
with JournalDatabase(Path(sys.argv[1])).open_run("count", "x") as run:
    number = sum(step.result is not None for step in run.state.steps)
    while True:
        run.begin(f"s{number}"); run.done(f"s{number}", {"n": number}); number += 1
        print(number, flush=True)
"""
    said = 0
    for delay_s in (0.0, 0.004, 0.011, 0.023, 0.037):
        process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(2):
            process.stdout.readline()
        time.sleep(delay_s)
        process.kill()
        lines = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        said = max([said, *(int(word) for word in lines if word)])
        (state,) = JournalDatabase(path).open_runs()
        done = [step for step in state.steps if step.result is not None]
        assert len(done) >= said
        assert [step.result for step in done] == [{"n": number} for number in range(len(done))]
    assert said > 5


def test_a_folder_that_cannot_be_written_is_not_recorded(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("a file is in the way")
    with pytest.raises(NotRecorded, match=r"journal|lock"):
        JournalDatabase(tmp_path / "site" / "journal.sqlite").open_run("update", "p1")


def test_a_full_disk_is_not_recorded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own limit on pages gives the same error as a disk without room."""
    journals = JournalDatabase(path)
    with journals.open_run("update", "p1") as run:
        (pages,) = journals.file.rows("PRAGMA page_count")[0]
        journals.file.rows(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(NotRecorded, match="full"):
            for number in range(10000):
                run.done(f"step-{number}", {"text": "x" * 2000})
    with JournalDatabase(path).open_run("update", "p1") as run:
        assert run.resumed


def test_a_damaged_file_is_not_recorded(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(NotRecorded, match="not a database"):
        JournalDatabase(path).open_run("update", "p1")


def test_a_newer_format_is_refused(path: Path) -> None:
    with JournalDatabase(path).open_run("update", "p1"):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(NotRecorded, match="format 9"):
        JournalDatabase(path).open_run("update", "p1")


def test_every_transaction_is_synced(path: Path) -> None:
    journals = JournalDatabase(path)
    with journals.open_run("update", "p1"):
        assert journals.file.rows("PRAGMA synchronous")[0][0] == 2  # FULL
        assert journals.file.rows("PRAGMA journal_mode")[0][0] == "wal"


def test_locks_leave_no_files(path: Path) -> None:
    journals = JournalDatabase(path)
    for number in range(3):
        with journals.open_run("run", str(number)) as run:
            run.finish(Outcome.PASS)
    assert list((path.parent / "run-locks").iterdir()) == []


def test_what_a_step_moved_stays_counted_when_it_begins_again(path: Path) -> None:
    with JournalDatabase(path).open_run("update", "p1") as run:
        run.begin("upload")
        assert run.moved("upload") == 0
        run.move("upload", 1000)
    with JournalDatabase(path).open_run("update", "p1") as run:
        run.begin("upload")
        run.move("upload", 500)
        assert (run.moved("upload"), run.moved("upload-patch")) == (1500, 0)
    with JournalDatabase(path).open_run("update", "p2") as other:
        assert other.moved("upload") == 0


def test_a_journal_from_before_moves_were_counted_is_used_as_it_is(path: Path) -> None:
    with JournalDatabase(path).open_run("update", "p1"):
        pass
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE moved")
    connection.close()
    with JournalDatabase(path).open_run("update", "p1") as run:
        assert run.resumed
        run.move("upload", 7)
        assert run.moved("upload") == 7


def test_a_uid_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: {}["no such uid"])
    assert user_name() == f"uid {os.getuid()}"
