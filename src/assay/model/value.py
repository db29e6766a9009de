# SPDX-License-Identifier: Apache-2.0
"""The base of all values that flow between stages: frozen, strict, and closed to unknown keys; and a fault in one.

A model's validator is built at its first use, since a verb uses a few of some two hundred. pydantic builds it under a
lock from 2.14 on; before, a thread could meet the parent's validator.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen value. Unknown keys are refused, nothing is coerced (`"1"` is not `1`)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
        defer_build=True,
    )


class ForeignValue(BaseModel):
    """A frozen value in somebody else's format: fields that we do not know are kept when it is written again."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, defer_build=True)


class FieldFault(ValueError):
    """A fault that several keys share; `path` leads from the value that is validated to the key to look at."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path
