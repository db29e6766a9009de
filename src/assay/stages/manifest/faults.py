# SPDX-License-Identifier: Apache-2.0
"""What is wrong in a manifest, in words: which key, what was expected, and what was probably meant.

Guards: no text of pydantic's own reaches a person where we can say it better.
Leaves to others: the line (`formats.toml_document`).
"""

from __future__ import annotations

import typing
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from assay.model.bench import CHIP_ID_PATTERN
from assay.model.identifiers import NAME_FORM, NAME_PATTERN, SHA256_PATTERN
from assay.model.value import FieldFault, Value

Path = tuple[str | int, ...]

VALUE_SHOWN_MAX = 60
"""Characters of a wrong value that are shown."""

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "tuple_type": "a list in [ ]",
    "dict_type": "a table",
    "model_type": "a table",
}

_FORMS = {
    NAME_PATTERN: f"a name of {NAME_FORM}",
    CHIP_ID_PATTERN: "pairs of lower-case hex digits (0-9, a-f), without 0x",
    SHA256_PATTERN: "64 lower-case hex digits",
}
"""Patterns that people meet, in words: nobody at a bench has to read a regular expression."""


def faults_of(details: list[ErrorDetails], model: type[Value]) -> list[tuple[Path, str]]:
    """Of each fault the path of the key to look at, and the sentence; what only follows from another is left out."""
    meant = {(*detail["loc"][:-1], _close(detail, model)) for detail in details if detail["type"] == "extra_forbidden"}
    return [_describe(detail, model) for detail in details if not _follows(detail, details, meant)]


def _follows(detail: ErrorDetails, details: list[ErrorDetails], meant: set[tuple[str | int | None, ...]]) -> bool:
    path = detail["loc"]
    if detail["type"] == "missing":
        return path in meant
    # A list whose elements are wrong is also "too short": pydantic counts the right ones.
    inner = any(len(other["loc"]) > len(path) and other["loc"][: len(path)] == path for other in details)
    return detail["type"] == "too_short" and inner


def _describe(detail: ErrorDetails, model: type[Value]) -> tuple[Path, str]:
    path, error = tuple(detail["loc"]), detail.get("ctx", {}).get("error")
    if isinstance(error, FieldFault):
        path = (*path, *error.path)
        return path, f"{_dotted(path)}: {error}"
    if detail["type"] == "extra_forbidden":
        return path, f"unknown key '{path[-1]}'{_meant(detail, model)}"
    if detail["type"] == "missing":
        return path, f"missing key '{path[-1]}'{_in_unit(path, model)}{_of_table(path[:-1])}"
    return path, f"{_dotted(path)}: {_expected(detail, path, model)}"


def _expected(detail: ErrorDetails, path: Path, model: type[Value]) -> str:
    found = _shown(detail["input"])
    if kind := _EXPECTED.get(detail["type"]):
        return f"expected {kind}{_in_unit(path, model)}, not {found}"
    if detail["type"] == "string_pattern_mismatch":
        pattern = str(detail["ctx"]["pattern"])
        form = _FORMS.get(pattern)
        return f"expected {form}, not {found}" if form else f"{found} does not have the form {pattern}"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    if detail["type"] == "value_error":
        return message
    return f"{message}{_in_unit(path, model)}, not {found}"


def _dotted(path: Path) -> str:
    text = "".join(f"[{key + 1}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".") or "the file"


def _of_table(path: Path) -> str:
    return f" in {_dotted(path)}" if path else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= VALUE_SHOWN_MAX else text[:VALUE_SHOWN_MAX] + "..."


def _meant(detail: ErrorDetails, model: type[Value]) -> str:
    if close := _close(detail, model):
        return f"; did you mean '{close}'?"
    known = sorted(_fields(_model_at(model, detail["loc"][:-1])))
    return f"; expected one of: {', '.join(known)}" if known else ""


def _close(detail: ErrorDetails, model: type[Value]) -> str | None:
    """The key that an unknown one was probably meant to be."""
    key, known = str(detail["loc"][-1]), sorted(_fields(_model_at(model, detail["loc"][:-1])))
    # `timeout` is far from `health_timeout_s` for difflib, and yet what people write when they forget the unit.
    longer = [name for name in known if name.startswith(key + "_") or key.startswith(name + "_")]
    return next(iter(longer or get_close_matches(key.lower(), known, n=1)), None)


def _in_unit(path: Path, model: type[Value]) -> str:
    field = _fields(_model_at(model, path[:-1])).get(str(path[-1])) if path else None
    return f" ({field})" if field else ""


def _fields(model: type[BaseModel] | None) -> dict[str, str]:
    """Key to description (unit) of each field."""
    if model is None:
        return {}
    return {field.alias or name: field.description or "" for name, field in model.model_fields.items()}


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model of the table at `path`, following the annotations; None where there is no model."""
    here: Any = model
    for key in path:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = next((f for name, f in here.model_fields.items() if (f.alias or name) == key), None)
            here = field.annotation if field else None
        else:
            here = _element(here)
    return _innermost(here)


def _element(annotation: Any) -> Any:
    """What a `tuple[X, ...]`, a `dict[str, X]` or an optional one of them holds."""
    arguments = [item for item in typing.get_args(annotation) if item not in (Ellipsis, type(None))]
    return arguments[-1] if arguments else None


def _innermost(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
