# SPDX-License-Identifier: Apache-2.0
"""Locks on the places of this host: one file for each port, locked with flock(2).

Guards: a lock dies with its holder, however that ends; whoever waits is told who is in the way; two names or checkouts
that mean one port meet. A process below the holder (a pytest that `assay test` started) shares the place, one at a
time.
Leaves to others: programs that do not ask for the lock; those meet the port's own exclusiveness (`serial_transport`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pwd
import socket
import stat
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from assay.drivers.locks.ancestors import is_self_or_ancestor, started
from assay.errors import PlaceBusy, StorageError
from assay.interfaces.lock import Holder

LOCK_DIR_VARIABLE = "ASSAY_LOCK_DIR"
SYSTEM_LOCK_DIR = Path("/run/lock/assay")
DIR_MODE = 0o1777  # every user of the host may lock, none may remove another's file
FILE_MODE = 0o666  # a place is handed from user to user
PROBE_PATIENCE_S = 0.1  # who looks at a lock holds it for some microseconds
POLL_S = 0.02
LEVELS_MAX = 8  # a pipeline, its verb, its pytest, its worker: four, and room
RECORD_MAX = 4096  # bytes


def place_key(port: str) -> str:
    """One text for all names of one port: links resolved, but a twin's port by its lasting path, not /dev/pts/N."""
    if "://" in port:
        return port.lower()
    resolved = os.path.realpath(port)
    if resolved.startswith("/dev/pts/"):
        path = Path(port)
        return str(Path(os.path.realpath(path.parent)) / path.name)
    return resolved


class FileLocks:
    """`interfaces.lock.Locks` in a folder of this host."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def acquire(self, port: str, *, verb: str, place: str = "", wait_s: float = 0.0) -> FileLock:
        """Take the place at `port`, or share it below an ancestor that has it.

        Raises PlaceBusy naming the holder after `wait_s`, StorageError when locks cannot be kept.
        """
        deadline_s = time.monotonic() + max(wait_s, PROBE_PATIENCE_S)
        while True:
            lock, holder = self._try(port, verb, place)
            if lock is not None:
                return lock
            if time.monotonic() >= deadline_s:
                who = str(holder) if holder else "a process that did not say who it is"
                raise PlaceBusy(
                    f"{place or port} is used by {who}", remedy="wait for it (--wait SECONDS), or end that process"
                )
            time.sleep(POLL_S)

    def holder(self, port: str) -> Holder | None:
        """Who holds the place now; None when it is free."""
        for level in range(LEVELS_MAX):
            record = self._seen(port, level)
            if record is not None:
                return record.holder
            if not self._path(port, level).exists():
                break
        return None

    def _seen(self, port: str, level: int) -> _Record | None:
        """Who holds that level now."""
        path = self._path(port, level)
        try:
            file = _open(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _no_locks(path, error.strerror or str(error)) from error
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(file) or _Record(_unknown(port), 0)
        finally:
            os.close(file)
        return None

    def _try(self, port: str, verb: str, place: str) -> tuple[FileLock | None, Holder | None]:
        """Level 0 is the place itself; below an ancestor's lock on level n the place is level n + 1's."""
        lender: Holder | None = None
        for level in range(LEVELS_MAX):
            path = self._path(port, level)
            file = _open_or_create(path)
            if not _flock(file):
                record = _read(file)
                os.close(file)
                if record is None or not record.is_above():
                    return None, record.holder if record else None
                lender = lender or record.holder
                continue
            # A child may still work below a holder that was killed.
            below = self._seen(port, level + 1)
            if below is not None and not below.is_above():
                os.close(file)
                return None, below.holder
            mine = _this_process(verb, place or port)
            _write(path, file, mine)
            return FileLock(file, lender or mine.holder), None
        return None, lender

    def _path(self, port: str, level: int) -> Path:
        key = place_key(port)
        folder = self._folder or lock_folder()
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        return _checked_folder(folder) / f"{digest}.{level}.lock"


class FileLock:
    """A place that is ours (`interfaces.lock.Held`)."""

    def __init__(self, file: int, holder: Holder) -> None:
        self._file: int | None = file
        self._holder = holder

    @property
    def holder(self) -> Holder:
        """Who holds it: this process, or the process above it that lent it."""
        return self._holder

    def release(self) -> None:
        """Give the place back; a second call does nothing."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@dataclass(frozen=True)
class _Record:
    holder: Holder
    started: int

    def is_above(self) -> bool:
        """True when the holder is this process or above it."""
        return is_self_or_ancestor(self.holder.pid, self.started)


def lock_folder() -> Path:
    """`ASSAY_LOCK_DIR`, else /run/lock/assay, else a folder in the temporary folder that all users share."""
    if named := os.environ.get(LOCK_DIR_VARIABLE):
        return Path(named)
    return SYSTEM_LOCK_DIR if SYSTEM_LOCK_DIR.parent.is_dir() else Path(tempfile.gettempdir()) / "assay-lock"


def _checked_folder(folder: Path) -> Path:
    """The folder, made if it is not there; never through a link that somebody laid there."""
    try:
        try:
            folder.mkdir(parents=True)
            folder.chmod(DIR_MODE)  # mkdir's mode is narrowed by the umask
        except FileExistsError:
            pass
        found = folder.lstat()
    except OSError as error:
        raise _no_locks(folder, error.strerror or str(error)) from error
    if not stat.S_ISDIR(found.st_mode):
        raise _no_locks(folder, "it is a link or a file, and no folder")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise _no_locks(folder, "everybody may remove locks there (no sticky bit)")
    return folder


def _no_locks(folder: Path, why: str) -> StorageError:
    return StorageError(
        f"locks cannot be kept in {folder}: {why}", remedy=f"set {LOCK_DIR_VARIABLE} to a folder that you may write"
    )


def _flock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(path: Path) -> int:
    """An existing lock file. The kernel's protected_regular forbids O_CREAT on another user's file here."""
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(f"{path} is no plain file")
    return file


def _open_or_create(path: Path) -> int:
    for _ in range(2):
        try:
            return _open(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _no_locks(path, error.strerror or str(error)) from error
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
            os.fchmod(file, FILE_MODE)
            return file
        except FileExistsError:
            continue
        except OSError as error:
            raise _no_locks(path, error.strerror or str(error)) from error
    raise _no_locks(path, "it comes and goes")


def _this_process(verb: str, place: str) -> _Record:
    pid = os.getpid()
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    holder = Holder(pid, user, socket.gethostname(), verb, datetime.now(UTC), place)
    return _Record(holder, started(pid) or 0)


def _unknown(port: str) -> Holder:
    """For the microseconds between a lock and its record."""
    return Holder(0, "unknown", socket.gethostname(), "unknown", datetime.now(UTC), port)


def _write(path: Path, file: int, record: _Record) -> None:
    holder = record.holder
    text = json.dumps(
        {
            "pid": holder.pid,
            "started": record.started,
            "user": holder.user,
            "host": holder.host,
            "verb": holder.verb,
            "since": holder.since.isoformat(),
            "place": holder.place,
        }
    )
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, text.encode(), 0)
    except OSError as error:
        os.close(file)
        raise _no_locks(path, error.strerror or str(error)) from error


def _read(file: int) -> _Record | None:
    """What the holder wrote; None when it has not yet, or wrote nonsense."""
    try:
        data = json.loads(os.pread(file, RECORD_MAX, 0))
        since = datetime.fromisoformat(data["since"])
        holder = Holder(
            int(data["pid"]), str(data["user"]), str(data["host"]), str(data["verb"]), since, str(data["place"])
        )
        return _Record(holder, int(data["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
