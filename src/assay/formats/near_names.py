# SPDX-License-Identifier: Apache-2.0
"""The name that somebody probably meant, for messages. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN_MAX = 2
"""Names that are offered; more is a list, not a suggestion."""


def near(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Names of `known` that look like `name`, the nearest first."""
    return tuple(difflib.get_close_matches(name, list(known), SHOWN_MAX))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean a or b? ` with a blank at its end, so that more can follow; empty when nothing is near."""
    found = near(name, known)
    return f"did you mean {' or '.join(found)}? " if found else ""
