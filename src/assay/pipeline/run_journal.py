# SPDX-License-Identifier: Apache-2.0
"""The journal of one run: its steps, what it learned about its unit, and how it ended.

Guards: every method is durable when it returns; a run left without `finish` stays open and says where it stopped.
Leaves to others: who may open which run (`pipeline.journal`).
"""

from __future__ import annotations

import json
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from assay.errors import Refused, UsageFault
from assay.model.outcome import Outcome
from assay.pipeline.journal_file import JournalFile
from assay.pipeline.run_lock import RunLock
from assay.pipeline.run_state import RunState, read_state

if TYPE_CHECKING:
    from assay.interfaces.clock import Clock


def timestamp(clock: Clock) -> str:
    """The time as journals and records write it: RFC 3339, UTC, milliseconds."""
    return clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


def load_state(file: JournalFile, run_id: str) -> RunState:
    """The run `run_id` as the journal has it now."""
    (row,) = file.rows("SELECT * FROM runs WHERE run_id = ?", run_id)
    steps = file.rows("SELECT step, attempts, result FROM steps WHERE run_id = ? ORDER BY position", run_id)
    return read_state(row, steps)


class Run:
    """The journal of one run (`interfaces.journal.Journal`), ours until the block is left."""

    def __init__(self, file: JournalFile, clock: Clock, run_id: str, lock: RunLock, *, resumed: bool) -> None:
        self._file = file
        self._clock = clock
        self._lock = lock
        self.run_id = run_id
        self.resumed = resumed

    @property
    def state(self) -> RunState:
        """The run as the journal has it now."""
        return load_state(self._file, self.run_id)

    def result(self, step: str) -> dict[str, Any] | None:
        """What `step` gave, if it is done (by this process or an earlier one); else None."""
        rows = self._file.rows("SELECT result FROM steps WHERE run_id = ? AND step = ?", self.run_id, step)
        return None if not rows or rows[0]["result"] is None else json.loads(rows[0]["result"])

    def begin(self, step: str) -> int:
        """`step` starts (again); answers which attempt this is, counted from 1."""
        now = timestamp(self._clock)
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT INTO steps (run_id, step, position, attempts, begun)"
                " VALUES (?1, ?2, (SELECT count(*) FROM steps WHERE run_id = ?1), 1, ?3)"
                " ON CONFLICT (run_id, step)"
                " DO UPDATE SET attempts = attempts + 1, begun = ?3, done = NULL, result = NULL",
                (self.run_id, step, now),
            )
            connection.execute("UPDATE runs SET seen = ? WHERE run_id = ?", (now, self.run_id))
            query = "SELECT attempts FROM steps WHERE run_id = ? AND step = ?"
            return int(connection.execute(query, (self.run_id, step)).fetchone()["attempts"])

    def done(self, step: str, result: dict[str, Any]) -> None:
        """`step` is done, with a plain JSON result."""
        now, text = timestamp(self._clock), json.dumps(result, allow_nan=False)
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT INTO steps (run_id, step, position, attempts, begun, done, result)"
                " VALUES (?1, ?2, (SELECT count(*) FROM steps WHERE run_id = ?1), 1, ?3, ?3, ?4)"
                " ON CONFLICT (run_id, step) DO UPDATE SET done = ?3, result = ?4",
                (self.run_id, step, now, text),
            )
            connection.execute("UPDATE runs SET seen = ? WHERE run_id = ?", (now, self.run_id))

    def move(self, step: str, count: int) -> None:
        """`step` moved `count` bytes more; that stays when the step begins again."""
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT INTO moved (run_id, step, bytes) VALUES (?1, ?2, ?3)"
                " ON CONFLICT (run_id, step) DO UPDATE SET bytes = bytes + ?3",
                (self.run_id, step, count),
            )

    def moved(self, step: str) -> int:
        """Bytes that `step` moved, in all its attempts."""
        rows = self._file.rows("SELECT bytes FROM moved WHERE run_id = ? AND step = ?", self.run_id, step)
        return int(rows[0]["bytes"]) if rows else 0

    def identify(self, *, serial: str | None = None, board: str | None = None, emulated: bool | None = None) -> None:
        """What the run learned about its unit; None leaves what is known already."""
        with self._file.transaction() as connection:
            connection.execute(
                "UPDATE runs SET serial = coalesce(?, serial), board = coalesce(?, board),"
                " emulated = coalesce(?, emulated) WHERE run_id = ?",
                (serial, board, emulated, self.run_id),
            )

    def seal(self, record: dict[str, Any]) -> dict[str, Any]:
        """Keep the run's last record, ready to be made durable; a later call answers what the first one kept.

        From here on the run ends with this record, whoever writes it (`pipeline.recovery.conclude`).
        """
        with self._file.transaction() as connection:
            query = "UPDATE runs SET seal = coalesce(seal, ?) WHERE run_id = ? RETURNING seal"
            kept = connection.execute(query, (json.dumps(record, allow_nan=False), self.run_id)).fetchone()["seal"]
        found: dict[str, Any] = json.loads(kept)
        return found

    def finish(self, outcome: Outcome, reason: str = "") -> None:
        """The run is over and its record, if it has one, durable."""
        now = timestamp(self._clock)
        with self._file.transaction() as connection:
            query = "UPDATE runs SET outcome = ?, reason = ?, closed = ?, seen = ? WHERE run_id = ?"
            connection.execute(query, (outcome.value, reason, now, now, self.run_id))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._tell_where(error)
        finally:
            self._lock.release()

    def _tell_where(self, error: BaseException) -> None:
        """Keep why the run stopped, and say on the error where; a journal that is gone must not hide the error."""
        try:
            state = self.state
            if state.outcome is not None:
                return
            words = f"{type(error).__name__}: {error}"
            with self._file.transaction() as connection:
                connection.execute("UPDATE runs SET stopped = ? WHERE run_id = ?", (words, self.run_id))
        except Exception as failure:
            error.add_note(f"where run {self.run_id} stopped could not be kept: {failure}")
        else:
            mended = "once this is mended, " if isinstance(error, Refused | UsageFault) else ""
            where = f"it stopped {state.stopped_at}; {mended}the same command goes on from there"
            error.add_note(f"{where} (in the journal: {self.run_id})")
