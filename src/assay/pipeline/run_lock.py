# SPDX-License-Identifier: Apache-2.0
"""The lock of a run: held as long as its process lives, so that a dead owner is noticed surely.

Guards: a file lock (flock) dies with its process, however that ends; a lock that is held has a living owner.
Leaves to others: who the owner is (the journal knows), and locks on places (`drivers.locks`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from pathlib import Path

from assay.errors import NotRecorded

FORK_WINDOW_S = 0.25
"""A process that was killed between fork and exec of a child leaves the lock held until the child execs."""

_POLL_S = 0.02


class RunLock:
    """A lock that is ours. `release` gives it back and removes the file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back; a second call does nothing."""
        if self._descriptor < 0:
            return
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def take_lock(folder: Path, verb: str, key: str, *, wait_s: float = FORK_WINDOW_S) -> RunLock | None:
    """The lock of the run of `verb` on `key`; None: a living process holds it. `NotRecorded`: it cannot be kept."""
    digest = hashlib.sha256(f"{verb}\0{key}".encode()).hexdigest()
    path = folder / f"{digest[:32]}.lock"
    end = time.monotonic() + wait_s
    while (lock := _try(path)) is None and time.monotonic() < end:
        time.sleep(_POLL_S)
    return lock


def _try(path: Path) -> RunLock | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise NotRecorded(
            f"the lock of the run cannot be kept in {path.parent}: {error.strerror}",
            remedy="make the site folder writable, or name another one with --site",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    if _is_still(path, descriptor):
        return RunLock(path, descriptor)
    os.close(descriptor)  # its last owner removed the file between our open and our lock
    return None


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
