# SPDX-License-Identifier: Apache-2.0
"""The memory of a witness: the last checkpoint of each log that it cosigned (SQLite, WAL, synchronous=FULL).

Guards: looking and changing are one step among all threads and processes; what a turn kept is on the disk when the
turn has ended. Leaves to others: whether the memory is what was cosigned (`stages.records.witness`).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from assay.backends.durable_database import open_database
from assay.errors import StorageError
from assay.model.witness import SeenHead

WAIT_S = 30.0
"""Seconds to wait for another turn; one takes as long as a signature."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS heads (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, "
    "time_s INTEGER NOT NULL, note BLOB NOT NULL)"
)


class Turn:
    """Implements `interfaces.witness_heads.HeadTurn` inside a transaction."""

    def __init__(self, database: sqlite3.Connection, origin: str) -> None:
        self._database = database
        row = database.execute(
            "SELECT origin, size, root, time_s, note FROM heads WHERE origin = ?", (origin,)
        ).fetchone()
        self.last = None if row is None else SeenHead(*row)

    def keep(self, head: SeenHead) -> None:
        """`head` is the last one from the commit on."""
        values = (head.origin, head.size, head.root, head.time_s, head.note)
        self._database.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?, ?)", values)


class WitnessHeads:
    """The memory in the file `path`, made if missing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def turn(self, origin: str) -> Iterator[Turn]:
        """A transaction about the log `origin`."""
        try:
            with contextlib.closing(open_database(self._path, wait_s=WAIT_S)) as database:
                database.execute(_SCHEMA)
                database.execute("BEGIN IMMEDIATE")
                try:
                    yield Turn(database, origin)
                except BaseException:
                    database.execute("ROLLBACK")
                    raise
                database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            text = f"the memory of the witness cannot be used: {error}"
            raise StorageError(text, remedy="free disk space, or restore the file from a copy") from error
