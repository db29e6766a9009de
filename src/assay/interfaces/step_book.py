# SPDX-License-Identifier: Apache-2.0
"""The steps of a run, as they happen: journaled before and after, told to the person, and kept for the record.

Guards: a step that failed is in the record with what it said; a step that was repeated says how often.
Leaves to others: what a step does, and making it repeatable (the stages): a step asks the unit what is done already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from assay.errors import AssayError, Interrupted, UnitFailed
from assay.interfaces.device import Progress
from assay.interfaces.journal import Journal
from assay.interfaces.left_behind import unit_after
from assay.model.outcome import Outcome
from assay.model.predicates import StepRecord

Say = Callable[[str], None]


def say_nothing(_line: str) -> None:
    """For who has nobody to tell."""


ProgressFor = Callable[[str], Progress]
"""A progress display for what the text names."""

DETAIL = "detail"
"""Key of a step's result whose text goes to the person and into the record."""


class StepBook:
    """The steps of one run in `journal`; `say` gets a line for each step that is done."""

    def __init__(self, journal: Journal, say: Say, progress_for: ProgressFor) -> None:
        self.journal = journal
        self.say = say
        self.progress_for = progress_for
        self._records: list[StepRecord] = []

    @property
    def records(self) -> tuple[StepRecord, ...]:
        """The steps of this process, in order, as a record shows them."""
        return tuple(self._records)

    @property
    def stopped_at(self) -> str:
        """The last step that was begun; empty before the first."""
        return self._records[-1].name if self._records else ""

    def run(self, name: str, act: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
        """Begin `name`, do it, and keep what it gave (plain JSON). Errors of `act` pass through."""
        try:
            return self._run(name, act)
        except Interrupted as interrupted:  # also while the journal writes that it begins: then the journal names it
            interrupted.add_note(unit_after(name))
            raise

    def _run(self, name: str, act: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
        attempts = self.journal.begin(name)
        try:
            result = act() or {}
        except AssayError as error:
            outcome = Outcome.FAIL if isinstance(error, UnitFailed) else Outcome.ERROR
            self._keep(name, attempts, outcome, error.message)
            raise
        self.journal.done(name, result)
        self._keep(name, attempts, Outcome.PASS, str(result.get(DETAIL, "")))
        return result

    def _keep(self, name: str, attempts: int, outcome: Outcome, detail: str) -> None:
        self._records.append(StepRecord(name=name, attempts=attempts, outcome=outcome, detail=detail))
        self.say(f"{name}: {detail or 'done'}" if outcome is Outcome.PASS else f"{name}: {outcome}: {detail}")
