# SPDX-License-Identifier: Apache-2.0
"""An index over log and store: which image holds which parts, and which unit holds which image.

It is made out of signed records and can be made again at any time, so it is no record itself: it is not fsynced at each
step, and what does not fit is thrown away. Guards: a batch is in it whole or not at all. Leaves to others: what is
put into it (`pipeline.parts_index`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from assay.backends.durable_file import make_folder
from assay.errors import StorageError
from assay.model.parts import AffectedUnit, Holding, Part, VexNote

SCHEMA_VERSION = 1
WAIT_S = 60.0

_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE images (id INTEGER PRIMARY KEY, image_hash TEXT UNIQUE NOT NULL, file_sha256 TEXT, reference TEXT,"
    " board TEXT, kind TEXT)",
    "CREATE INDEX images_file ON images (file_sha256)",
    "CREATE TABLE parts (image INTEGER NOT NULL, name TEXT NOT NULL, version TEXT, purl TEXT, kind TEXT, ref TEXT)",
    "CREATE INDEX parts_name ON parts (name)",
    "CREATE INDEX parts_image ON parts (image)",
    "CREATE TABLE units (serial TEXT NOT NULL, slot TEXT NOT NULL, image INTEGER NOT NULL, since INTEGER NOT NULL,"
    " certain INTEGER NOT NULL, PRIMARY KEY (serial, slot, image)) WITHOUT ROWID",
    "CREATE INDEX units_image ON units (image)",
    "CREATE TABLE vex (image INTEGER NOT NULL, note TEXT NOT NULL, updated TEXT NOT NULL, UNIQUE (image, note))",
    "CREATE TABLE read (payload TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE faults (what TEXT PRIMARY KEY, why TEXT NOT NULL)",
)


class PartsDatabase:
    """The index in the file `path`. Raises `StorageError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            make_folder(path.parent)
            self._database = self._opened()
        except (OSError, sqlite3.Error) as error:
            text = f"the index {path} cannot be opened: {error}"
            raise StorageError(text, remedy="remove it: it is made again from the log and the store") from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """What is put inside is there as a whole, or not at all."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            text = f"the index {self._path} cannot be written: {error}"
            raise StorageError(text, remedy="free disk space, or remove it: it is made again") from error

    def forget(self) -> None:
        """Empty the index."""
        for table in ("meta", "images", "parts", "units", "vex", "read", "faults"):
            self._database.execute(f"DELETE FROM {table}")  # noqa: S608 (names from the line above)

    def meta(self) -> dict[str, str]:
        """What the index was made of."""
        return dict(self._database.execute("SELECT name, value FROM meta"))

    def put_meta(self, values: Mapping[str, str]) -> None:
        """Note what the index is made of now."""
        self._database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    def is_new(self, payload: str) -> bool:
        """Whether the statement was not read before; from now on it was."""
        return self._database.execute("INSERT OR IGNORE INTO read VALUES (?)", (payload,)).rowcount == 1

    def image(self, image_hash: str, facts: tuple[str, str, str, str] | None = None) -> int:
        """The number of an image; `facts`: SHA-256 of the file, release, board and kind, where they are known."""
        self._database.execute("INSERT OR IGNORE INTO images (image_hash) VALUES (?)", (image_hash,))
        if facts is not None:
            line = "UPDATE images SET file_sha256 = ?, reference = ?, board = ?, kind = ? WHERE image_hash = ?"
            self._database.execute(line, (*facts, image_hash))
        row = self._database.execute("SELECT id FROM images WHERE image_hash = ?", (image_hash,)).fetchone()
        return int(row[0])

    def image_of_file(self, file_sha256: str) -> tuple[str, str] | None:
        """Hash and kind of the image in a file."""
        line = "SELECT image_hash, kind FROM images WHERE file_sha256 = ?"
        row = self._database.execute(line, (file_sha256,)).fetchone()
        return None if row is None else (str(row[0]), str(row[1] or ""))

    def put_parts(self, image: int, parts: Iterable[Part]) -> None:
        """These parts are in the image, and no others."""
        self._database.execute("DELETE FROM parts WHERE image = ?", (image,))
        rows = [(image, each.name, each.version, each.purl, each.kind, each.ref) for each in parts]
        self._database.executemany("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)", rows)

    def put_vex(self, image: int, notes: Iterable[VexNote]) -> None:
        """What is said of vulnerabilities in the image."""
        rows = [(image, note.model_dump_json(), note.updated) for note in notes]
        self._database.executemany("INSERT OR IGNORE INTO vex VALUES (?, ?, ?)", rows)

    def hold(self, holdings: Iterable[Holding]) -> None:
        """Units hold images now; what is certain takes the place of all that the slot was said to hold."""
        for each in holdings:
            if each.certain:
                self._database.execute("DELETE FROM units WHERE serial = ? AND slot = ?", (each.serial, each.slot))
            else:
                line = "UPDATE units SET certain = 0 WHERE serial = ? AND slot = ?"
                self._database.execute(line, (each.serial, each.slot))
            row = (each.serial, each.slot, self.image(each.image_hash), each.since, int(each.certain))
            self._database.execute("INSERT OR REPLACE INTO units VALUES (?, ?, ?, ?, ?)", row)

    def put_fault(self, what: str, why: str) -> None:
        """A record that does not verify, and is not in the index."""
        self._database.execute("INSERT OR REPLACE INTO faults VALUES (?, ?)", (what, why))

    def faults(self) -> dict[str, str]:
        """Records that do not verify, and why."""
        return dict(self._database.execute("SELECT what, why FROM faults ORDER BY what"))

    def parts(self, text: str = "") -> list[tuple[int, Part]]:
        """Images (by number) and parts that have `text` in their name or purl, in capitals or not; all for none."""
        line = "SELECT image, name, version, purl, kind, ref FROM parts"
        if text:
            line += " WHERE instr(lower(name), lower(?1)) OR instr(lower(purl), lower(?1))"
        return [(int(row[0]), Part(*row[1:])) for row in self._database.execute(line, (text,) if text else ())]

    def facts(self, image: int) -> tuple[str, str, str, str, str]:
        """Image hash, SHA-256 of the file, release, board and kind of an image."""
        line = "SELECT image_hash, file_sha256, reference, board, kind FROM images WHERE id = ?"
        row = self._database.execute(line, (image,)).fetchone()
        return str(row[0]), *(str(value or "") for value in row[1:])  # type: ignore[return-value]

    def vex(self, image: int) -> list[VexNote]:
        """The notes about an image, the oldest first."""
        rows = self._database.execute("SELECT note FROM vex WHERE image = ? ORDER BY updated, rowid", (image,))
        return [VexNote.model_validate_json(row[0]) for row in rows]

    def count_units(self, *images: int) -> int:
        """How many units hold one of the images; one that holds several counts once."""
        line = "SELECT count(DISTINCT serial) FROM units WHERE image IN (SELECT value FROM json_each(?))"
        return int(self._database.execute(line, (json.dumps(images),)).fetchone()[0])

    def units(self, image: int) -> Iterator[AffectedUnit]:
        """The units that hold an image, by serial number."""
        image_hash, _, reference, _, _ = self.facts(image)
        line = "SELECT serial, slot, certain, since FROM units WHERE image = ? ORDER BY serial"
        for serial, slot, certain, since in self._database.execute(line, (image,)):
            yield AffectedUnit.model_construct(
                serial=serial, slot=slot, release=reference, image_hash=image_hash, certain=bool(certain), since=since
            )

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=WAIT_S, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA_VERSION):
                raise sqlite3.DatabaseError(f"it has version {version}, expected {SCHEMA_VERSION}")
            if version == 0:
                database.execute("BEGIN IMMEDIATE")
                if database.execute("PRAGMA user_version").fetchone()[0] == 0:
                    for line in _SCHEMA:
                        database.execute(line)
                    database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                database.execute("COMMIT")
        except BaseException:
            database.close()
            raise
        return database
