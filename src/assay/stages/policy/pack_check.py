# SPDX-License-Identifier: Apache-2.0
"""What is wrong in the expressions of a pack, before it ever decides: syntax, functions, and facts that do not exist.

Guards: a mistyped fact inside `has()` would be false for ever, and pass; here it is found by its name. Leaves to
others: file and line (`pipeline.policy_files`).
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from assay.interfaces.policy_engine import VARIABLES, ExpressionFault, PolicyEngine
from assay.model.policy import PolicyPack
from assay.model.policy_facts import Facts

Fault = tuple[tuple[str | int, ...], str]
"""Path of the key in the pack, and the sentence."""

_STRINGS = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'')
_PATHS = re.compile(rf"(?<![\w.])(?:{'|'.join(VARIABLES)})(?:\.[A-Za-z_]\w*(?!\w*\s*\())+")


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
    for path in sorted(set(_PATHS.findall(_STRINGS.sub('""', text)))):
        if wrong := _unknown(path):
            yield f"check '{name}': {wrong}"


def _unknown(path: str) -> str | None:
    """What is wrong with a dotted path into the facts; None when all of it exists."""
    here: Any = Facts
    for depth, key in enumerate(path.split(".")):
        model = _model_in(here)
        if model is None:
            return None if here is not str else f"there is no fact {path}: what stands before '{key}' is a text"
        if key not in model.model_fields:
            before = ".".join(path.split(".")[:depth])
            close = get_close_matches(key, model.model_fields, n=1)
            meant = f"; did you mean '{close[0]}'?" if close else f"; expected one of: {', '.join(model.model_fields)}"
            return f"there is no fact '{key}' in {before}{meant}"
        here = model.model_fields[key].annotation
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
