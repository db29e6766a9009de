# SPDX-License-Identifier: Apache-2.0
"""Files named by their SHA-256, as in an OCI image layout: written once and durably, checked whenever they are read.

Guards: a blob is whole or not there; what is read has the digest that was asked for; a symbolic link in the store is
not followed. Leaves to others: what the blobs mean (`oci_layout`).
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from assay.backends.durable_file import make_folder, remove_unfinished, sync_folder, write_durably
from assay.errors import NotVerified, StorageError

BLOB_BYTES_MAX = 1024 * 1024 * 1024
"""Bytes; larger images are not held in memory as a whole."""

_REMEDY = "restore the store from a copy, or publish again into a new one"


class BlobFolder:
    """Blobs in `folder` (`blobs/sha256` of a layout). Writing raises `OSError`, reading `NotVerified`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Keep `data` durably; answers its SHA-256 in hex. A blob that is there and whole is left as it is.

        One writer at a time: the store's lock is the caller's matter.
        """
        digest = hashlib.sha256(data).hexdigest()
        if self._is_whole(digest, len(data)):
            sync_folder(self._folder)  # whoever wrote it may have been killed before its name was durable
            return digest
        make_folder(self._folder)
        write_durably(self._folder / digest, data)
        return digest

    def tidy(self) -> None:
        """Remove what writers that were killed left behind. Only for who has the store to itself."""
        if self._folder.is_dir():
            remove_unfinished(self._folder)

    def get(self, sha256: str) -> bytes:
        """The blob with that digest. Raises `NotVerified` when it was changed, `StorageError` when it is not there."""
        data = self._read(sha256)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise NotVerified(f"the store's blob {sha256} was changed", remedy=_REMEDY)
        return data

    def _is_whole(self, digest: str, size: int) -> bool:
        try:
            return (self._folder / digest).lstat().st_size == size and len(self.get(digest)) == size
        except (OSError, NotVerified, StorageError):
            return False

    def _read(self, sha256: str) -> bytes:
        path = self._folder / sha256
        try:
            self._refuse_links(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or status.st_size > BLOB_BYTES_MAX:
                    raise NotVerified(f"{path} is no blob", remedy=_REMEDY)
                return file.read()
        except FileNotFoundError as error:
            raise StorageError(f"the store lacks the blob {sha256}", remedy=_REMEDY) from error
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="check the store's folder") from error

    def _refuse_links(self, path: Path) -> None:
        for part in (self._folder.parent, self._folder, path):
            if part.is_symlink():
                raise NotVerified(f"{part} is a symbolic link; a store has none", remedy=_REMEDY)
