# SPDX-License-Identifier: Apache-2.0
"""The verdict over a suite, from the events of its processes and the way in which they ended.

Guards: PASS needs every collected test to have a result, at least one that passed and none that did not, processes that
ended in order, and an exit status that says the same. What contradicts itself is ERROR, never PASS.
Leaves to others: who signs it (`statement` and the pipeline).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from assay.errors import Layer
from assay.model.attempts import RetryRule, counted
from assay.model.foreign_unit import ForeignUnitSeen
from assay.model.outcome import Outcome
from assay.model.verdict import CaseResult, SkippedCase, SuiteRun, UnitSeen
from assay.stages.hil.events import (
    Aborted,
    CaseEnded,
    CaseSkipped,
    CaseStarted,
    Collected,
    CollectFailed,
    Event,
    SessionFinished,
    SessionStarted,
    UnitOpened,
)

MAIN_WORKER = "main"
"""The name of the process that pytest was started in; the others are xdist's workers."""

_PYTEST_ENDS = {
    2: "pytest was interrupted, or a file of the suite could not be loaded",
    3: "pytest failed internally",
    4: "pytest was called wrongly",
    5: "pytest found no tests",
}
"""Exit status of pytest (its reference, "Exit codes"), for those that are neither passed (0) nor failed (1)."""


@dataclass
class _Story:
    """All events, sorted by what they are about."""

    cases: list[CaseResult] = field(default_factory=list)
    skipped: list[SkippedCase] = field(default_factory=list)
    collected: list[str] = field(default_factory=list)
    retries: dict[str, RetryRule] = field(default_factory=dict)
    open: dict[tuple[str, int], CaseStarted] = field(default_factory=dict)
    units: dict[str, UnitSeen | ForeignUnitSeen] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    aborted: str | None = None
    began: bool = False
    ended: int | None = None

    def tell(self, event: Event) -> None:
        """Sort in one event. A measurement is not looked at: it comes again with its case."""
        match event:
            case SessionStarted():
                self.began = True
            case Collected():
                self._tell_collected(event)
            case CollectFailed(name=name, message=message):
                self.faults.append(f"{name} could not be loaded: {message}")
            case UnitOpened(unit=unit):
                self.units[unit.place] = unit
            case CaseStarted(name=name, attempt=attempt):
                self.open[name, attempt] = event
            case CaseEnded(case=case):
                self.cases.append(case)
                self.open.pop((case.name, case.attempt), None)
            case CaseSkipped(case=skipped):
                self._tell_skip(skipped)
            case Aborted(reason=reason):
                self.aborted = reason
            case SessionFinished(worker=worker, exit_status=status) if worker == MAIN_WORKER:
                self.ended = status

    def _tell_collected(self, event: Collected) -> None:
        """A rule is declared before the first test begins; workers that collect later have to say the same."""
        if (self.cases or self.open) and event.retries != self.retries:
            self.faults.append("a rule for trying tests again was changed after the first test had begun")
            return
        known = set(self.collected)
        self.collected.extend(name for name in event.cases if name not in known)
        self.retries |= event.retries

    def _tell_skip(self, skipped: SkippedCase) -> None:
        self.skipped.append(skipped)
        for key in [key for key in self.open if key[0] == skipped.name]:
            del self.open[key]


def judge_run(suite: str, events: Iterable[Event], *, exit_status: int | None, started: str, finished: str) -> SuiteRun:
    """The run as a value. `exit_status` as the parent saw it (negative: the signal); None: from inside pytest."""
    story = _Story()
    for event in events:
        story.tell(event)
    cases = [*story.cases, *_unfinished(story)]
    outcome, reason, layer, answers = _gravest(counted(cases, story.retries))
    if story.aborted is not None:
        outcome, reason, layer = Outcome.ABORTED, story.aborted, None
    elif outcome in (Outcome.PASS, Outcome.FAIL, Outcome.TIMEOUT):
        status = story.ended if exit_status is None else exit_status
        fault = _broken(story, cases, outcome, status)
        outcome, reason, layer = (Outcome.ERROR, fault, _blamed(story)) if fault else (outcome, reason, layer)
    return SuiteRun(
        suite=suite,
        units=tuple(story.units.values()),
        started=started,
        finished=finished,
        cases=tuple(cases),
        skipped=tuple(_once(story.skipped)),
        outcome=outcome,
        reason=reason,
        layer=layer,
        device_answers=answers,
        retries=story.retries,
    )


def _blamed(story: _Story) -> Layer:
    """A run that contradicts itself: the tests are broken, or the host stopped their process."""
    return "suite" if story.faults or not story.collected or story.ended is not None else "host"


def _unfinished(story: _Story) -> list[CaseResult]:
    """Tests that began and have no end: their process died, or the run was stopped."""
    stopped = story.aborted is not None
    layer: Layer | None = None if stopped else "host"
    message = story.aborted or "the test process ended while this test ran"
    return [
        CaseResult(
            name=start.name,
            attempt=start.attempt,
            started=start.at,
            duration_s=0.0,
            outcome=Outcome.ABORTED if stopped else Outcome.ERROR,
            layer=layer,
            message=message,
        )
        for start in story.open.values()
    ]


def _gravest(cases: list[CaseResult]) -> tuple[Outcome, str, Layer | None, bool]:
    """The outcome that stands for all cases, why, which layer, and whether all that timed out answered afterwards.

    Every attempt counts (a test that passed when it was tried again has failed once), unless a rule said before the
    run that the last one does (`model.attempts`).
    """
    answers = all(case.device_answers for case in cases if case.outcome is Outcome.TIMEOUT)
    timeout = [Outcome.TIMEOUT] if not answers else []
    order = [Outcome.ABORTED, Outcome.ERROR, *timeout, Outcome.FAIL, Outcome.TIMEOUT]
    for outcome in order:
        bad = [case for case in cases if case.outcome is outcome]
        if bad:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            where = f" [{bad[0].layer}]" if bad[0].layer else ""
            return outcome, f"{bad[0].name}{where}: {_first_line(bad[0].message)}{more}", bad[0].layer, answers
    return Outcome.PASS, "", None, answers


def _broken(story: _Story, cases: list[CaseResult], outcome: Outcome, status: int | None) -> str:
    """Why this run proves nothing, although no test says so; empty when it does."""
    if story.faults:
        return story.faults[0]
    if not story.began:
        return "the test process ended before it began"
    if not story.collected:
        return "the suite has no tests"
    missing = set(story.collected) - {case.name for case in cases} - {case.name for case in story.skipped}
    if missing:
        return f"{len(missing)} of {len(story.collected)} tests were never run: {', '.join(sorted(missing)[:3])}"
    if more := _tried_too_often(story):
        return f"{more} was tried more often than its rule declares"
    if story.ended is None:
        return "the test process ended before pytest did"
    if status is not None and status not in (0, 1):
        return f"the test process was killed by signal {-status}" if status < 0 else _end_of(status)
    if not cases:
        return f"all {len(story.skipped)} tests were skipped: {story.skipped[0].reason}"
    if status == 1 and outcome is Outcome.PASS:
        return "pytest says that tests failed, and no test does"
    return ""


def _tried_too_often(story: _Story) -> str:
    over = (
        case.name for case in story.cases if (rule := story.retries.get(case.name)) and case.attempt > rule.attempts
    )
    return next(over, "")


def _end_of(status: int) -> str:
    return _PYTEST_ENDS.get(status, f"the test process ended with status {status}")


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]


def _once(skipped: list[SkippedCase]) -> list[SkippedCase]:
    return list({case.name: case for case in skipped}.values())
