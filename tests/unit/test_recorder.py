# SPDX-License-Identifier: Apache-2.0
"""The record keeper: nothing is lost, nothing is there twice, and what could not be recorded is loud."""

from __future__ import annotations

import concurrent.futures
import errno
import hashlib
import os
import shutil
import signal
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from crashing_files import Crash, CrashingFiles, memory_dir
from memory_signer import MemorySigner, trust_in

from assay.backends.records.outbox import Draft, Outbox
from assay.backends.records.site_recorder import SiteRecorder
from assay.errors import AssayError, ExitStatus, NotRecorded, NotVerified, Refused
from assay.formats import canonical_json
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role
from assay.stages.records.verify import verify_log

__all__ = ["memory_dir"]

SIGNER = MemorySigner()


class StillClock:
    """A clock that stands."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        del seconds


def recorder_of(folder: Path, signer: MemorySigner = SIGNER) -> SiteRecorder:
    return SiteRecorder(folder / "site", signer, StillClock())


def statement(number: int, serial: str = "U-1") -> Statement:
    subject = Subject(name="image", digest={"sha256": "ab" * 32})
    predicate = {"n": number, "serial": serial}
    return Statement(subject=(subject,), predicateType=PredicateType.UPDATE.value, predicate=predicate)


def record(recorder: SiteRecorder, number: int) -> RecordRef:
    return recorder.record(statement(number), RecordType.UPDATE, Role.FIELD, "U-1")


def numbers(recorder: SiteRecorder) -> list[int]:
    """What is in the log, after everything in it was verified."""
    report = verify_log(recorder.store, trust_in(SIGNER, recorder.trusted_log()))
    assert report.faults == []
    payloads = {hashlib.sha256(canonical_json.encode_value(statement(n))).hexdigest(): n for n in range(2000)}
    return [payloads[entry.payload] for _, entry in recorder.store.entries()]


def test_records_in_order(tmp_path: Path) -> None:
    recorder = recorder_of(tmp_path)
    refs = [record(recorder, number) for number in range(5)]
    assert [ref.index for ref in refs] == list(range(5))
    assert [ref.tree_size for ref in refs] == [1, 2, 3, 4, 5]
    assert numbers(recorder) == list(range(5))
    assert refs[3].entry.serial == "U-1"
    assert hashlib.sha256(recorder.bundle(refs[3])).hexdigest() == refs[3].entry.record


def test_the_same_statement_is_recorded_once(tmp_path: Path) -> None:
    recorder = recorder_of(tmp_path)
    first, again = record(recorder, 1), record(recorder_of(tmp_path), 1)
    assert again == first
    record(recorder, 2)
    assert record(recorder, 1).index == 0
    assert numbers(recorder) == [1, 2]


def test_the_same_statement_after_the_outbox_is_gone(tmp_path: Path) -> None:
    """The index in it is a copy of the log, and is built again."""
    recorder = recorder_of(tmp_path)
    refs = [record(recorder, number) for number in range(3)]
    for path in (tmp_path / "site").glob("outbox.sqlite*"):
        path.unlink()
    assert record(recorder_of(tmp_path), 1).entry == refs[1].entry
    assert numbers(recorder) == [0, 1, 2]


def test_a_draft_that_another_process_has_logged_meanwhile(tmp_path: Path) -> None:
    """Two processes with one statement: the second one's draft comes when the first one's record is in the log."""
    recorder = recorder_of(tmp_path)
    record(recorder, 1)
    payload = canonical_json.encode_value(statement(1))
    draft = Draft(hashlib.sha256(payload).hexdigest(), payload, RecordType.UPDATE, Role.FIELD, "U-1", "now")
    with Outbox(tmp_path / "site" / "outbox.sqlite") as outbox:
        outbox.put(draft)
    assert recorder.recover() == 1
    assert numbers(recorder) == [1]


def test_empty_log_has_a_checkpoint(tmp_path: Path) -> None:
    assert recorder_of(tmp_path).checkpoint().split(b"\n")[1] == b"0"


def test_wrong_role_is_refused_before_anything_is_kept(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="a image may not record"):
        recorder_of(tmp_path).record(statement(1), RecordType.UPDATE, Role.IMAGE)
    assert not (tmp_path / "site").exists()


def test_attachments(tmp_path: Path) -> None:
    recorder = recorder_of(tmp_path)
    digest = recorder.attach(b"console\x00log")
    assert digest == recorder.attach(b"console\x00log") == hashlib.sha256(b"console\x00log").hexdigest()
    assert recorder.store.attachment(digest) == b"console\x00log"
    path = tmp_path / "site" / "attachments" / digest
    path.write_bytes(b"other")
    recorder.attach(b"console\x00log")
    assert recorder.store.attachment(digest) == b"console\x00log"


def test_signer_that_is_away(tmp_path: Path) -> None:
    """Status 5, and the next run records what was left."""
    signer = SIGNER
    recorder = recorder_of(tmp_path)
    recorder.checkpoint()
    signer.away = True
    try:
        with pytest.raises(NotRecorded, match="signer process") as error:
            record(recorder, 1)
        assert error.value.status is ExitStatus.NOT_RECORDED
        assert isinstance(error.value.__cause__, AssayError)
    finally:
        signer.away = False
    assert record(recorder_of(tmp_path), 2).index == 1
    assert numbers(recorder) == [1, 2]


def test_log_signer_that_is_away(tmp_path: Path) -> None:
    """Signed and filed is not recorded: the checkpoint is missing."""
    recorder = recorder_of(tmp_path)
    recorder.checkpoint()
    SIGNER.away_for = {Role.LOG}
    try:
        with pytest.raises(NotRecorded):
            record(recorder, 1)
    finally:
        SIGNER.away_for = set()
    assert recorder_of(tmp_path).recover() == 1
    assert numbers(recorder) == [1]
    assert recorder.recover() == 0


def test_one_record_that_cannot_be_signed_does_not_hold_up_the_others(tmp_path: Path) -> None:
    recorder = recorder_of(tmp_path)
    recorder.checkpoint()
    SIGNER.away_for = {Role.FIELD}
    try:
        with pytest.raises(NotRecorded):
            record(recorder, 1)
        other = statement(2)
        recorder.record(other, RecordType.UPDATE, Role.STATION, "U-1")
        with pytest.raises(NotRecorded):
            recorder.recover()
    finally:
        SIGNER.away_for = set()
    assert recorder.recover() == 1
    assert numbers(recorder) == [2, 1]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("a file, where a folder should be")
    with pytest.raises(NotRecorded) as error:
        record(recorder_of(tmp_path), 1)
    assert error.value.remedy
    with pytest.raises(NotRecorded):
        recorder_of(tmp_path).attach(b"x")


def test_records_folder_that_cannot_be_written(tmp_path: Path) -> None:
    recorder = recorder_of(tmp_path)
    recorder.checkpoint()
    (tmp_path / "site" / "records").write_text("")
    with pytest.raises(NotRecorded):
        record(recorder, 1)
    (tmp_path / "site" / "records").unlink()
    record(recorder, 2)
    assert numbers(recorder) == [1, 2]


def test_damaged_outbox(tmp_path: Path) -> None:
    recorder = recorder_of(tmp_path)
    record(recorder, 1)
    (tmp_path / "site" / "outbox.sqlite").write_bytes(b"x" * 10_000)
    with pytest.raises(NotRecorded, match="outbox"):
        record(recorder, 2)


def test_full_disk_at_every_operation(memory_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = memory_dir / "before"
    record(recorder_of(before), 0)
    files = CrashingFiles(monkeypatch, memory_dir / "work")
    for die_at in range(1000):
        shutil.copytree(before, memory_dir / "work")
        files.arm(die_at, torn=True, error=OSError(errno.ENOSPC, "No space left on device", "x"))
        try:
            record(recorder_of(memory_dir / "work"), 1)
        except NotRecorded as error:
            assert "No space left" in str(error)
            files.arm(None)
            record(recorder_of(memory_dir / "work"), 2)
            kept = [1] if die_at else []  # the first operation makes the site's folder durable: no outbox before that
            assert numbers(recorder_of(memory_dir / "work")) == [0, *kept, 2]
            shutil.rmtree(memory_dir / "work")
        else:
            assert die_at > 15
            return
    pytest.fail("it never ended")


def test_full_disk_in_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = recorder_of(tmp_path)
    record(recorder, 0)

    class Full(Outbox):
        def put(self, draft: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("assay.backends.records.site_recorder.Outbox", Full)
    with pytest.raises(NotRecorded, match="disk is full"):
        record(recorder, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_really_full_disk(tmp_path: Path) -> None:
    """On a file system of 256 KiB: at some record it is full, that is told, and with space again nothing is missing."""
    (tmp_path / "site").mkdir()
    if os.system(f"mount -t tmpfs -o size=256k none '{tmp_path / 'site'}' 2>/dev/null"):
        pytest.skip("this machine lets nobody mount")
    try:
        recorder = recorder_of(tmp_path)
        done = 0
        with pytest.raises(NotRecorded):
            for done in range(1000):
                record(recorder, done)
        assert done > 5
        assert os.system(f"mount -o remount,size=8m '{tmp_path / 'site'}'") == 0
        record(recorder_of(tmp_path), done)
        assert numbers(recorder) == list(range(done + 1))
    finally:
        os.system(f"umount '{tmp_path / 'site'}'")


@pytest.mark.parametrize("torn", [False, True])
def test_death_at_every_operation(memory_dir: Path, monkeypatch: pytest.MonkeyPatch, torn: bool) -> None:
    before = memory_dir / "before"
    for number in range(2):
        record(recorder_of(before), number)
    files = CrashingFiles(monkeypatch, memory_dir / "work")
    for die_at in range(1000):
        shutil.copytree(before, memory_dir / "work")
        files.arm(die_at, torn=torn)
        try:
            record(recorder_of(memory_dir / "work"), 2)
        except Crash:
            files.arm(None)
            recorder_of(memory_dir / "work").recover()
            found = numbers(recorder_of(memory_dir / "work"))
            assert found in ([0, 1], [0, 1, 2])
            record(recorder_of(memory_dir / "work"), 2)
            assert numbers(recorder_of(memory_dir / "work")) == [0, 1, 2]
            assert not list((memory_dir / "work").rglob(".tmp-*"))
            shutil.rmtree(memory_dir / "work")
        else:
            assert die_at > 15
            return
    pytest.fail("it never ended")


KILLS = 200


def test_killed_at_random_moments(memory_dir: Path) -> None:
    """SIGKILL, 200 times: every record that was acknowledged is in the log once, and none is there twice."""
    dice, acknowledged, started = Random(7), set[int](), 0
    begin = time.monotonic()
    record(recorder_of(memory_dir), 0)
    one_s = time.monotonic() - begin
    for _ in range(KILLS):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _record_until_killed(memory_dir, started + 1, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            told = [int(pipe.readline()) for _ in range(dice.randrange(4))]
            time.sleep(dice.uniform(0.0, one_s))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            told += [int(line) for line in pipe.read().splitlines()]
        begun, done = [n for n in told if n > 0], [-n for n in told if n < 0]
        assert done == begun[: len(done)]
        acknowledged |= set(done)
        started = max([started, *begun])
    recorder = recorder_of(memory_dir)
    recorder.recover()
    found = numbers(recorder)
    assert len(found) == len(set(found))
    assert acknowledged | {0} <= set(found)
    assert set(found) <= set(range(started + 1))
    assert len(acknowledged) > KILLS / 4
    assert not list(memory_dir.rglob(".tmp-*"))


def _record_until_killed(folder: Path, number: int, writer: int) -> None:
    recorder = recorder_of(folder)
    while True:
        os.write(writer, b"%d\n" % number)
        record(recorder, number)
        os.write(writer, b"-%d\n" % number)
        number += 1


def test_several_processes_record_at_once(tmp_path: Path) -> None:
    children = []
    for first in range(4):
        child = os.fork()
        if child == 0:
            try:
                for number in range(first * 10, first * 10 + 10):
                    record(recorder_of(tmp_path), number)
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    assert sorted(numbers(recorder_of(tmp_path))) == list(range(40))


def test_several_threads_record_at_once(tmp_path: Path) -> None:
    recorder = recorder_of(tmp_path)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: record(recorder, number % 10), range(40)))
    assert sorted(numbers(recorder)) == list(range(10))


def test_a_log_that_was_set_back_is_noticed(tmp_path: Path) -> None:
    recorder = recorder_of(tmp_path)
    record(recorder, 0)
    shutil.copytree(tmp_path / "site" / "log", tmp_path / "old")
    record(recorder, 1)
    shutil.rmtree(tmp_path / "site" / "log")
    shutil.copytree(tmp_path / "old", tmp_path / "site" / "log")
    with pytest.raises(NotRecorded, match="the log has 1 entries, and 2 were recorded"):
        record(recorder_of(tmp_path), 2)


def test_who_only_asks_for_the_checkpoint_of_a_damaged_log_is_told_that_and_not_of_a_record(tmp_path: Path) -> None:
    """Status 4: it was 5, as if work had been done."""
    recorder = recorder_of(tmp_path)
    record(recorder, 1)
    shutil.rmtree(tmp_path / "site" / "log" / "tile")
    with pytest.raises(NotVerified, match="is missing"):
        recorder.checkpoint()
    with pytest.raises(NotRecorded, match="is missing"):
        record(recorder, 2)


def test_a_log_that_is_gone_does_not_begin_again(tmp_path: Path) -> None:
    record(recorder_of(tmp_path), 0)
    shutil.rmtree(tmp_path / "site" / "log")
    with pytest.raises(NotRecorded, match="no checkpoint"):
        record(recorder_of(tmp_path), 1)
    (tmp_path / "site" / "outbox.sqlite").unlink()
    with pytest.raises(NotRecorded, match="no checkpoint"):
        record(recorder_of(tmp_path), 1)


def test_another_history_of_the_same_length_is_noticed(tmp_path: Path) -> None:
    recorder = recorder_of(tmp_path)
    record(recorder, 0)
    record(recorder_of(tmp_path / "b"), 5)
    shutil.rmtree(tmp_path / "site" / "log")
    shutil.copytree(tmp_path / "b" / "site" / "log", tmp_path / "site" / "log")
    with pytest.raises(NotRecorded, match="entry 0 of the log is not what was recorded"):
        record(recorder_of(tmp_path), 1)
