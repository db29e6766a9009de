# SPDX-License-Identifier: Apache-2.0
"""What an expression in CEL compares a fact with, and what is wrong with that.

Guards: a fact of a few known values (`point`, `t.result`) that is compared with another text would never be that, and a
key that no fact has (`'x' in release`) would never be there: the check would pass for ever, and nobody would see it.
Leaves to others: paths (`fact_paths`), and texts that the expression makes itself.
"""

from __future__ import annotations

import enum
import re
import typing
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from assay.stages.policy.fact_kinds import (
    MACRO,
    PATH,
    Scope,
    fields_of,
    item_of,
    kind_at,
    prepared,
    receiver,
    scopes_of,
)
from assay.stages.policy.fact_paths import unknown

_LITERAL = r"[rR]?\"(\d+)\""
_BEFORE = re.compile(rf"(?<![\w+]){_LITERAL}\s*(?:==|!=)\s*$")
_AFTER = re.compile(rf"\s*(?:==|!=)\s*{_LITERAL}(?!\s*[+.\[])")
_AMONG = re.compile(r"\s*\bin\s*\[([^\[\]]*)\](?!\s*[+.\[])")
_KEY = re.compile(r"([^\s(,&|?:!]+)\s*\bin\s*$")


def value_faults(text: str) -> Iterator[str]:
    """What is wrong with what the facts in an expression that compiles are compared with."""
    text, strings = prepared(text)
    scopes = scopes_of(text)
    for found in PATH.finditer(text):
        kind = kind_at(found, scopes)
        if (known := values_of(kind)) is not None:
            yield from _never(found[0], known, _compared(text, found, strings))
        yield from _keys(text, found, kind, strings)
    yield from _over_keys(text, scopes)


def values_of(kind: Any) -> tuple[str, ...] | None:
    """The texts that a fact can be; None where it can be any."""
    for candidate in (kind, *typing.get_args(kind)):
        if typing.get_origin(candidate) is typing.Literal:
            return tuple(str(each) for each in typing.get_args(candidate))
        if isinstance(candidate, type) and issubclass(candidate, enum.StrEnum):
            return tuple(each.value for each in candidate)
    return None


def _compared(text: str, path: re.Match[str], strings: list[str]) -> Iterator[str]:
    """The texts that the fact at `path` is compared with, alone, and those that are written out."""
    if text[: path.start()].rstrip().endswith("+") or text[path.end() :].lstrip().startswith("+"):
        return
    numbers = [found[1] for found in (_BEFORE.search(text[: path.start()]), _AFTER.match(text, path.end())) if found]
    if among := _AMONG.match(text, path.end()):
        numbers += [found[1] for each in among[1].split(",") if (found := re.fullmatch(_LITERAL, each.strip()))]
    for number in numbers:
        if (literal := _text(strings[int(number)])) is not None:
            yield literal


def _never(path: str, known: tuple[str, ...], compared: Iterator[str]) -> Iterator[str]:
    for literal in compared:
        if literal not in known:
            close = get_close_matches(literal, known, n=1)
            meant = f"did you mean '{close[0]}'?" if close else f"expected one of: {', '.join(known)}"
            yield f"{path} is never '{literal}'; {meant}"


def _keys(text: str, path: re.Match[str], kind: Any, strings: list[str]) -> Iterator[str]:
    """`KEY in PATH` over parts with names: the key has to be written out, and to exist. Over a list: to be possible."""
    asked, fields, items = _KEY.search(text[: path.start()]), fields_of(kind), values_of(item_of(kind))
    if asked is None or (fields is None and items is None) or text[path.end() : path.end() + 1] == ".":
        return
    number = re.fullmatch(_LITERAL, asked[1])
    literal = _text(strings[int(number[1])]) if number else None
    if fields is not None and literal is None:
        asks = f"what is looked for in {path[0]} cannot be looked up"
        yield f"{asks}, and may be false for ever: write has({path[0]}.NAME)"
    elif fields is not None and literal is not None and literal not in fields:
        yield unknown(literal, path[0], fields)
    elif items is not None and literal is not None:
        yield from _never(f"an item of {path[0]}", items, iter((literal,)))


def _over_keys(text: str, scopes: list[Scope]) -> Iterator[str]:
    """Macros over what is no list: their variable would be the names of the facts."""
    for macro in MACRO.finditer(text):
        if fields_of(receiver(text, macro.start(), scopes)) is not None:
            yield f"`{macro[0][1:]} ...)` goes over the names of facts, and no list: ask for each with has()"


def _text(literal: str) -> str | None:
    """What a literal says; None where it has escapes."""
    return None if "\\" in literal else literal[1:-1]
