# SPDX-License-Identifier: Apache-2.0
"""What differs between the parts of two bills of materials. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from assay.formats.component_query import purl_without_version
from assay.model.parts import Part


@dataclass(frozen=True)
class BillDifference:
    """Parts that came, that went, and that have other versions (name, old versions, new versions)."""

    added: tuple[Part, ...]
    removed: tuple[Part, ...]
    changed: tuple[tuple[str, str, str], ...]
    same: int


def difference(old: Iterable[Part], new: Iterable[Part]) -> BillDifference:
    """What became of `old`. A part is the same thing by kind, name and purl without its version."""
    before, after = _by_thing(old), _by_thing(new)
    both = sorted(before.keys() & after.keys())
    changed = [
        (thing[1], _versions(before[thing]), _versions(after[thing]))
        for thing in both
        if _versions(before[thing]) != _versions(after[thing])
    ]
    return BillDifference(
        added=tuple(part for thing in sorted(after.keys() - before.keys()) for part in after[thing]),
        removed=tuple(part for thing in sorted(before.keys() - after.keys()) for part in before[thing]),
        changed=tuple(changed),
        same=len(both) - len(changed),
    )


def _by_thing(parts: Iterable[Part]) -> dict[tuple[str, str, str], list[Part]]:
    found: dict[tuple[str, str, str], list[Part]] = {}
    for part in parts:
        purl = purl_without_version(part.purl) if part.purl else ""
        found.setdefault((part.kind, part.name, purl), []).append(part)
    return found


def _versions(parts: list[Part]) -> str:
    return ", ".join(sorted({part.version or "no version" for part in parts}))
