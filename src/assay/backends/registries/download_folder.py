# SPDX-License-Identifier: Apache-2.0
"""The folder with blobs that are on their way from a registry: what a stopped pull left for the next one.

Guards: it is bounded in bytes and in days, whatever manifests say that nobody verified yet; there is room on the disk
before a blob is asked for. Leaves to others: that one pull at a time has the folder, and what is in the files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from assay.backends.durable_file import make_folder
from assay.backends.registries.download import PART, has_digest
from assay.errors import StorageError

KEPT_S = 7 * 24 * 3600.0
"""Seconds after which nobody is expected to go on with a download."""
ROOM_KEPT = 64 * 1024 * 1024
"""Bytes of the disk that a pull leaves free."""


class DownloadFolder:
    """The folder at `path`, which never holds more than `bytes_max`. Raises `OSError`."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._ours: set[Path] = set()
        make_folder(path, mode=0o700)

    def tidy(self, now_s: float) -> None:
        """Remove what nobody came back for: what is old, and the oldest of what is too much."""
        left = self._bytes_max
        for path, stat in sorted(
            ((path, path.lstat()) for path in self._path.iterdir()), key=lambda each: -each[1].st_mtime
        ):
            left -= stat.st_size
            if now_s - stat.st_mtime > KEPT_S or left < 0:
                _remove(path)

    def place(self, sha256: str, size: int) -> Path:
        """Where the blob belongs while it comes. Raises `StorageError` when there is no room for it."""
        file = self._file(sha256)
        free = shutil.disk_usage(self._path).free
        if 3 * size + ROOM_KEPT > free:  # here, where it is verified, and in the store
            text = f"a blob has {size} bytes, three times of which are needed, and {free} are free"
            raise StorageError(text, remedy="free disk space")
        return file

    def has(self, sha256: str, size: int) -> bool:
        """Whether the whole blob came already."""
        file = self._file(sha256)
        return file.is_file() and not file.is_symlink() and file.stat().st_size == size and has_digest(file, sha256)

    def give(self, sha256: str, to: Path) -> None:
        """The whole blob is at `to`, too."""
        file = self._path / sha256
        try:
            os.link(file, to)
        except OSError:  # another file system
            shutil.copyfile(file, to)

    def _file(self, sha256: str) -> Path:
        file = self._path / sha256
        self._ours |= {file, file.with_name(file.name + PART)}
        return file

    def drop(self) -> None:
        """What this pull asked for is kept, or was refused: none of it is needed here."""
        for path in self._ours:
            _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
