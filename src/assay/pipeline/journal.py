# SPDX-License-Identifier: Apache-2.0
"""The journals of all runs of a site: what is done stays done, whenever the process dies.

Guards: every method is durable when it returns; a run has one living owner; a run whose owner died is taken up again
under its own name by the same verb and key, and by nobody else.
Leaves to others: what the steps are (stages), and the record of a run that nobody takes up again (`pipeline.recovery`).

    with site.journals.open_run("provision", place.name, place=place.name, board=..., emulated=...) as run:
        if (found := run.result("write-app")) is None:
            run.begin("write-app"); found = ...; run.done("write-app", found)
        conclude(site, run, statement, kind, role, Outcome.PASS, serial=...)    # pipeline.recovery: record, then finish

Leaving the block before that (an error, a signal, SIGKILL) leaves the run open for the same verb and key. A run that
needs no record ends with `run.finish(outcome)`.
"""

from __future__ import annotations

import getpass
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import PlaceBusy
from assay.model.outcome import Outcome
from assay.pipeline.journal_file import JournalFile
from assay.pipeline.run_journal import Run, load_state, timestamp
from assay.pipeline.run_lock import RunLock, take_lock
from assay.pipeline.run_state import RunState

if TYPE_CHECKING:
    from assay.interfaces.clock import Clock


class JournalDatabase:
    """The journals in the file at `path`.

    `settle` makes the record of a run that nobody takes up again, and finishes it (`pipeline.recovery.settle`).
    """

    def __init__(self, path: Path, *, clock: Clock | None = None, settle: Callable[[Run], None] | None = None) -> None:
        self.file = JournalFile(path)
        self._locks = path.with_name("run-locks")
        self._clock = clock
        self._settle = settle

    def open_run(
        self,
        verb: str,
        key: str,
        *,
        serial: str | None = None,
        place: str | None = None,
        board: str | None = None,
        emulated: bool | None = None,
    ) -> Run:
        """The unfinished run of `verb` on `key` if its owner is dead, else a new one.

        PlaceBusy names a living owner; NotRecorded: the journal cannot be written. Settled first: dead runs of other
        keys on the same `place` (what they would go on with is no longer so), and one of this key that is sealed.
        """
        lock = take_lock(self._locks, verb, key)
        if lock is None:
            raise self._busy(verb, key)
        try:
            self._settle_before(verb, key, place, lock)
            run_id, resumed = self._take_up(verb, key, place)
            run = Run(self.file, self.clock, run_id, lock, resumed=resumed)
            run.identify(serial=serial, board=board, emulated=emulated)
        except BaseException:
            lock.release()
            raise
        return run

    def settle_dead(self, *, place: str | None = None, spare: tuple[str, str] | None = None) -> list[str]:
        """Make the record of each run whose owner is dead, and close it; answers their ids.

        `place` limits it to one place, `spare` leaves out one (verb, key).
        """
        settled = []
        for state in self.open_runs():
            if (place is not None and state.place != place) or (state.verb, state.key) == spare:
                continue
            lock = take_lock(self._locks, state.verb, state.key, wait_s=0.0)
            if lock is not None and self._settle_one(state.run_id, lock):
                settled.append(state.run_id)
        return settled

    def open_runs(self) -> list[RunState]:
        """All runs that are not over, oldest first; their owners may live."""
        found = self.file.rows("SELECT run_id FROM runs WHERE closed IS NULL ORDER BY rowid")
        return [self.state(row["run_id"]) for row in found]

    def runs(self, verb: str, key_prefix: str = "") -> list[RunState]:
        """All runs of `verb` whose key begins with `key_prefix`, oldest first."""
        query = "SELECT run_id FROM runs WHERE verb = ? AND substr(key, 1, ?) = ? ORDER BY rowid"
        return [self.state(row["run_id"]) for row in self.file.rows(query, verb, len(key_prefix), key_prefix)]

    def state(self, run_id: str) -> RunState:
        """The run `run_id`."""
        return load_state(self.file, run_id)

    @property
    def clock(self) -> Clock:
        """The clock that times come from."""
        if self._clock is None:
            from assay.backends.clocks.system_clock import SystemClock

            self._clock = SystemClock()
        return self._clock

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self.file.close()

    def _take_up(self, verb: str, key: str, place: str | None) -> tuple[str, bool]:
        now = timestamp(self.clock)
        with self.file.transaction() as connection:
            query = "SELECT run_id FROM runs WHERE verb = ? AND key = ? AND closed IS NULL"
            found = connection.execute(query, (verb, key)).fetchone()
            run_id = found["run_id"] if found else f"{verb}-{now[:19].replace(':', '')}Z-{secrets.token_hex(4)}"
            connection.execute(
                "INSERT INTO runs (run_id, verb, key, place, started, seen, attempts, owner_pid, owner_user)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1, ?6, ?7) ON CONFLICT (run_id) DO UPDATE"
                " SET attempts = attempts + 1, place = coalesce(?4, place), seen = ?5, owner_pid = ?6, owner_user = ?7",
                (run_id, verb, key, place, now, os.getpid(), user_name()),
            )
        return run_id, found is not None

    def _settle_before(self, verb: str, key: str, place: str | None, lock: RunLock) -> None:
        if place is not None:
            self.settle_dead(place=place, spare=(verb, key))
        for state in self.open_runs():
            if (state.verb, state.key) == (verb, key) and state.seal is not None:
                self._settle_one(state.run_id, lock, keep_lock=True)

    def _settle_one(self, run_id: str, lock: RunLock, *, keep_lock: bool = False) -> bool:
        try:
            state = self.state(run_id)
            if state.outcome is not None:
                return False  # its owner finished it, or somebody else settled it, before we had the lock
            run = Run(self.file, self.clock, run_id, lock, resumed=True)
            if self._settle is not None:
                self._settle(run)
            else:
                run.finish(Outcome.ABORTED, f"the process ended {state.stopped_at}")
        finally:
            if not keep_lock:
                lock.release()
        return True

    def _busy(self, verb: str, key: str) -> PlaceBusy:
        query = "SELECT * FROM runs WHERE verb = ? AND key = ? AND closed IS NULL"
        rows = self.file.rows(query, verb, key)
        owner = f"pid {rows[0]['owner_pid']}, user {rows[0]['owner_user']}" if rows else "it is just starting"
        return PlaceBusy(
            f"assay {verb} is running on {key} already ({owner})", remedy="wait until it ends, or end that process"
        )


def user_name() -> str:
    """Who runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name (containers)
        return f"uid {os.getuid()}"
