# SPDX-License-Identifier: Apache-2.0
"""One test while it runs: its phases, what went wrong in them, its measurements, and the result that comes of it.

Guards: a test that did not go through set-up, call and teardown is not PASS; of several faults the gravest stands,
and the others are told with it.
Leaves to others: what an exception says (`faults`), and pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from assay.model.outcome import Outcome
from assay.model.verdict import CaseResult, SkippedCase
from assay.stages.hil.faults import MESSAGE_LENGTH_MAX, Fault, Phase
from assay.stages.hil.measuring import MeasurementBook, Taken, failures

_GRAVITY = (Outcome.ABORTED, Outcome.ERROR, Outcome.TIMEOUT, Outcome.FAIL)


@dataclass
class CaseWatch:
    """One attempt at one test. Times: `started` RFC 3339, `started_s` and `now_s` monotonic seconds."""

    name: str
    attempt: int
    started: str
    started_s: float
    on_taken: Taken
    place: str | None = None
    device_answers: bool = False
    phases: list[Phase] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    skip_reason: str | None = None

    def __post_init__(self) -> None:
        self.book = MeasurementBook(self.on_taken)

    def saw(self, phase: Phase, fault: Fault | None) -> None:
        """`phase` is over."""
        self.phases.append(phase)
        if fault is not None:
            self.faults.append(fault)

    def skipped(self, phase: Phase, reason: str) -> None:
        """`phase` ended in a skip."""
        self.phases.append(phase)
        self.skip_reason = reason

    def out_of_limits(self) -> Fault | None:
        """What the measurements say, once the call is over."""
        bad = failures(self.book.results())
        return Fault(Outcome.FAIL, None, "; ".join(bad)) if bad else None

    def timed_out(self, answers: Callable[[], bool]) -> None:
        """After a TIMEOUT: ask whether the device still answers."""
        self.device_answers = answers()

    def result(self, now_s: float) -> CaseResult | SkippedCase:
        """What came of it."""
        if self.skip_reason is not None and not self.faults:
            return SkippedCase(name=self.name, reason=self.skip_reason)
        worst = self._worst()
        return CaseResult(
            name=self.name,
            outcome=worst.outcome,
            started=self.started,
            duration_s=round(now_s - self.started_s, 6),
            attempt=self.attempt,
            place=self.place,
            layer=worst.layer,
            message=worst.message[:MESSAGE_LENGTH_MAX],
            device_answers=self.device_answers,
            measurements=self.book.results(skipped=self.skip_reason is not None),
        )

    def _worst(self) -> Fault:
        if not self.faults:
            if "setup" in self.phases and "call" in self.phases and "teardown" in self.phases:
                return Fault(Outcome.PASS, None, "")
            return Fault(Outcome.ERROR, "host", f"the test stopped after {', '.join(self.phases) or 'nothing'}")
        worst = min(self.faults, key=lambda fault: _GRAVITY.index(fault.outcome))
        first = self.faults[0]
        if first.outcome is Outcome.TIMEOUT and worst.outcome is Outcome.ERROR and not self.device_answers:
            worst = first  # the teardown of a silent device only says again that it is silent
        others = [fault.message for fault in self.faults if fault is not worst]
        return Fault(worst.outcome, worst.layer, "\nthen: ".join([worst.message, *others]))
