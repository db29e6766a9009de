# SPDX-License-Identifier: Apache-2.0
"""The lifeline of a run: a lock that each of its verbs holds open, so that nobody goes on beside a verb of the past.

Guards: a descriptor is closed when its process ends, however that is; the lock is free only when all have ended.
Leaves to others: starting verbs with it (`pipeline.verb_process`).
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from assay.errors import PlaceBusy, StorageError
from assay.pipeline.verb_process import END_PATIENCE_S

_POLL_S = 0.1


class Lifeline:
    """A lock that every verb of the run holds open: entering waits until those of an earlier process are gone."""

    def __init__(self, results: Path) -> None:
        self._path = results / ".verbs"

    def __enter__(self) -> int:
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be made: {error.strerror}", remedy="make the folder writable, or use --results"
            ) from error
        end = time.monotonic() + 2 * END_PATIENCE_S
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if time.monotonic() > end:
                    os.close(self._descriptor)
                    raise PlaceBusy(
                        f"a verb of the earlier run still lives (it holds {self._path})",
                        remedy="end it; lsof or fuser on that file names it",
                    ) from error
                time.sleep(_POLL_S)
            else:
                return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
