# SPDX-License-Identifier: Apache-2.0
"""The ledger of serial numbers, in SQLite: one chip, one serial number, for ever.

Guards: a number is never given to two chips, and a chip never gets two numbers, in any order of crashes and with any
number of processes; a number whose unit was lost or scrapped is not given again, since nothing is ever deleted: the
file itself refuses it, also to a person with another program.
Numbers that differ only in upper and lower case count as the same. Leaves to others: what records know
(`adopt`, called from `pipeline.provision_run`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assay.backends.durable_database import open_database
from assay.errors import DuplicateSerial, Refused, StorageError
from assay.model.identifiers import parse_serial
from assay.model.profile import SerialScheme

BUSY_TIMEOUT_S = 30.0
"""Seconds to wait for another process; a transaction takes milliseconds, so this is a dead disk or a debugger."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS units (
    chip TEXT NOT NULL PRIMARY KEY,
    serial TEXT NOT NULL COLLATE NOCASE UNIQUE,
    source TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS counters (
    prefix TEXT NOT NULL COLLATE NOCASE PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS marks (
    name TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS units_are_never_deleted BEFORE DELETE ON units
BEGIN SELECT RAISE(ABORT, 'a serial number is never freed: its unit may exist'); END;
CREATE TRIGGER IF NOT EXISTS units_never_change BEFORE UPDATE ON units
BEGIN SELECT RAISE(ABORT, 'a serial number stays with its chip'); END;
"""


class SerialLedger:
    """The ledger in the file `path`, made on first use. Implements `interfaces.ledger.SerialNumbers`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def assign(self, chip: bytes, scheme: SerialScheme, wanted: str | None = None) -> str:
        """See `interfaces.ledger.SerialNumbers.assign`."""
        wanted = None if wanted is None else parse_serial(wanted)
        with self._transaction() as ledger:
            has = _serial_of(ledger, chip)
            if has is not None:
                _refuse_second_number(chip, has, wanted)
                return has
            serial = wanted or _next_number(ledger, scheme)
            _refuse_other_owner(ledger, chip, serial)
            ledger.execute("INSERT INTO units VALUES (?, ?, ?)", (chip.hex(), serial, "user" if wanted else "scheme"))
            return serial

    def adopt(self, chip: bytes, serial: str, source: str) -> None:
        """See `interfaces.ledger.SerialNumbers.adopt`."""
        serial = parse_serial(serial)
        with self._transaction() as ledger:
            has = _serial_of(ledger, chip)
            if has is not None:
                _refuse_second_number(chip, has, serial)
                return
            _refuse_other_owner(ledger, chip, serial)
            ledger.execute("INSERT INTO units VALUES (?, ?, ?)", (chip.hex(), serial, source))

    def serial_of(self, chip: bytes) -> str | None:
        """See `interfaces.ledger.SerialNumbers.serial_of`."""
        with self._transaction() as ledger:
            return _serial_of(ledger, chip)

    def serials(self) -> tuple[str, ...]:
        """All serial numbers that were ever given."""
        with self._transaction() as ledger:
            return tuple(str(row[0]) for row in ledger.execute("SELECT serial FROM units ORDER BY serial"))

    def mark(self, name: str) -> int:
        """How far `name` (the origin of a log) was read into this ledger; 0 for a ledger that is new or was lost."""
        with self._transaction() as ledger:
            row = ledger.execute("SELECT position FROM marks WHERE name = ?", (name,)).fetchone()
            return int(row[0]) if row else 0

    def set_mark(self, name: str, position: int) -> None:
        """Note that `name` was read up to `position`."""
        with self._transaction() as ledger:
            ledger.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, position))

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One writer at a time: what was read inside is still true when the transaction commits."""
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StorageError(
                f"the ledger of serial numbers {self._path} cannot be used: {error}",
                remedy="make its folder writable and see that the disk has room; if the file is damaged, move it away: "
                "the numbers are read again from the site's records",
            ) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = open_database(self._path, wait_s=BUSY_TIMEOUT_S)
            try:
                connection.executescript(_SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _serial_of(ledger: sqlite3.Connection, chip: bytes) -> str | None:
    row = ledger.execute("SELECT serial FROM units WHERE chip = ?", (chip.hex(),)).fetchone()
    return str(row[0]) if row else None


def _next_number(ledger: sqlite3.Connection, scheme: SerialScheme) -> str:
    """The next number of `scheme` that nobody has; the counter only grows, also over numbers that users gave."""
    row = ledger.execute("SELECT last FROM counters WHERE prefix = ?", (scheme.prefix,)).fetchone()
    last = int(row[0]) if row else _highest_number(ledger, scheme)
    for number in range(last + 1, 10**scheme.digits):
        serial = parse_serial(f"{scheme.prefix}{number:0{scheme.digits}d}")
        if ledger.execute("SELECT 1 FROM units WHERE serial = ?", (serial,)).fetchone() is None:
            ledger.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (scheme.prefix, number))
            return serial
    raise Refused(
        f"no serial number is left with prefix '{scheme.prefix}' and {scheme.digits} digits",
        remedy="give the profile another prefix or more digits",
    )


def _highest_number(ledger: sqlite3.Connection, scheme: SerialScheme) -> int:
    """The highest number in use, for a ledger that was lost: gaps below it were given once, their units may exist."""
    rows = ledger.execute(
        "SELECT substr(serial, ?) FROM units WHERE substr(serial, 1, ?) = ? COLLATE NOCASE AND length(serial) = ?",
        (len(scheme.prefix) + 1, len(scheme.prefix), scheme.prefix, len(scheme.prefix) + scheme.digits),
    )
    return max((int(digits) for (digits,) in rows if digits.isascii() and digits.isdigit()), default=0)


def _refuse_second_number(chip: bytes, has: str, wanted: str | None) -> None:
    if wanted is not None and wanted != has:
        raise DuplicateSerial(
            f"chip {chip.hex()} has serial number {has} already and cannot get {wanted}",
            remedy=f"provision it as {has}, or leave the serial number out",
        )


def _refuse_other_owner(ledger: sqlite3.Connection, chip: bytes, serial: str) -> None:
    row = ledger.execute("SELECT chip FROM units WHERE serial = ?", (serial,)).fetchone()
    if row is not None:
        raise DuplicateSerial(
            f"serial number {serial} belongs to chip {row[0]}, this is chip {chip.hex()}",
            remedy="use another serial number; a number is never given twice, also when its first unit is gone",
        )
