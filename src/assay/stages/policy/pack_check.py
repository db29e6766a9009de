# SPDX-License-Identifier: Apache-2.0
"""What is wrong in the expressions of a pack, before it ever decides: syntax, functions, and facts that do not exist.

Guards: a mistyped fact inside `has()` would be false for ever, and pass; here it is found by its name. Leaves to
others: paths (`fact_paths`), values (`fact_values`), file and line (`pipeline.policy_files`).
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.interfaces.policy_engine import ExpressionFault, PolicyEngine
from assay.model.policy import PolicyPack
from assay.stages.policy.fact_paths import path_faults
from assay.stages.policy.fact_values import value_faults

Fault = tuple[tuple[str | int, ...], str]
"""Path of the key in the pack, and the sentence."""


def faults_of_pack(pack: PolicyPack, engine: PolicyEngine) -> list[Fault]:
    """All faults in the expressions of `pack`. Raises `ToolMissing` without an engine."""
    found: list[Fault] = []
    for place, check in enumerate(pack.checks):
        for key, text in (("when", check.when), ("deny_if", check.deny_if)):
            if text is not None:
                found += [(("checks", place, key), fault) for fault in _faults(check.id, text, engine)]
    return found


def _faults(name: str, text: str, engine: PolicyEngine) -> Iterator[str]:
    try:
        engine.compile(text)
    except ExpressionFault as fault:
        yield f"check '{name}': expected an expression in CEL that gives a bool: {fault.message}"
        return
    for wrong in dict.fromkeys((*path_faults(text), *value_faults(text))):
        yield f"check '{name}': {wrong}"
