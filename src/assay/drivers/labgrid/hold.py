# SPDX-License-Identifier: Apache-2.0
"""A labgrid place that is ours for a while.

Guards: it is given back when we end, also when we are killed: a small process acquires it, waits for us to go away, and
releases it; the next one of this host waits for that. What the same person acquired by hand is shared, and left.
Leaves to others: the lock of this host, which comes first (`drivers.locks`); a host that dies with all its processes
(labgrid keeps the place: `labgrid-client release --kick`).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from pathlib import Path

from assay.drivers.labgrid.client import CALL_TIMEOUT_S, environment, is_ours_already, judge, words_for
from assay.drivers.locks.file_lock import checked_folder, lock_folder, open_or_create, place_digest
from assay.errors import LinkError, PlaceBusy
from assay.interfaces.readiness import readable
from assay.model.bench import LabgridPlace

RETRY_S = 1.0
_HELD = b"assay: held\n"
_GUARD = """
trap "" PIPE
said=$("$@" acquire 2>&1)
status=$?
printf "%s\\n" "$said"
[ $status = 0 ] || exit $status
echo "assay: held"
exec >/dev/null 2>&1
read -r _
exec "$@" release
"""
"""Until its standard input ends, also when that was before it could tell that it holds the place. The words of the
client are arguments, never part of this text.
"""


class LabgridHold:
    """Acquired when it is made, until `release`; a person's own hold is only used."""

    def __init__(self, place: LabgridPlace, *, wait_s: float = 0.0) -> None:
        """Raises PlaceBusy naming who has the place after `wait_s` seconds, UsageFault, LinkError, ToolMissing."""
        self._place = place
        self._guard: subprocess.Popen[bytes] | None = None
        end_s = time.monotonic() + wait_s
        self._file = _wait_for_guard(place, end_s)
        try:
            while True:
                try:
                    self._acquire()
                    return
                except PlaceBusy:
                    if time.monotonic() + RETRY_S > end_s:
                        raise
                    time.sleep(RETRY_S)
        finally:
            os.close(self._file)  # the guard has its own

    def release(self) -> str:
        """Give it back; what is wrong with that, in words. A second call does nothing."""
        guard, self._guard = self._guard, None
        if guard is None:
            return ""
        assert guard.stdin is not None
        guard.stdin.close()
        try:
            status = guard.wait(CALL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            status = -1
        return f"labgrid place {self._place.place} may still be acquired: its release failed" if status else ""

    def hand_over(self) -> None:
        """A process that was forked from this one holds it from here on: until that one ends."""
        guard, self._guard = self._guard, None
        if guard is not None:
            assert guard.stdin is not None
            guard.stdin.close()
            guard.returncode = 0  # nobody waits for it here

    def _acquire(self) -> None:
        guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "sh", *words_for(self._place)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(),
            start_new_session=True, pass_fds=(self._file,),
        )  # fmt: skip
        said = _read_until_held(guard)
        if said.endswith(_HELD):
            self._guard = guard
            return
        text = said.decode("utf-8", "replace")
        if guard.poll() is None:
            assert guard.stdin is not None
            guard.stdin.close()
            raise LinkError(
                f"labgrid-client acquire of place {self._place.place} did not end in {CALL_TIMEOUT_S:g} s",
                remedy=f"look at the coordinator ({self._place.coordinator}) and at the exporter of the place",
            )
        if not is_ours_already(text):
            judge(self._place, "acquire", text)


def _read_until_held(guard: subprocess.Popen[bytes]) -> bytes:
    """What the guard says until it holds the place, ends, or takes too long."""
    assert guard.stdout is not None
    said, end_s, stream = b"", time.monotonic() + CALL_TIMEOUT_S, guard.stdout.fileno()
    while not said.endswith(_HELD) and (left_s := end_s - time.monotonic()) > 0:
        if not readable(stream, left_s):
            break
        data = os.read(stream, 4096)
        if not data:
            guard.wait(CALL_TIMEOUT_S)
            break
        said += data
    guard.stdout.close()
    return said


def _wait_for_guard(place: LabgridPlace, end_s: float) -> int:
    """A file that the guard of a hold has locked: whoever comes next waits until the one before has released.

    Raises PlaceBusy when that lasts, StorageError when locks cannot be kept.
    """
    end_s = max(end_s, time.monotonic() + CALL_TIMEOUT_S)
    file = open_or_create(_path(checked_folder(lock_folder()), place))
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() > end_s:
                os.close(file)
                raise PlaceBusy(
                    f"labgrid place {place.place} is still being released for the process before",
                    remedy=f"look at the coordinator ({place.coordinator})",
                ) from None
            time.sleep(0.05)


def _path(folder: Path, place: LabgridPlace) -> Path:
    return folder / f"{place_digest(place.url)}.labgrid"
