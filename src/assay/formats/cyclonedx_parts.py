# SPDX-License-Identifier: Apache-2.0
"""Parts and VEX notes out of CycloneDX documents that others may have written.

Guards: a document is read leniently where the standard leaves room, and refused where it would be read wrongly. No
file and no network. Leaves to others: who signed it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from pydantic import ValidationError

from assay.errors import NotVerified
from assay.model.parts import Part, VexNote

DEPTH_MAX = 16
"""Levels of components in components; a document of a product has three."""


def parts_of(document: Mapping[str, Any]) -> tuple[Part, ...]:
    """The product itself and every component in it, however deep. Raises `NotVerified`."""
    if document.get("bomFormat") != "CycloneDX":
        raise NotVerified("this is no CycloneDX document", remedy="make it again")
    product = _table(_table(document, "metadata"), "component")
    return tuple(_walk([product, *_list(document, "components")], 0)) if product else tuple(_walk(
        _list(document, "components"), 0))  # fmt: skip


def vex_of(document: Mapping[str, Any]) -> tuple[VexNote, ...]:
    """What the document says of vulnerabilities, one note for each part that it names. Raises `NotVerified`."""
    notes = []
    for each in _list(document, "vulnerabilities"):
        analysis = _table(each, "analysis")
        for target in _list(each, "affects"):
            try:
                notes.append(_note(each, analysis, str(target.get("ref", ""))))
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                text = f"what the document says of {each.get('id')} cannot be read: {first['msg']}"
                raise NotVerified(text, remedy="make it again") from error
    return tuple(notes)


def _note(each: Mapping[str, Any], analysis: Mapping[str, Any], ref: str) -> VexNote:
    return VexNote(
        vulnerability=str(each.get("id", "")),
        part=unquote(ref.rpartition("#")[2]),
        state=analysis.get("state", "in_triage"),
        justification=analysis.get("justification"),
        responses=tuple(analysis.get("response", ())),
        detail=str(analysis.get("detail", "")),
        updated=str(analysis.get("lastUpdated", "")),
    )


def _walk(components: list[Mapping[str, Any]], depth: int) -> Iterator[Part]:
    if depth > DEPTH_MAX:
        raise NotVerified(f"the document has components in components, more than {DEPTH_MAX} deep", remedy="flatten it")
    for each in components:
        texts = {name: str(each.get(key) or "") for name, key in _KEYS.items()}
        if texts["name"]:
            yield Part(**texts)
        yield from _walk(_list(each, "components"), depth + 1)


_KEYS = {"name": "name", "version": "version", "purl": "purl", "kind": "type", "ref": "bom-ref"}


def _table(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _list(value: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = value.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
