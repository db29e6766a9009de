# SPDX-License-Identifier: Apache-2.0
"""What lies in the file of a lock: who holds it, for people and for those who share it.

Guards: a record that is not there yet, or is nonsense, names nobody and breaks nothing; only the verb is told, never a
command's other words; what somebody else wrote there moves no cursor of a terminal. Leaves to others: the lock
(`file_lock`).
"""

from __future__ import annotations

import json
import os
import pwd
import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from assay.drivers.locks.ancestors import is_self_or_ancestor, started
from assay.formats.visible_text import visible
from assay.interfaces.lock import Holder

RECORD_MAX = 4096  # bytes
NOTE_MAX = 200  # characters


@dataclass(frozen=True)
class LockRecord:
    """What lies in the lock's file; `keeper` is the process that holds it for another one (0: the holder itself)."""

    holder: Holder
    started: int
    keeper: int = 0
    keeper_started: int = 0

    def is_above(self) -> bool:
        """True when the holder is this process or above it."""
        return is_self_or_ancestor(self.holder.pid, self.started)


def record_of(pid: int, verb: str, place: str, note: str) -> LockRecord:
    """For a place that process `pid` is to have."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    holder = Holder(pid, user, socket.gethostname(), verb, datetime.now(UTC), place, note[:NOTE_MAX])
    return LockRecord(holder, started(pid) or 0)


def unknown(port: str) -> Holder:
    """For the microseconds between a lock and its record."""
    return Holder(0, "unknown", socket.gethostname(), "unknown", datetime.now(UTC), port)


def write_record(file: int, record: LockRecord) -> None:
    """Into the lock's file. Raises OSError."""
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
            "note": holder.note,
            "keeper": record.keeper,
            "keeper_started": record.keeper_started,
        }
    )
    os.ftruncate(file, 0)
    os.pwrite(file, text.encode(), 0)


def read_record(file: int) -> LockRecord | None:
    """What the holder wrote; None when it has not yet, or wrote nonsense."""
    try:
        data = json.loads(os.pread(file, RECORD_MAX, 0))
        since = datetime.fromisoformat(data["since"])
        user, host, verb, place = (visible(str(data[key])) for key in ("user", "host", "verb", "place"))
        holder = Holder(int(data["pid"]), user, host, verb, since, place, visible(str(data.get("note", ""))))
        keeper, keeper_started = int(data.get("keeper", 0)), int(data.get("keeper_started", 0))
        return LockRecord(holder, int(data["started"]), keeper, keeper_started)
    except (OSError, ValueError, KeyError, TypeError):
        return None
