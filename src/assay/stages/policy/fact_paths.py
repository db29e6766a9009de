# SPDX-License-Identifier: Apache-2.0
"""The paths into the facts that an expression in CEL asks for, also through the variable of a macro, and what is wrong
with them.

Guards: a path that begins at `release` or at the `t` of `release.tests.exists(t, ...)` is looked up in the model of the
facts; `has()` of what cannot be looked up is a fault: it might be false for ever, and nobody would see it.
Leaves to others: the grammar (the engine compiled the expression already), and values (`fact_values`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from assay.stages.policy.fact_kinds import (
    PATH,
    as_written,
    base_of,
    closing,
    fields_of,
    next_kind,
    prepared,
    scopes_of,
    steps_of,
)

_HAS = re.compile(r"(?<![\w.])has\(")


def path_faults(text: str) -> Iterator[str]:
    """What is wrong with the paths in an expression that compiles."""
    text, strings = prepared(text)
    scopes = scopes_of(text)
    looked_up = set[int]()
    for found in PATH.finditer(text):
        kind = base_of(found[1], found.start(), scopes)
        if kind is None:
            continue
        looked_up.add(found.start())
        if wrong := _walk(kind, found[1], steps_of(found)):
            yield as_written(wrong, strings)
    for asked in _HAS.finditer(text):
        inside = text[asked.end() : closing(text, asked.end() - 1)]
        said = as_written(inside, strings)
        if asked.end() not in looked_up or not PATH.fullmatch(inside):
            yield (
                f"has({said}) asks for what cannot be looked up among the facts, and may be false for ever: write a "
                "path that begins at a fact, or at the variable of a macro over facts"
            )


def unknown(key: str, before: str, there: Iterable[str]) -> str:
    """That there is no such fact, and what was meant."""
    close = get_close_matches(key, there := tuple(there), n=1)
    meant = f"; did you mean '{close[0]}'?" if close else f"; expected one of: {', '.join(there)}"
    return f"there is no fact '{key}' in {before}{meant}"


def _walk(kind: Any, base: str, steps: list[str]) -> str | None:
    """What is wrong with the path; None when all of it exists."""
    before = base
    for step in steps:
        fields = fields_of(kind)
        key = step.removeprefix(".")
        if step.startswith("."):
            if fields is None:
                return f"there is no fact {before}{step}: what stands before '{key}' has no parts with names"
            if key not in fields:
                return unknown(key, before, fields)
        kind, before = next_kind(kind, step), before + step
    return None
