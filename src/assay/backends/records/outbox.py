# SPDX-License-Identifier: Apache-2.0
"""The outbox: statements on their way into the log, and an index over what is there (SQLite, WAL, synchronous=FULL).

Guards: a statement that was put is there after a crash until it is in the log, and is put once, by the digest of its
bytes; its bundle is kept as soon as it is signed, since ECDSA would sign differently the second time. The index is a
copy: the log is the truth, and it is built again from it.
Leaves to others: signing, files and the log (`site_recorder`). Raises `sqlite3.Error`, `OSError`.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from assay.backends.durable_database import open_database
from assay.model.record import LogEntry, RecordType
from assay.model.trust import Role

SCHEMA_VERSION = 1

WAIT_S = 30.0
"""Seconds to wait for another process's transaction; each takes milliseconds."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, payload TEXT NOT NULL UNIQUE, "
    "statement BLOB NOT NULL, type TEXT NOT NULL, role TEXT NOT NULL, serial TEXT, since TEXT NOT NULL, bundle BLOB)",
    "CREATE TABLE IF NOT EXISTS logged (idx INTEGER PRIMARY KEY, payload TEXT NOT NULL, record TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS logged_payload ON logged (payload)",
)


def waiting(path: Path) -> set[str] | None:
    """Digests of what waits in the outbox at `path`: of the bundle once it is signed, of the statement before.

    Read without changing anything, also on a disk that cannot be written. None when it cannot be read.
    """
    if not path.is_file():
        return set()
    # Without a write-ahead log nobody is at work or was killed; then not even SQLite's shared memory file is made.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as database:
            rows = database.execute("SELECT bundle, payload FROM outbox").fetchall()
    except sqlite3.Error:
        return None
    return {hashlib.sha256(bundle).hexdigest() if bundle else payload for bundle, payload in rows}


@dataclass(frozen=True)
class Draft:
    """A statement on its way. `payload` is the SHA-256 of `statement`; `bundle` is None until it is signed."""

    payload: str
    statement: bytes
    type: RecordType
    role: Role
    serial: str | None
    since: str
    bundle: bytes | None = None


class Outbox:
    """The outbox in the file `path` (made if missing). Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._database = open_database(path, wait_s=WAIT_S)
        try:
            if self._database.execute("PRAGMA user_version").fetchone() != (SCHEMA_VERSION,):
                self._create()
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def put(self, draft: Draft) -> None:
        """Keep `draft`, durably, unless its payload is there already."""
        self._database.execute(
            "INSERT OR IGNORE INTO outbox (payload, statement, type, role, serial, since) VALUES (?, ?, ?, ?, ?, ?)",
            (draft.payload, draft.statement, draft.type.value, draft.role.value, draft.serial, draft.since),
        )

    def pending(self) -> list[Draft]:
        """What is not in the log yet, oldest first."""
        rows = self._database.execute(
            "SELECT payload, statement, type, role, serial, since, bundle FROM outbox ORDER BY seq"
        )
        return [Draft(row[0], row[1], RecordType(row[2]), Role(row[3]), *row[4:]) for row in rows]

    def signed(self, payload: str, bundle: bytes) -> None:
        """Keep the bundle of a draft."""
        self._database.execute("UPDATE outbox SET bundle = ? WHERE payload = ?", (bundle, payload))

    def logged(self, payload: str) -> int | None:
        """The index in the log of the statement with that digest."""
        row = self._database.execute("SELECT min(idx) FROM logged WHERE payload = ?", (payload,)).fetchone()
        return None if row[0] is None else int(row[0])

    def last_logged(self) -> tuple[int, str] | None:
        """Index and record of the newest entry that the index knows."""
        row = self._database.execute("SELECT idx, record FROM logged ORDER BY idx DESC LIMIT 1").fetchone()
        return None if row is None else (int(row[0]), str(row[1]))

    def settle(self, entries: Iterable[tuple[int, LogEntry]]) -> None:
        """These entries are in the log: know them, and drop their drafts, in one transaction."""
        rows = [(index, entry.payload, entry.record) for index, entry in entries]
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany("INSERT OR REPLACE INTO logged VALUES (?, ?, ?)", rows)
            self._database.execute("DELETE FROM outbox WHERE payload IN (SELECT payload FROM logged)")
            self._database.execute("COMMIT")
        except BaseException:
            self._database.execute("ROLLBACK")
            raise

    def forget_index(self) -> None:
        """Empty the index; the next `settle` builds it again from the log."""
        self._database.execute("DELETE FROM logged")

    def _create(self) -> None:
        for statement in _SCHEMA:
            self._database.execute(statement)
        self._database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
