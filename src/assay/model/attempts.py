# SPDX-License-Identifier: Apache-2.0
"""Tests that may be tried again: the rule that was declared before the run, and which attempt counts by it.

Guards: without a rule every attempt counts; a rule forgives an attempt only when it says so, and never more of them
than it declares. Leaves to others: trying (`pipeline.test_attempts`), and the verdict (`stages.hil.verdict`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from assay.model.outcome import Outcome
from assay.model.value import Value

if TYPE_CHECKING:
    from assay.model.verdict import CaseResult

ATTEMPTS_MAX = 10
"""What does not pass in ten attempts is broken, and each of them wears the unit."""


class RetryRule(Value):
    """`@pytest.mark.retry(...)`: when a test is tried again, from what state, and what counts.

    `attempts` is how often in all. `on`: after an ERROR or the TIMEOUT of a silent device only, or after a FAIL, too.
    `from_power`: off and on again (or cut, in the middle of whatever the unit does), `off_s` seconds dark, before each
    further attempt. `counts`: every attempt, or the last one. Tests of one file with the same `group` are tried
    together, from the first of them on.
    """

    attempts: int = Field(default=2, ge=2, le=ATTEMPTS_MAX)
    on: Literal["error", "any"] = "error"
    from_power: Literal["as-is", "cycle", "cut"] = "as-is"
    off_s: float = Field(default=0.05, ge=0, le=60)
    counts: Literal["every", "last"] = "every"
    group: str | None = Field(default=None, min_length=1, max_length=64)


Rules = Mapping[str, RetryRule]
"""By the test's name; only tests that have a rule."""


def counted(cases: Iterable[CaseResult], rules: Rules) -> list[CaseResult]:
    """The attempts that the verdict rests on."""
    every: list[CaseResult] = []
    last: dict[str, CaseResult] = {}
    for case in cases:
        if _forgives(case, rules):
            known = last.get(case.name)
            last[case.name] = case if known is None or case.attempt > known.attempt else known
        else:
            every.append(case)
    return [*every, *last.values()]


def flaky(cases: Iterable[CaseResult], rules: Rules) -> tuple[str, ...]:
    """The tests that passed by their rule, and did not in an attempt before."""
    known = list(cases)
    failed = {case.name for case in counted(known, rules) if case.outcome is not Outcome.PASS}
    return tuple(sorted({case.name for case in known if case.outcome is not Outcome.PASS} - failed))


def _forgives(case: CaseResult, rules: Rules) -> bool:
    rule = rules.get(case.name)
    return rule is not None and rule.counts == "last" and case.attempt <= rule.attempts
