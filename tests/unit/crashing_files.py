# SPDX-License-Identifier: Apache-2.0
"""Files on which the process dies at a chosen operation, also in the middle of a write, for tests of what survives.

It stands for SIGKILL: what was written stays, nothing else happens. It does not stand for a power cut, which can also
lose what was not fsynced; the order of the fsyncs is looked at with `operations`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

MUTATING = ("open", "write", "fsync", "replace", "unlink", "mkdir", "rmdir")


@pytest.fixture
def memory_dir() -> Iterator[Path]:
    """A folder in memory where there is one: a death at an operation is the same there, and fsync costs nothing."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        yield Path(folder)


class Crash(BaseException):
    """The process is gone. No `except Exception` and no `except OSError` sees it."""


class CrashingFiles:
    """Counts operations below `root`; at number `die_at` (from 0) the process dies: before it, or `torn` in a write."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.root = str(root)
        self.operations: list[tuple[str, str]] = []
        self.die_at: int | None = None
        self.torn = False
        self.error: OSError | None = None
        for name in MUTATING:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def arm(self, die_at: int | None, *, torn: bool = False, error: OSError | None = None) -> None:
        """Begin to count anew. With `error` the operation fails with it, instead of the death of the process."""
        self.operations, self.die_at, self.torn, self.error = [], die_at, torn, error

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(first: Any, *rest: Any, **options: Any) -> Any:
            path = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else os.fspath(first)
            creates = name != "open" or (rest and rest[0] & os.O_CREAT)
            if creates and str(path).startswith(self.root):
                self._count(name, str(path), lambda data: real(first, data), *rest)
            return real(first, *rest, **options)

        return operation

    def _count(self, name: str, path: str, write: Callable[[bytes], Any], *rest: Any) -> None:
        self.operations.append((name, path))
        if self.die_at is None or len(self.operations) - 1 < self.die_at:
            return
        if name == "write" and self.torn:
            write(bytes(rest[0])[: len(rest[0]) // 2])
        if self.error is not None:
            raise self.error
        self.die_at = 0  # the dead do nothing more, whatever their cleanup asks for
        raise Crash
