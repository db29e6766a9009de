# SPDX-License-Identifier: Apache-2.0
"""What stands at a path in an expression in CEL, by the model of the facts, also at the variable of a macro.

Leaves to others: what is wrong with a path (`fact_paths`) or with what it is compared with (`fact_values`), and the
grammar (the engine compiled the expression already).
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from assay.interfaces.policy_engine import VARIABLES
from assay.model.policy_facts import Facts

_STRINGS = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'')
_SPACE = re.compile(r"\s*([.()\[\],])\s*")
NAME = r"[A-Za-z_]\w*"
MACRO = re.compile(rf"\.(?:exists_one|exists|all|filter|map)\(({NAME}),")
PATH = re.compile(rf"(?<![\w.\])])({NAME})((?:\.{NAME}(?!\w*\()|\[[^\[\]]*\])*)")
_STEP = re.compile(rf"\.{NAME}|\[[^\[\]]*\]")
_NUMBER = re.compile(r'"(\d+)"')
_BRACKETS = {"(": ")", "[": "]"}


@dataclass(frozen=True)
class Scope:
    """Where the variable `name` of a macro holds, and what it is: an annotation, None where nobody knows."""

    name: str
    begin: int
    end: int
    kind: Any


def prepared(text: str) -> tuple[str, list[str]]:
    """The expression with the number of each string literal in its place, and the literals as they are written."""
    strings: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        strings.append(found[0])
        return f'"{len(strings) - 1}"'

    text = _STRINGS.sub(numbered, text)
    return _SPACE.sub(r"\1", text), strings


def as_written(text: str, strings: list[str]) -> str:
    """A part of what was prepared, with its string literals."""
    return _NUMBER.sub(lambda found: strings[int(found[1])], text)


def scopes_of(text: str) -> list[Scope]:
    """The variables of macros, the outer ones before those inside."""
    scopes: list[Scope] = []
    for macro in MACRO.finditer(text):
        end = closing(text, text.index("(", macro.start()))
        scopes.append(Scope(macro[1], macro.end(), end, item_of(receiver(text, macro.start(), scopes))))
    return scopes


def receiver(text: str, end: int, scopes: list[Scope]) -> Any:
    """The annotation of what stands before `end`: a path, or what a filter leaves of one; None for anything else."""
    if text[end - 1] == ")":
        begin = _opening(text, end - 1)
        name = re.search(rf"\.({NAME})$", text[:begin])
        return receiver(text, name.start(), scopes) if name is not None and name[1] == "filter" else None
    found = next((each for each in PATH.finditer(text) if each.end() == end), None)
    return None if found is None else kind_at(found, scopes)


def kind_at(path: re.Match[str], scopes: list[Scope]) -> Any:
    """The annotation of what is at the end of a path; None where nobody knows."""
    kind = base_of(path[1], path.start(), scopes)
    for step in steps_of(path):
        kind = next_kind(kind, step)
    return kind


def base_of(name: str, at: int, scopes: list[Scope]) -> Any:
    """What a path begins at: the innermost variable of a macro of that name, else the facts."""
    for scope in reversed(scopes):
        if scope.name == name and scope.begin <= at < scope.end:
            return scope.kind
    return Facts.model_fields[name].annotation if name in VARIABLES else None


def steps_of(path: re.Match[str]) -> list[str]:
    """`.name` and `[index]`, one by one."""
    return _STEP.findall(path[2])


def next_kind(kind: Any, step: str) -> Any:
    """The annotation one step further; None where nobody knows."""
    if step.startswith("["):
        return item_of(kind)
    fields = fields_of(kind)
    return fields[step[1:]].annotation if fields is not None and step[1:] in fields else None


def item_of(kind: Any) -> Any:
    """What a list holds; None for what is no list."""
    lists = (each for each in (kind, *typing.get_args(kind)) if typing.get_origin(each) is tuple)
    return next((typing.get_args(each)[0] for each in lists), None)


def fields_of(kind: Any) -> Mapping[str, Any] | None:
    """The parts with names of what is no list; None for what has none."""
    if item_of(kind) is not None:
        return None
    for candidate in (kind, *typing.get_args(kind)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate.model_fields
    return None


def closing(text: str, at: int) -> int:
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
