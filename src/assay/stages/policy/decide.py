# SPDX-License-Identifier: Apache-2.0
"""Decide: a pack and facts in, a decision out. Pure: no clock, no file, so the same two give the same decision.

Guards: deny is what happens unless every check that applies was decided: an error, a missing field, an unknown
function, a value that is no bool, and facts that do not have their published shape all deny, whatever the severity.
Leaves to others: what the facts are (`pipeline.policy_facts`), which pack decides (`pipeline.policy_adoption`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from assay.formats import canonical_json
from assay.interfaces.policy_engine import VARIABLES, ExpressionFault, PolicyEngine
from assay.model.policy import (
    CheckOutcome,
    CheckResult,
    Decision,
    DecisionSubject,
    PackReference,
    PolicyCheck,
    PolicyPack,
    Severity,
)
from assay.model.policy_facts import Facts

FACTS_CHECK = "facts"
"""Id of the result that stands alone when the facts do not have their published shape."""

_UNDECIDED = "a check that cannot be decided denies; correct the pack, or what the fact comes from"


def decide(pack: PolicyPack, sha256: str, facts: Facts, engine: PolicyEngine) -> Decision:
    """What `pack` (whose file has the digest `sha256`) says about `facts`. Raises `ToolMissing` without an engine."""
    document = canonical_json.plain(facts)
    bound = bind(document)
    checks = tuple(_check(check, bound, engine) for check in pack.checks)
    if facts.point not in pack.at:
        reason = f"the pack is not asked at {facts.point}, only at {', '.join(pack.at)}"
        checks = (_undecided(FACTS_CHECK, 1, reason),)
    return Decision(
        point=facts.point,
        subject=DecisionSubject(
            release=facts.release.reference,
            board=facts.board.name,
            file_sha256=facts.release.file_sha256,
            image_hash=facts.release.image_hash,
        ),
        pack=PackReference(name=pack.name, version=pack.version, sha256=sha256),
        facts_sha256=hashlib.sha256(canonical_json.encode(document)).hexdigest(),
        engine=engine.name,
        allowed=not any(check.outcome in (CheckOutcome.DENIED, CheckOutcome.UNDECIDED) for check in checks),
        checks=checks,
    )


def check_document(pack: PolicyPack, document: Mapping[str, Any], engine: PolicyEngine) -> tuple[CheckResult, ...]:
    """The results over facts that are plain JSON and may be of any shape; a wrong one denies, in one result."""
    try:
        facts = Facts.model_validate_json(json.dumps(document))
    except (ValidationError, ValueError, TypeError) as error:
        return (_undecided(FACTS_CHECK, 1, f"the facts do not have their published shape: {_first(error)}"),)
    if facts.point not in pack.at:
        return (_undecided(FACTS_CHECK, 1, f"the pack is not asked at {facts.point}"),)
    bound = bind(canonical_json.plain(facts))
    return tuple(_check(check, bound, engine) for check in pack.checks)


def bind(document: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of an expression; what is absent is an empty map, so that `has(unit.serial)` can be asked."""
    return {name: document.get(name, {}) for name in VARIABLES}


def _check(check: PolicyCheck, bound: Mapping[str, Any], engine: PolicyEngine) -> CheckResult:
    part = "when"
    try:
        if check.when is not None and not engine.compile(check.when).holds(bound):
            return CheckResult(id=check.id, version=check.version, outcome=CheckOutcome.NOT_APPLICABLE)
        part = "deny_if"
        denies = engine.compile(check.deny_if).holds(bound)
    except ExpressionFault as fault:
        return _undecided(check.id, check.version, f"`{part}` cannot be decided: {fault.message}")
    if not denies:
        return CheckResult(id=check.id, version=check.version, outcome=CheckOutcome.PASSED)
    outcome = CheckOutcome.DENIED if check.severity is Severity.DENY else CheckOutcome.WARNED
    return CheckResult(id=check.id, version=check.version, outcome=outcome, reason=check.message, remedy=check.remedy)


def _undecided(name: str, version: int, reason: str) -> CheckResult:
    return CheckResult(id=name, version=version, outcome=CheckOutcome.UNDECIDED, reason=reason, remedy=_UNDECIDED)


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'facts'}: {first['msg']}"
