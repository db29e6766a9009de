# SPDX-License-Identifier: Apache-2.0
"""The tests beside a pack: facts in, the expected outcome and ids out.

Guards: a test says exactly which checks deny and which warn; one more or one less fails it. What no test makes deny
or warn is named: such a check was never seen to work. Leaves to others: files (`pipeline.policy_files`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from assay.interfaces.policy_engine import PolicyEngine
from assay.model.policy import DENYING, CheckOutcome, CheckResult, PackTest, PackTests, PolicyPack
from assay.stages.policy.decide import check_document


@dataclass(frozen=True)
class TestOutcome:
    """One test: `faults` is empty when it went as expected."""

    __test__ = False

    name: str
    faults: tuple[str, ...]
    checks: tuple[CheckResult, ...]


@dataclass(frozen=True)
class TestReport:
    """All tests of a pack; `never_seen` are the checks that no test makes deny or warn."""

    __test__ = False

    outcomes: tuple[TestOutcome, ...]
    never_seen: tuple[str, ...]

    @property
    def failed(self) -> tuple[TestOutcome, ...]:
        """The tests that did not go as expected."""
        return tuple(outcome for outcome in self.outcomes if outcome.faults)


def run_tests(pack: PolicyPack, tests: PackTests, engine: PolicyEngine) -> TestReport:
    """Run `tests` over `pack`. Raises `ToolMissing`."""
    outcomes = tuple(_run(pack, tests.facts, test, engine) for test in tests.tests)
    seen = {
        check.id
        for outcome in outcomes
        for check in outcome.checks
        if check.outcome in (CheckOutcome.DENIED, CheckOutcome.WARNED)
    }
    return TestReport(outcomes, tuple(check.id for check in pack.checks if check.id not in seen))


def _run(pack: PolicyPack, base: dict[str, Any], test: PackTest, engine: PolicyEngine) -> TestOutcome:
    document = copy.deepcopy(base)
    faults = [fault for path, value in test.set_.items() if (fault := _set(document, path, value))]
    faults += [fault for path in test.unset if (fault := _unset(document, path))]
    checks = check_document(pack, document, engine)
    denied = {check.id for check in checks if check.outcome in DENYING}
    warned = {check.id for check in checks if check.outcome is CheckOutcome.WARNED}
    reasons = "".join(f"\n    {check.id}: {check.reason}" for check in checks if check.outcome in DENYING)
    if (outcome := "deny" if denied else "allow") != test.expect:
        faults.append(f"expected {test.expect}, and it is {outcome}{reasons}")
    for word, expected, found in (("denied", set(test.denied), denied), ("warned", set(test.warned), warned)):
        if expected != found:
            faults.append(f"expected {word}: {_names(expected)}; found: {_names(found)}{reasons}")
    return TestOutcome(test.name, tuple(faults), checks)


def _set(document: dict[str, Any], path: str, value: Any) -> str | None:
    here: Any = document
    *parents, last = path.split(".")
    for key in parents:
        here = here.setdefault(key, {}) if isinstance(here, dict) else None
    if not isinstance(here, dict):
        return f"`set` names {path}, which is inside a value"
    here[last] = value
    return None


def _unset(document: dict[str, Any], path: str) -> str | None:
    here: Any = document
    *parents, last = path.split(".")
    for key in parents:
        here = here.get(key) if isinstance(here, dict) else None
    if not isinstance(here, dict) or last not in here:
        return f"`unset` names {path}, which is not there"
    del here[last]
    return None


def _names(ids: set[str]) -> str:
    return ", ".join(sorted(ids)) or "none"
