# SPDX-License-Identifier: Apache-2.0
"""JSON that can be read in one way only, for documents that somebody signed.

Guards: duplicate keys, NaN and Infinity, numbers that a double cannot hold, lone surrogates, a byte order mark, too
deep and too large documents are refused, so that two readers never see two documents (RFC 8259 section 4, I-JSON RFC
7493).
Leaves to others: what the document means. No file and no network here.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from assay.errors import NotVerified
from assay.formats import canonical_json

DOCUMENT_BYTES_MAX = 16 * 1024 * 1024
"""Bytes; the largest statement we know is an SBOM of a whole Linux module, below 10 MiB."""

DEPTH_MAX = 64
"""Levels; in-toto statements have about ten, and Python's own limit would be an uncaught RecursionError."""

INTEGER_MAX = 2**53 - 1
"""Largest integer that every JSON reader keeps exact (RFC 7493 section 2.2)."""

DIGITS_MAX = 22
"""Characters of an integer: RFC 8785 writes doubles below 1e21 as integers, of 21 digits and a sign."""

_REMEDY = "get the document again from who made it"


def loads(data: bytes, what: str) -> Any:
    """The JSON value in `data`; `NotVerified` names `what` and says why it is not strict JSON."""
    if len(data) > DOCUMENT_BYTES_MAX:
        _refuse(what, f"it has {len(data)} bytes, the limit is {DOCUMENT_BYTES_MAX}")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_exact,
        )
        _check_strings_and_depth(value)
    except RecursionError:
        _refuse(what, f"it is nested deeper than {DEPTH_MAX} levels")
    except (ValueError, UnicodeError) as error:
        raise NotVerified(f"{what} is not strict JSON: {error}", remedy=_REMEDY) from error
    return value


def loads_object(data: bytes, what: str) -> dict[str, Any]:
    """As `loads`, and the value is a JSON object."""
    value = loads(data, what)
    if not isinstance(value, dict):
        _refuse(what, "a JSON object was expected")
    return value


def _refuse(what: str, why: str) -> NoReturn:
    raise NotVerified(f"{what} is not strict JSON: {why}", remedy=_REMEDY)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise ValueError(f"the key {key!r} is there twice")
        value[key] = item
    return value


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:32]} is too large")
    return number


def _exact(text: str) -> int | float:
    """An integer that every reader keeps exact; beyond that a double in the spelling that RFC 8785 gives it."""
    # Long digit strings are refused by their length: turning them into an int takes quadratic time.
    if len(text) > DIGITS_MAX:
        raise ValueError(f"the integer {text[:32]} is beyond 2^53 - 1")
    number = int(text)
    if abs(number) <= INTEGER_MAX:
        return number
    double = float(number)
    if canonical_json.encode(double).decode("ascii") != text:
        raise ValueError(f"the integer {text} is beyond 2^53 - 1, and no double's own spelling")
    return double


def _check_strings_and_depth(root: Any) -> None:
    level = [root]
    for _ in range(DEPTH_MAX + 1):
        if not level:
            return
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                value.encode("utf-8")
            elif isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        level = below
    raise ValueError(f"it is nested deeper than {DEPTH_MAX} levels")
