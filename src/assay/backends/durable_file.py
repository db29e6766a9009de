# SPDX-License-Identifier: Apache-2.0
"""Files that survive a power cut: written beside, fsynced, renamed, and the folder fsynced.

Guards: a reader sees the old file or the new one, never a part; nothing but an ordinary file, or a link to one or to
nothing, is replaced.
Leaves to others: who may write (`exclusive` for one writer at a time), and what an `OSError` means to the user.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TEMPORARY = ".tmp-"
"""What the names of unfinished files begin with; readers skip them, the next write of the same file replaces them."""

OPEN_FILES_MAX = 64
"""Files that are written together; a process may have 1,024 open by default."""


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """`data` becomes the file at `path`, durably. Raises `OSError`; then the old file, if any, is still there.

    Two writers of one file would share the unfinished one: callers hold a lock (`exclusive`).
    """
    write_in_order({path: data}, mode=mode)


def write_in_order(*groups: Mapping[Path, bytes], mode: int = 0o644) -> None:
    """As `write_durably`, for files that belong together: all of a group are durable before the first of the next one
    is there. It waits for the disk once for all data and once for the names of each group, and not twice a file. After
    an `OSError` each file is the old one or the new one, and none of a group is new unless all groups before it are.
    """
    files = [(path, data) for group in groups for path, data in group.items()]
    for path, _ in files:
        _check_ordinary(path)
    try:
        for at in range(0, len(files), OPEN_FILES_MAX):
            _write_beside(files[at : at + OPEN_FILES_MAX], mode)
        for group in groups:
            for path in group:
                _beside(path).replace(path)
            for folder in dict.fromkeys(path.parent for path in group):
                sync_folder(folder)
    except OSError:
        for path, _ in files:
            with contextlib.suppress(OSError):
                _beside(path).unlink()
        raise


def _check_ordinary(path: Path) -> None:
    """A device or a pipe that somebody named (`--out /dev/null`) would be gone, and an ordinary file in its place; so
    would be a link to one, and `/dev/stdout`, which leads by /proc to whatever the output is.
    """
    with contextlib.suppress(FileNotFoundError):
        is_ordinary = stat.S_ISREG(path.stat().st_mode) and not _is_by_proc(path)
        if not is_ordinary:
            raise OSError(errno.EINVAL, "it is no ordinary file", str(path))


def _is_by_proc(path: Path) -> bool:
    return path.is_symlink() and path.readlink().is_relative_to("/proc")


def _beside(path: Path) -> Path:
    return path.with_name(TEMPORARY + path.name)


def _write_beside(files: Sequence[tuple[Path, bytes]], mode: int) -> None:
    with contextlib.ExitStack() as opened:
        descriptors = []
        for path, data in files:
            with contextlib.suppress(FileNotFoundError):
                _beside(path).unlink()
            descriptor = os.open(_beside(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            opened.callback(os.close, descriptor)
            descriptors.append(descriptor)
            _write_all(descriptor, data)
        for descriptor in descriptors:
            os.fsync(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def remove_unfinished(folder: Path) -> None:
    """Remove what killed writers left in `folder`; the caller holds the lock of its writers. Raises `OSError`."""
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, *, mode: int = 0o755) -> None:
    """Make `folder` and what lies above it, durably; fine if it is there. Raises `OSError`."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    _sync_name(folder)
    for path in reversed(missing):
        path.mkdir(mode=mode, exist_ok=True)
        _sync_name(path, made=True)


_durable: set[tuple[int, int]] = set()
"""Device and inode of folders whose names this process has made durable."""


def _sync_name(folder: Path, *, made: bool = False) -> None:
    """Make the name of a folder durable: `made` just now, or by who may have been killed before it was."""
    found = folder.stat()
    if not made and (found.st_dev, found.st_ino) in _durable:
        return
    try:
        sync_folder(folder.parent)
    except PermissionError:  # a parent that we may not read is of somebody else, and was there
        if made:
            raise
    _durable.add((found.st_dev, found.st_ino))


@contextlib.contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold the lock file at `lock` (made if missing), or the folder `lock` itself; waits for whoever holds it.

    It falls with its holder. Raises `OSError`.
    """
    how = os.O_RDONLY | os.O_DIRECTORY if lock.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(lock, how | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
