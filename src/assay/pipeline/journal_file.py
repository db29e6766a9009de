# SPDX-License-Identifier: Apache-2.0
"""The SQLite file of the journals: its tables, its transactions, its errors.

Guards: a transaction that was left is on the disk (WAL with synchronous=FULL), and every failure is a `NotRecorded`.
Leaves to others: what the rows mean (`pipeline.journal`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from assay.backends.durable_database import open_database
from assay.errors import NotRecorded

SCHEMA_VERSION = 1
"""`PRAGMA user_version` of the file."""

BUSY_WAIT_S = 15.0
"""How long to wait for another process's transaction; each takes milliseconds."""

_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_DAMAGED_REMEDY = (
    "the file is damaged: restore it, or move it away; records and log stay as they are, runs that were open are "
    "begun anew"
)
_DISK_REMEDY = "free disk space and make the site folder writable, then run the same command again"

_TABLES = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, verb TEXT NOT NULL, key TEXT NOT NULL,
    serial TEXT, place TEXT, board TEXT, emulated INTEGER,
    started TEXT NOT NULL, seen TEXT NOT NULL, attempts INTEGER NOT NULL,
    owner_pid INTEGER NOT NULL, owner_user TEXT NOT NULL,
    stopped TEXT NOT NULL DEFAULT '', seal TEXT, outcome TEXT, reason TEXT NOT NULL DEFAULT '', closed TEXT
) STRICT;
CREATE UNIQUE INDEX one_open_run ON runs (verb, key) WHERE closed IS NULL;
CREATE TABLE steps (
    run_id TEXT NOT NULL REFERENCES runs (run_id), step TEXT NOT NULL, position INTEGER NOT NULL,
    attempts INTEGER NOT NULL, begun TEXT NOT NULL, done TEXT, result TEXT,
    PRIMARY KEY (run_id, step)
) STRICT;
"""

_ADDED = """
CREATE TABLE IF NOT EXISTS moved (
    run_id TEXT NOT NULL REFERENCES runs (run_id), step TEXT NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (run_id, step)
) STRICT
"""
"""Added to files of version 1 that lack it: who does not know it loses nothing."""


class JournalFile:
    """The file at `path`, made on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is durable once the block is left, and undone when an error leaves it."""
        with self._told():
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: str | int | None) -> list[sqlite3.Row]:
        """What `query` finds."""
        with self._told():
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if "_connection" in self.__dict__:
            self._connection.close()
            del self._connection

    @cached_property
    def _connection(self) -> sqlite3.Connection:
        connection = open_database(self.path, wait_s=BUSY_WAIT_S)
        connection.row_factory = sqlite3.Row
        try:
            self._make_tables(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        if version in (0, SCHEMA_VERSION):
            connection.execute(_ADDED)
        connection.execute("COMMIT")
        if version not in (0, SCHEMA_VERSION):
            raise NotRecorded(
                f"{self.path} has journal format {version}, this assay writes {SCHEMA_VERSION}",
                remedy="use the assay that wrote it, or another site folder (--site)",
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            damaged = getattr(error, "sqlite_errorcode", None) in _DAMAGED
            raise NotRecorded(
                f"the journal {self.path} cannot be used: {error}", remedy=_DAMAGED_REMEDY if damaged else _DISK_REMEDY
            ) from error
