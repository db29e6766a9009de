# SPDX-License-Identifier: Apache-2.0
"""How a run ends in the log: by its own record, or, when its process died, by one that says where it stopped.

Guards: a run's record is sealed in the journal before it is written, so that whoever finishes the run after a crash
writes that very record, and never a second one; no run that was begun is without a record.
Leaves to others: who may take up a run (`pipeline.journal`), signing and logging (`interfaces.recorder`).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from assay.interfaces.step_book import DETAIL
from assay.model.outcome import Outcome

if TYPE_CHECKING:
    from assay.interfaces.step_book import StepBook
    from assay.model.policy import PolicyNote
    from assay.model.record import RecordRef, RecordType
    from assay.model.statement import Statement
    from assay.model.trust import Role
    from assay.pipeline.run_journal import Run
    from assay.pipeline.run_state import RunState
    from assay.pipeline.site import Site

SKIP_POLICY = "skip-policy"
"""The step of a run on files that are no release, where somebody went on without the policy that decides there."""
UNKNOWN_BOARD = "unknown"
"""`RunHeader.board` of a run that died before it knew its board."""


def conclude(
    site: Site,
    run: Run,
    statement: Statement,
    kind: RecordType,
    role: Role,
    outcome: Outcome,
    *,
    serial: str | None = None,
    reason: str = "",
) -> RecordRef:
    """Make `statement` the record of `run`, durably, and finish the run. Raises NotRecorded; the run is open then."""
    sealed = run.seal(
        {
            "statement": statement.model_dump(mode="json", by_alias=True),
            "kind": kind.value,
            "role": role.value,
            "serial": serial,
            "outcome": outcome.value,
            "reason": reason,
        }
    )
    return _write(site, run, sealed)


def settle(site: Site, run: Run) -> RecordRef:
    """Finish a run that nobody takes up again: by its sealed record, or by one that says where it stopped."""
    state = run.state
    if state.seal is not None:
        return _write(site, run, state.seal)
    from assay.model.record import RecordType
    from assay.model.trust import Role

    reason = f"the process ended {state.stopped_at}"
    statement = _interrupted(site, state, reason)
    return conclude(
        site, run, statement, RecordType.RUN, Role.STATION, Outcome.ABORTED, serial=state.serial, reason=reason
    )


def recover(site: Site) -> list[str]:
    """Settle every dead run of the site; answers their ids."""
    return site.journals.settle_dead()


def _write(site: Site, run: Run, sealed: dict[str, Any]) -> RecordRef:
    from assay.model.record import RecordType
    from assay.model.statement import Statement
    from assay.model.trust import Role

    statement = Statement.model_validate_json(json.dumps(sealed["statement"]))
    ref = site.recorder.record(statement, RecordType(sealed["kind"]), Role(sealed["role"]), sealed["serial"])
    run.finish(Outcome(sealed["outcome"]), sealed["reason"])
    return ref


def _interrupted(site: Site, state: RunState, reason: str) -> Statement:
    from assay import __version__
    from assay.model.predicates import InterruptedRun, RunHeader, StepRecord
    from assay.model.statement import PredicateType, Statement, Subject

    header = RunHeader(
        run_id=state.run_id,
        assay=__version__,
        place=state.place or "",
        board=state.board or UNKNOWN_BOARD,
        emulated=_is_emulated(site, state),
        started=state.started,
        finished=state.seen,
        outcome=Outcome.ABORTED,
        reason=f"{reason}: {state.stopped}" if state.stopped else reason,
        checkpoint=site.recorder.checkpoint().decode(),
        policy=_skipped(state),
    )
    steps = tuple(
        StepRecord(
            name=step.step, attempts=step.attempts, outcome=Outcome.PASS if step.result is not None else Outcome.ABORTED
        )
        for step in state.steps
    )
    predicate = InterruptedRun(
        run=header, verb=state.verb, serial=state.serial, stopped_at=state.stopped_at, steps=steps
    )
    subject = Subject(name=f"run/{state.run_id}", digest={"sha256": run_digest(state.run_id)})
    return Statement(
        subject=(subject,), predicateType=PredicateType.RUN, predicate=predicate.model_dump(mode="json", by_alias=True)
    )


def keep_skipped(book: StepBook, policy: PolicyNote) -> None:
    """Journal, as a run's first step, that somebody went on without a policy: a run that is cut short says so, too."""
    if policy.skipped is not None:
        reason = policy.skipped
        book.run(SKIP_POLICY, lambda: {"reason": reason, DETAIL: reason})


def _skipped(state: RunState) -> PolicyNote | None:
    from assay.model.policy import PolicyNote

    for step in state.steps:
        if step.step == SKIP_POLICY and step.result is not None:
            return PolicyNote(skipped=str(step.result["reason"]))
    return None


def run_digest(run_id: str) -> str:
    """The digest by which statements name a run as their subject: SHA-256 of its id in UTF-8."""
    return hashlib.sha256(run_id.encode()).hexdigest()


def _is_emulated(site: Site, state: RunState) -> bool:
    if state.emulated is not None:
        return state.emulated
    return bool(state.place) and (site.twins_dir / str(state.place)).is_dir()
