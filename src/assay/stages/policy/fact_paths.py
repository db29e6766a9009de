# SPDX-License-Identifier: Apache-2.0
"""The paths into the facts that an expression in CEL asks for, also through the variable of a macro, and what is wrong
with them.

Guards: a path that begins at `release` or at the `t` of `release.tests.exists(t, ...)` is looked up in the model of the
facts; `has()` of what cannot be looked up is a fault: it might be false for ever, and nobody would see it.
Leaves to others: the grammar (the engine compiled the expression already).
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from assay.interfaces.policy_engine import VARIABLES
from assay.model.policy_facts import Facts

_STRINGS = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'')
_SPACE = re.compile(r"\s*([.()\[\],])\s*")
_NAME = r"[A-Za-z_]\w*"
_MACRO = re.compile(rf"\.(?:exists_one|exists|all|filter|map)\(({_NAME}),")
_PATH = re.compile(rf"(?<![\w.\])])({_NAME})((?:\.{_NAME}(?!\w*\()|\[[^\[\]]*\])+)")
_STEP = re.compile(rf"\.{_NAME}|\[[^\[\]]*\]")
_HAS = re.compile(r"(?<![\w.])has\(")
_BRACKETS = {"(": ")", "[": "]"}


@dataclass(frozen=True)
class _Scope:
    """Where the variable `name` of a macro holds, and what it is: an annotation, None where nobody knows."""

    name: str
    begin: int
    end: int
    kind: Any


def path_faults(text: str) -> Iterator[str]:
    """What is wrong with the paths in an expression that compiles."""
    text = _SPACE.sub(r"\1", _STRINGS.sub('""', text))
    scopes = _scopes(text)
    looked_up = set[int]()
    for found in _PATH.finditer(text):
        kind = _base(found[1], found.start(), scopes)
        if kind is None:
            continue
        looked_up.add(found.start())
        if wrong := _walk(kind, found[1], _STEP.findall(found[2])):
            yield wrong
    for asked in _HAS.finditer(text):
        inside = text[asked.end() : _closing(text, asked.end() - 1)]
        if asked.end() not in looked_up or not _PATH.fullmatch(inside):
            yield (
                f"has({inside}) asks for what cannot be looked up among the facts, and may be false for ever: write a "
                "path that begins at a fact, or at the variable of a macro over facts"
            )


def _scopes(text: str) -> list[_Scope]:
    """The variables of macros, the outer ones before those inside."""
    scopes: list[_Scope] = []
    for macro in _MACRO.finditer(text):
        end = _closing(text, text.index("(", macro.start()))
        scopes.append(_Scope(macro[1], macro.end(), end, _item(_receiver(text, macro.start(), scopes))))
    return scopes


def _receiver(text: str, end: int, scopes: list[_Scope]) -> Any:
    """The annotation of what stands before `end`: a path, or what a filter leaves of one; None for anything else."""
    if text[end - 1] == ")":
        begin = _opening(text, end - 1)
        name = re.search(rf"\.({_NAME})$", text[:begin])
        return _receiver(text, name.start(), scopes) if name is not None and name[1] == "filter" else None
    found = next((each for each in _PATH.finditer(text) if each.end() == end), None)
    if found is None or (kind := _base(found[1], found.start(), scopes)) is None:
        return None
    for step in _STEP.findall(found[2]):
        kind = _next(kind, step)
    return kind


def _base(name: str, at: int, scopes: list[_Scope]) -> Any:
    """What a path begins at: the innermost variable of a macro of that name, else the facts."""
    for scope in reversed(scopes):
        if scope.name == name and scope.begin <= at < scope.end:
            return scope.kind
    return Facts.model_fields[name].annotation if name in VARIABLES else None


def _walk(kind: Any, base: str, steps: list[str]) -> str | None:
    """What is wrong with the path; None when all of it exists."""
    before = base
    for step in steps:
        fields = _fields(kind)
        key = step.removeprefix(".")
        if step.startswith("."):
            if fields is None:
                return f"there is no fact {before}{step}: what stands before '{key}' has no parts with names"
            if key not in fields:
                close = get_close_matches(key, fields, n=1)
                meant = f"; did you mean '{close[0]}'?" if close else f"; expected one of: {', '.join(fields)}"
                return f"there is no fact '{key}' in {before}{meant}"
        kind, before = _next(kind, step), before + step
    return None


def _next(kind: Any, step: str) -> Any:
    """The annotation one step further; None where nobody knows."""
    if step.startswith("["):
        return _item(kind)
    fields = _fields(kind)
    return fields[step[1:]].annotation if fields is not None and step[1:] in fields else None


def _item(kind: Any) -> Any:
    """What a list holds; None for what is no list."""
    lists = (each for each in (kind, *typing.get_args(kind)) if typing.get_origin(each) is tuple)
    return next((typing.get_args(each)[0] for each in lists), None)


def _fields(kind: Any) -> Mapping[str, Any] | None:
    if _item(kind) is not None:
        return None
    for candidate in (kind, *typing.get_args(kind)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate.model_fields
    return None


def _closing(text: str, at: int) -> int:
    """Where the bracket that opens at `at` closes."""
    depth = 0
    for place in range(at, len(text)):
        depth += (text[place] in _BRACKETS) - (text[place] in _BRACKETS.values())
        if depth == 0:
            return place
    return len(text)


def _opening(text: str, at: int) -> int:
    """Where the bracket that closes at `at` opens."""
    depth = 0
    for place in range(at, -1, -1):
        depth += (text[place] in _BRACKETS.values()) - (text[place] in _BRACKETS)
        if depth == 0:
            return place
    return 0
