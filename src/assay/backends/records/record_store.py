# SPDX-License-Identifier: Apache-2.0
"""The records of a site, read: entries of the log, the record files that they name, and attachments.

Guards: bytes that come out have the digest that was asked for. Leaves to others: signatures and roles
(`formats.statement_verifier`), the log's checkpoint (`stages.records`), writing (`site_recorder`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from assay.backends.durable_file import TEMPORARY
from assay.backends.logs.tile_folder import TileFolder
from assay.backends.named_file import read_kept
from assay.errors import NotVerified, StorageError
from assay.formats import log_entry
from assay.model.record import LogEntry

RECORD_SUFFIX = ".json"


class RecordStore:
    """The records below the site folder `folder`. Raises `NotVerified` for what is missing or changed,
    `StorageError`.
    """

    def __init__(self, folder: Path) -> None:
        self.log = TileFolder(folder / "log")
        self.records_dir = folder / "records"
        self.attachments_dir = folder / "attachments"

    def entries(self, size: int | None = None, start: int = 0) -> Iterator[tuple[int, LogEntry]]:
        """Index and entry, from `start` to before `size` (by default all that the newest checkpoint covers)."""
        end = self.log.checkpoint().size if size is None else size
        for index, data in self.log.entries(end, start):
            yield index, log_entry.decode(data, f"log: entry {index}")

    def record(self, sha256: str) -> bytes:
        """The record file (a Sigstore bundle) with that digest."""
        return _read(self.records_dir / f"{sha256}{RECORD_SUFFIX}", sha256, "record")

    def attachment(self, sha256: str) -> bytes:
        """The attachment with that digest."""
        return _read(self.attachments_dir / sha256, sha256, "attachment")

    def record_names(self) -> set[str]:
        """The names of all record files, without their suffix."""
        return {name.removesuffix(RECORD_SUFFIX) for name in _names(self.records_dir)}

    def attachment_names(self) -> set[str]:
        """The names of all attachments."""
        return _names(self.attachments_dir)


def _read(path: Path, sha256: str, what: str) -> bytes:
    try:
        data = read_kept(path)
    except FileNotFoundError as error:
        raise NotVerified(f"{what} {sha256} is missing", remedy="restore it from a copy") from error
    except OSError as error:
        raise StorageError(f"{what} {sha256} cannot be read: {error.strerror}", remedy="make it readable") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise NotVerified(
            f"{what} {sha256} was changed: its bytes have another digest", remedy="restore it from a copy"
        )
    return data


def _names(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    return {path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY)}
