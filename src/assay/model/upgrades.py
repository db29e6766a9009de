# SPDX-License-Identifier: Apache-2.0
"""From each version of a format to the next: what an older file has to become.

Guards: a file of an older version is read as what it meant, and may not have keys that only a later version has.
The same change is made to the value that is read and to the file that `assay migrate` writes, so the two cannot differ.
Leaves to others: which versions there are (the models), reading (`stages.manifest.read`), and files
(`pipeline.migration`). What may change at all: docs/reference/compatibility.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.model.value import Value

Document = MutableMapping[str, Any]
KeyPath = tuple[str | int, ...]

EACH = "*"
"""In a path: every element of a list."""


@dataclass(frozen=True)
class Upgrade:
    """One step: the version that it gives, keys that only that version has, and what else becomes of a document."""

    gives: str
    why: str
    added: tuple[tuple[str, ...], ...] = ()
    change: Callable[[Document], None] | None = None


UPGRADES: dict[str, Upgrade] = {
    "assay.board/1": Upgrade(
        "assay.board/2", "a board lists its peripherals, which modules may need", added=(("peripherals",),)
    ),
    "assay.module/1": Upgrade(
        "assay.module/2",
        "a module is a contract, down to what it takes of its board, and may be built by a build system",
        added=(
            ("capabilities",),
            ("components",),
            ("resources",),
            ("deprecations",),
            ("boards", EACH, "max_revision"),
            ("dependencies", EACH, "capabilities"),
            ("update", "min_from_version"),
            *(
                ("build", key)
                for key in (
                    "system",
                    "directory",
                    "arguments",
                    "collect",
                    "after",
                    "in_copy",
                    "tools",
                    "trees",
                    "image",
                )
            ),
        ),
    ),
}
"""By the version that a step begins with."""


def steps_to(found: str, wanted: str) -> tuple[Upgrade, ...] | None:
    """The steps from `found` to `wanted`; None when no way leads there."""
    steps: list[Upgrade] = []
    while found != wanted:
        step = UPGRADES.get(found)
        if step is None:
            return None
        steps.append(step)
        found = step.gives
    return tuple(steps)


def upgrade(document: Document, steps: Sequence[Upgrade]) -> None:
    """Take `document` along `steps`, in place."""
    for step in steps:
        if step.change is not None:
            step.change(document)
        document["schema"] = step.gives


def too_new(document: Document, steps: Sequence[Upgrade]) -> tuple[KeyPath, str] | None:
    """The first key of `document` that its own version does not have, and the version that has it."""
    for step in steps:
        for pattern in step.added:
            if (path := next(_matches(document, pattern), None)) is not None:
                return path, step.gives
    return None


def _matches(value: Any, pattern: tuple[str, ...]) -> Iterator[KeyPath]:
    if not pattern:
        yield ()
        return
    key, rest = pattern[0], pattern[1:]
    if key == EACH:
        for index, each in enumerate(value if isinstance(value, list) else ()):
            yield from ((index, *path) for path in _matches(each, rest))
    elif isinstance(value, dict) and key in value:
        yield from ((key, *path) for path in _matches(value[key], rest))


def older_versions(schema: str) -> tuple[str, ...]:
    """Every version from which a way leads to `schema`, the newest first."""
    found: list[str] = []
    while (before := next((old for old, step in UPGRADES.items() if step.gives == schema), None)) is not None:
        found.append(before)
        schema = before
    return tuple(found)


def schema_of(model: type[Value]) -> str:
    """The newest `schema` of a model, which its writer gives (`assay.module/2`)."""
    schema: str = typing.get_args(model.model_fields["schema_"].annotation)[-1]
    return schema
