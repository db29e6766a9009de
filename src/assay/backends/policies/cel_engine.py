# SPDX-License-Identifier: Apache-2.0
"""CEL by `cel-expr-python` (the CEL project's own engine), loaded at the first expression: the extra `assay[policy]`.

Guards: a value that is not a bool, and whatever the engine throws, is an `ExpressionFault`. Leaves to others: what
follows from that (`stages.policy.decide`: it denies).
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from assay.errors import ToolMissing
from assay.interfaces.policy_engine import VARIABLES, ExpressionFault

_PACKAGE = "cel-expr-python"


class CelEngine:
    """Implements `interfaces.policy_engine.PolicyEngine`."""

    def __init__(self) -> None:
        self._compiled: dict[str, CelExpression] = {}

    @cached_property
    def name(self) -> str:
        """The engine and its version."""
        self._cel  # noqa: B018 (raises when it is not installed)
        return f"{_PACKAGE} {importlib.metadata.version(_PACKAGE)}"

    def compile(self, text: str) -> CelExpression:
        """The expression in `text`, type-checked (one that cannot give a bool does not compile), once for each."""
        if text not in self._compiled:
            self._compiled[text] = self._compile(text)
        return self._compiled[text]

    def _compile(self, text: str) -> CelExpression:
        cel = self._cel
        try:
            compiled = self._environment.compile(text)
            kind = compiled.return_type()
        except Exception as error:
            raise ExpressionFault(_first_line(error), remedy="correct the expression") from error
        if kind not in (cel.Type.BOOL, cel.Type.DYN):
            raise ExpressionFault(f"it gives a value of the type {kind.name()}, and no bool", remedy="compare it")
        return CelExpression(compiled)

    @cached_property
    def _cel(self) -> Any:
        try:
            return importlib.import_module("cel_expr_python.cel")
        except ImportError as error:
            raise ToolMissing(
                f"the package {_PACKAGE} is not installed", remedy="pip install 'assay[policy]'"
            ) from error

    @cached_property
    def _environment(self) -> Any:
        return self._cel.NewEnv(variables=dict.fromkeys(VARIABLES, self._cel.Type.DYN))


class CelExpression:
    """Implements `interfaces.policy_engine.CompiledExpression`."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Its value over `facts`. An error is a value to this engine: of another type than bool."""
        try:
            value = self._compiled.eval(data=dict(facts)).value()
        except Exception as error:
            raise ExpressionFault(
                _first_line(error), remedy="correct the expression, or guard it with `when`"
            ) from error
        if not isinstance(value, bool):
            said = str(value).splitlines()[0] if isinstance(value, str) and value else repr(value)
            raise ExpressionFault(f"it gave no bool: {said[:200]}", remedy="correct it, or guard it with `when`")
        return value


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
