# SPDX-License-Identifier: Apache-2.0
"""Bundles that were signed by key while the transparency log was away, kept until they are logged.

Guards: what was put is there after a power cut, whole; it goes away only when its logged form is durable; killed in
between, it is logged again, which does no harm. Leaves to others: logging (`pipeline.log_submit`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from assay.backends.durable_file import exclusive, make_folder, remove_unfinished, sync_folder, write_durably
from assay.errors import StorageError
from assay.formats import sigstore_bundle

SUFFIX = ".sigstore.json"
LOGGED = "logged"


class LogQueue:
    """The queue in `folder`; what is logged lies in `logged` below it, by the SHA-256 of the payload."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, bundle: bytes) -> None:
        """Keep `bundle`, durably. Raises `StorageError`."""
        try:
            make_folder(self.folder)
            with exclusive(self.folder / ".lock"):
                write_durably(self.folder / name_of(bundle), bundle)
        except OSError as error:
            raise _cannot_write(self.folder, error) from error

    def waiting(self) -> list[Path]:
        """The files that wait."""
        return sorted(self.folder.glob(f"[0-9a-f]*{SUFFIX}"))

    def each(self) -> Iterator[tuple[Path, bytes]]:
        """File and bundle of each that waits. Raises `StorageError`."""
        for path in self.waiting():
            try:
                yield path, path.read_bytes()
            except OSError as error:
                raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="make it readable") from error

    def logged(self) -> dict[str, bytes]:
        """What was logged, by the SHA-256 of the payload. Raises `StorageError`."""
        found = {}
        for path in sorted((self.folder / LOGGED).glob(f"[0-9a-f]*{SUFFIX}")):
            try:
                found[path.name.removesuffix(SUFFIX)] = path.read_bytes()
            except OSError as error:
                raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="make it readable") from error
        return found

    def settle(self, path: Path, logged: bytes) -> Path:
        """`logged` is the logged form of what waits in `path`: keep it, then let go. Raises `StorageError`."""
        done = self.folder / LOGGED / path.name
        try:
            make_folder(done.parent)
            with exclusive(self.folder / ".lock"):
                remove_unfinished(done.parent)
                write_durably(done, logged)
                path.unlink(missing_ok=True)
                sync_folder(self.folder)
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        return done


def name_of(bundle: bytes) -> str:
    """The file's name: the same statement by the same key waits once."""
    return hashlib.sha256(sigstore_bundle.decode(bundle).envelope.payload).hexdigest() + SUFFIX


def _cannot_write(folder: Path, error: OSError) -> StorageError:
    return StorageError(f"{folder} cannot be written: {error.strerror}", remedy="free disk space, or make it writable")
