# SPDX-License-Identifier: Apache-2.0
"""The files in which test processes write their events: one for each process, each line fsynced at once.

Guards: what a test found is on disk before the next one begins, whatever kills the process.
Leaves to others: what an event is (`stages.hil.events`), what all of them mean (`stages.hil.verdict`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import StorageError

if TYPE_CHECKING:
    from assay.stages.hil.events import Event

SUFFIX = ".events.jsonl"
FILE_BYTES_MAX = 64 << 20
"""One process's events. A suite of 10,000 tests with ten measurements each has 30 MB."""


class EventFile:
    """Appends events to the file of this process. Raises StorageError when they cannot be kept."""

    def __init__(self, folder: Path, worker: str) -> None:
        self.path = folder / f"{worker}{SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL | os.O_CLOEXEC
            self._fd = os.open(self.path, flags, 0o644)
        except FileExistsError as error:
            raise StorageError(
                f"{self.path} holds the results of another run", remedy="give each run a folder of its own"
            ) from error
        except OSError as error:
            raise _storage(self.path, error) from error

    def write(self, event: Event) -> None:
        """Durable when it returns."""
        from assay.stages.hil.events import encode_event

        line = encode_event(event)
        try:
            written = os.write(self._fd, line)
            os.fsync(self._fd)
        except OSError as error:
            raise _storage(self.path, error) from error
        if written != len(line):
            raise StorageError(f"{self.path}: the disk is full", remedy="make room, and run the suite again")

    def close(self) -> None:
        """Close the file; nothing is lost without it."""
        os.close(self._fd)


def read_events(folder: Path) -> list[Event]:
    """The events of all processes, file by file. Raises InfrastructureError for a file that is none of ours."""
    from assay.stages.hil.events import decode_events

    events: list[Event] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            if path.is_symlink() or path.stat().st_size > FILE_BYTES_MAX:
                raise StorageError(f"{path} is not a file of events", remedy="run the suite again")
            events += decode_events(path.read_bytes(), path.name)
        except OSError as error:
            raise _storage(path, error) from error
    return events


def _storage(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path}: {error.strerror}", remedy="give a folder that can be written, with room on its disk")
