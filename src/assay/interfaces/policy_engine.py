# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of the engine behind policy packs: expressions in CEL that give a bool over facts.

Guards: an engine never guesses. What is not a bool, and whatever goes wrong, is an `ExpressionFault`, and the caller
denies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from assay.errors import Refused

VARIABLES = ("board", "point", "release", "request", "trust", "unit")
"""The names that an expression may use; each is always bound, an absent one to an empty map."""


class ExpressionFault(Refused):
    """An expression does not compile, or gives no bool over these facts. The message is one line."""


class CompiledExpression(Protocol):
    """An expression that was checked."""

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Its value over `facts` (plain JSON by the names in `VARIABLES`). Raises `ExpressionFault`."""
        ...


class PolicyEngine(Protocol):
    """Compiles expressions."""

    @property
    def name(self) -> str:
        """The engine and its version, as decisions name it. Raises `ToolMissing`."""
        ...

    def compile(self, text: str) -> CompiledExpression:
        """The expression in `text`. Raises `ExpressionFault`, `ToolMissing`."""
        ...
