# SPDX-License-Identifier: Apache-2.0
"""What the last runs on a place say about whether it can be relied on: counts, flips, and errors that repeat.

Guards: only runs of the same suite on the same image are compared; what the tests themselves broke is not counted
against a unit. Leaves to others: reading records (`pipeline.quarantine`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from assay.model.outcome import Outcome

RUNS_MAX = 20
"""Runs that are looked at: what was long ago says little about the cable of today."""
FLIPS_MAX = 3
"""Changes between PASS and FAIL, same suite and image. One is a repair, two a repair and a relapse."""
ERRORS_MAX = 3
"""Faults of the infrastructure in a row: one is bad luck, and a bench that was switched off for a night has two."""
_OF_THE_UNIT = ("port", "power", "link", "flasher")


@dataclass(frozen=True)
class RunSeen:
    """One run of a suite: outcome, what was run (suite and image; empty when it did not come so far), the layer of a
    fault, how many tests passed only when they were tried again, the unit, and when it ended (RFC 3339).
    """

    outcome: Outcome
    what: str
    layer: str | None
    warned: int
    serial: str | None
    at: str


@dataclass(frozen=True)
class History:
    """The runs on a place, newest last, and what they come to."""

    runs: int
    passed: int
    failed: int
    errors: dict[str, int]
    flips: int
    errors_in_a_row: int
    warned: int
    serial: str | None
    last: str | None

    @property
    def doubt(self) -> str:
        """Why the place is not to be relied on; empty when it is."""
        if self.flips >= FLIPS_MAX:
            return (
                f"the same tests of the same image changed between PASS and FAIL {self.flips} times in {self.runs} runs"
            )
        if self.errors_in_a_row >= ERRORS_MAX:
            worst = max(self.errors, key=lambda layer: self.errors[layer])
            return f"the last {self.errors_in_a_row} runs ended in an ERROR of the bench, most often {worst}"
        return ""


def history_of(runs: Sequence[RunSeen]) -> History:
    """What `runs`, oldest first, come to; the newest `RUNS_MAX` count."""
    seen = runs[-RUNS_MAX:]
    faults = [run.layer in _OF_THE_UNIT for run in seen]
    in_a_row = next((index for index, fault in enumerate(reversed(faults)) if not fault), len(faults))
    return History(
        runs=len(seen),
        passed=sum(run.outcome is Outcome.PASS for run in seen),
        failed=sum(run.outcome is Outcome.FAIL for run in seen),
        errors=dict(Counter(run.layer or "other" for run in seen if run.outcome not in (Outcome.PASS, Outcome.FAIL))),
        flips=_flips(seen),
        errors_in_a_row=in_a_row,
        warned=sum(run.warned for run in seen),
        serial=next((run.serial for run in reversed(seen) if run.serial), None),
        last=seen[-1].at if seen else None,
    )


def _flips(runs: Sequence[RunSeen]) -> int:
    before: dict[str, Outcome] = {}
    flips = 0
    for run in runs:
        if run.outcome in (Outcome.PASS, Outcome.FAIL):
            flips += before.get(run.what, run.outcome) is not run.outcome
            before[run.what] = run.outcome
    return flips
