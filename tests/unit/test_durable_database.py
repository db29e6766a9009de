# SPDX-License-Identifier: Apache-2.0
"""How the databases of a site are opened: nothing that was committed is lost when the power is."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from assay.backends.durable_database import open_database
from assay.backends.ledgers.serial_ledger import SerialLedger
from assay.backends.records.outbox import Outbox
from assay.pipeline.journal_file import JournalFile

FULL = 2
"""`PRAGMA synchronous`: fsync at each commit (SQLite, "PRAGMA synchronous")."""


def test_each_commit_is_fsynced_and_the_names_of_new_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[Path] = set()
    fsync = os.fsync

    def note(file: int) -> None:
        synced.add(Path(f"/proc/self/fd/{file}").readlink())
        fsync(file)

    monkeypatch.setattr(os, "fsync", note)
    path = tmp_path / "new" / "site" / "x.sqlite"
    connection = open_database(path, wait_s=0.1)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (FULL,)
    assert not connection.in_transaction
    assert {tmp_path, path.parent.parent, path.parent} <= synced
    connection.close()


def test_all_of_a_sites_databases_are_opened_so(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox") as outbox:
        journal, ledger = JournalFile(tmp_path / "journal"), SerialLedger(tmp_path / "ledger")
        for connection in (outbox._database, journal._connection, ledger._open()):
            assert connection.execute("PRAGMA synchronous").fetchone()[0] == FULL


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no database at all, but long enough to be read as the head of one" * 9)
    with pytest.raises(sqlite3.DatabaseError):
        open_database(tmp_path / "x", wait_s=0.1)
