# SPDX-License-Identifier: Apache-2.0
"""TOML text to a manifest's model; every fault with its file, line, and what was expected.

Guards: what comes out has the newest schema version, no unknown key, no coerced value; a file of an older version is
read as what it meant (`model.upgrades`). All faults are told at once.
Leaves to others: finding and reading files (`pipeline.manifest_files`), the words (`stages.manifest.faults`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from assay.errors import ManifestFault
from assay.formats.toml_document import TomlDocument
from assay.model.upgrades import Upgrade, schema_of, steps_to, too_new, upgrade
from assay.model.value import Value
from assay.stages.manifest.faults import Path, faults_of

M = TypeVar("M", bound=Value)


def read_manifest(raw: bytes, file: str, model: type[M]) -> M:
    """The manifest in `raw`; `file` is the name that faults show. Raises `ManifestFault`."""
    return read_documents((TomlDocument(raw, file),), model)


def read_documents(documents: Sequence[TomlDocument], model: type[M]) -> M:
    """The manifest that the first of `documents` is, with what it inherits from the next, and so on: tables are
    joined, anything else is replaced. Raises `ManifestFault` that names the file in which the key stands.
    """
    newest = [_newest(document, model) for document in documents]
    data: dict[str, Any] = {}
    for above in reversed(newest):
        data = _joined(data, above)
    try:
        # By way of JSON: in strict mode a tuple is made from a JSON array, and from nothing else that TOML has.
        return model.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise _fault(documents, error, model) from error


def _joined(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {key for key in above.keys() & below.keys() if isinstance(above[key], dict) and isinstance(below[key], dict)}
    return {**below, **above, **{key: _joined(below[key], above[key]) for key in both}}


def _newest(document: TomlDocument, model: type[Value]) -> dict[str, Any]:
    """What `document` says, as the newest version says it. Raises `ManifestFault`."""
    steps = _check_schema(document, model)
    if not steps:
        return document.data
    data = copy.deepcopy(document.data)
    if (found := too_new(data, steps)) is not None:
        path, version = found
        text = f"{path[-1]!r} is a key of {version}, and the file says {data['schema']}"
        raise ManifestFault(document.file, document.line_of(path), text, remedy="run: assay migrate")
    upgrade(data, steps)
    return data


def _check_schema(document: TomlDocument, model: type[Value]) -> tuple[Upgrade, ...]:
    """The steps from the version of `document` to the newest."""
    expected, found = schema_of(model), document.data.get("schema")
    if isinstance(found, str) and (steps := steps_to(found, expected)) is not None:
        return steps
    kind, _, known = expected.rpartition("/")
    if found is None:
        raise ManifestFault(document.file, 1, f'expected schema = "{expected}" at the top', remedy="add it")
    line = document.line_of(["schema"])
    found_kind, _, version = str(found).rpartition("/")
    if found_kind == kind and version.isdecimal() and int(version) > int(known):
        remedy = "use a newer assay for this file"
        raise ManifestFault(document.file, line, f"schema {found!r} is newer than {expected!r}", remedy=remedy)
    raise ManifestFault(document.file, line, f"expected schema {expected!r}, not {found!r}")


def _fault(documents: Sequence[TomlDocument], error: ValidationError, model: type[Value]) -> ManifestFault:
    found = faults_of(error.errors(include_url=False), model)
    placed = sorted((*_place(documents, path), text) for path, text in found)
    order, first_line, first_text = placed[0]
    others = "".join(f"\n{_where(documents[order].file, line)}: {text}" for order, line, text in placed[1:])
    remedy = "correct the file" if len(placed) == 1 else f"correct these {len(placed)} places"
    return ManifestFault(documents[order].file, first_line or None, first_text + others, remedy=remedy)


def _where(file: str, line: int) -> str:
    """A fault of the file as a whole has no line."""
    return f"{file}:{line}" if line else file


def _place(documents: Sequence[TomlDocument], path: Path) -> tuple[int, int]:
    """Which of `documents` holds the key at `path`, and its line there; else where the first one has its table."""
    order = next((order for order, document in enumerate(documents) if document.holds(path)), 0)
    return order, documents[order].line_of(path) or 0
