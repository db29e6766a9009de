# SPDX-License-Identifier: Apache-2.0
"""A run as its journal has it: a value, read from the journal's rows. No file here."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from assay.model.outcome import Outcome


@dataclass(frozen=True)
class StepState:
    """One step in a journal. `result` is None until the step is done."""

    step: str
    attempts: int
    result: dict[str, Any] | None


@dataclass(frozen=True)
class RunState:
    """A run as the journal has it. Times are RFC 3339, UTC; `seen` is the last sign of life; `seal` see `Run.seal`."""

    run_id: str
    verb: str
    key: str
    serial: str | None
    place: str | None
    board: str | None
    emulated: bool | None
    started: str
    seen: str
    attempts: int
    owner_pid: int
    owner_user: str
    stopped: str
    seal: dict[str, Any] | None
    outcome: Outcome | None
    steps: tuple[StepState, ...]

    @property
    def stopped_at(self) -> str:
        """Where the run stands: the step under way, else what was done last."""
        under_way = [step.step for step in self.steps if step.result is None]
        done = [step.step for step in self.steps if step.result is not None]
        if under_way:
            return f"in step {under_way[-1]}"
        return f"after step {done[-1]}" if done else "before the first step"


def read_state(row: sqlite3.Row, steps: list[sqlite3.Row]) -> RunState:
    """The run in `row` of the table of runs, with its `steps` in order."""
    found = tuple(StepState(step["step"], step["attempts"], _read_json(step["result"])) for step in steps)
    values = {name: row[name] for name in row.keys() if name not in ("closed", "reason")}  # noqa: SIM118 (no mapping)
    values["emulated"] = None if row["emulated"] is None else bool(row["emulated"])
    values["seal"] = _read_json(row["seal"])
    values["outcome"] = None if row["outcome"] is None else Outcome(row["outcome"])
    return RunState(**values, steps=found)


def _read_json(text: str | None) -> dict[str, Any] | None:
    return None if text is None else json.loads(text)
