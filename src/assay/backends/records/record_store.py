# SPDX-License-Identifier: Apache-2.0
"""The records of a site, read: entries of the log, the record files that they name, and attachments.

Guards: bytes that come out have the digest that was asked for, and lie here: where a link leads nobody keeps them for
this site (ADR 0318). Leaves to others: signatures and roles
(`formats.statement_verifier`), the log's checkpoint (`stages.records`), writing (`site_recorder`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from assay.backends.durable_file import TEMPORARY
from assay.backends.logs.tile_folder import TileFolder
from assay.backends.named_file import LinkInside, read_beneath
from assay.errors import NotVerified, StorageError
from assay.formats import log_entry
from assay.model.record import LogEntry

RECORDS, ATTACHMENTS = "records", "attachments"
RECORD_SUFFIX = ".json"
_RESTORE = "restore it from a copy"


class RecordStore:
    """The records below the site folder `folder`. Raises `NotVerified` for what is missing or changed,
    `StorageError`.
    """

    def __init__(self, folder: Path) -> None:
        self.log = TileFolder(folder / "log", of_site=True)
        self.records_dir = folder / RECORDS
        self.attachments_dir = folder / ATTACHMENTS
        self.folder = folder

    def entries(self, size: int | None = None, start: int = 0) -> Iterator[tuple[int, LogEntry]]:
        """Index and entry, from `start` to before `size` (by default all that the newest checkpoint covers)."""
        end = self.log.checkpoint().size if size is None else size
        for index, data in self.log.entries(end, start):
            yield index, log_entry.decode(data, f"log: entry {index}")

    def record(self, sha256: str) -> bytes:
        """The record file (a Sigstore bundle) with that digest."""
        return self._read(f"{RECORDS}/{sha256}{RECORD_SUFFIX}", sha256, "record")

    def attachment(self, sha256: str) -> bytes:
        """The attachment with that digest."""
        return self._read(f"{ATTACHMENTS}/{sha256}", sha256, "attachment")

    def record_names(self) -> set[str]:
        """The names of all record files, without their suffix."""
        return {name.removesuffix(RECORD_SUFFIX) for name in _names(self.records_dir)}

    def attachment_names(self) -> set[str]:
        """The names of all attachments."""
        return _names(self.attachments_dir)

    def _read(self, name: str, sha256: str, what: str) -> bytes:
        try:
            data = read_beneath(self.folder, name)
        except FileNotFoundError as error:
            raise NotVerified(f"{what} {sha256} is missing", remedy=_RESTORE) from error
        except LinkInside as error:
            told = f"{what} {sha256}: {error.filename} is a symbolic link; a site has none"
            raise NotVerified(told, remedy="see who put it there, and put the file in its place") from error
        except OSError as error:
            told = f"{what} {sha256} cannot be read: {error.strerror}"
            raise StorageError(told, remedy="make it readable") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise NotVerified(f"{what} {sha256} was changed: its bytes have another digest", remedy=_RESTORE)
        return data


def _names(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    return {path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY)}
