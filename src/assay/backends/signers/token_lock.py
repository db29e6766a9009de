# SPDX-License-Identifier: Apache-2.0
"""One at a time on a token: a lock between the threads of a process, and between all processes of the host.

Guards: the lock falls with its holder; who waits too long is told what for and who is in the way.
Leaves to others: which folder all processes share (`drivers.locks`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from assay.errors import InfrastructureError, StorageError
from assay.interfaces.signer import Announce

WAIT_S = 60.0
"""Seconds; a signature takes milliseconds, so somebody who is in the way that long hangs."""

POLL_S = 0.002
FILE_MODE = 0o666
FOLDER_MODE = 0o1777
"""Users of one token share its lock; the sticky bit keeps them from removing each other's."""


class TokenLock:
    """The lock of the token `label` behind the library `module`."""

    def __init__(self, folder: Path, module: Path, label: str) -> None:
        name = hashlib.sha256(f"{os.path.realpath(module)}\0{label}".encode()).hexdigest()[:32]
        self._path = folder / f"token-{name}.lock"
        self._label = label
        self._threads = threading.RLock()

    @contextlib.contextmanager
    def held(self, announce: Announce) -> Iterator[None]:
        """Hold it. Raises `InfrastructureError` when it does not get free, `StorageError` when it cannot be kept."""
        with self._threads:
            descriptor = self._open()
            try:
                self._wait(descriptor, announce)
                yield
            finally:
                os.close(descriptor)

    def _wait(self, descriptor: int, announce: Announce) -> None:
        deadline, waits = time.monotonic() + WAIT_S, False
        while not _flock(descriptor):
            if not waits:
                announce(f"the lock of the token '{self._label}', which {_holder(descriptor)} has", WAIT_S + 1)
                waits = True
            if time.monotonic() > deadline:
                told = f"{_holder(descriptor)} has the token '{self._label}' for more than {WAIT_S:.0f} s"
                raise InfrastructureError(told, remedy="see what it does, and end it")
            time.sleep(POLL_S)
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, f"{os.getpid():<10}".encode(), 0)

    def _open(self) -> int:
        try:
            self._make_folder()
            return _open_shared(self._path)
        except OSError as error:
            raise StorageError(
                f"the lock {self._path} of the token '{self._label}' cannot be kept: {error.strerror}",
                remedy="set ASSAY_LOCK_DIR to a folder that you may write",
            ) from error

    def _make_folder(self) -> None:
        if not self._path.parent.is_dir():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                self._path.parent.chmod(FOLDER_MODE)


def _open_shared(path: Path) -> int:
    """The kernel's protected_regular forbids O_CREAT on another user's file in a sticky folder."""
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    os.fchmod(made, FILE_MODE)
    return made


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    number = os.pread(descriptor, 10, 0).strip()
    return f"process {int(number)}" if number.isdigit() else "another process"
