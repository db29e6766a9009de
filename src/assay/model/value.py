# SPDX-License-Identifier: Apache-2.0
"""The base of all values that flow between stages: frozen, strict, and closed to unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen value. Unknown keys are refused, nothing is coerced (`"1"` is not `1`)."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, ser_json_bytes="base64", val_json_bytes="base64"
    )


class ForeignValue(BaseModel):
    """A frozen value in somebody else's format: fields that we do not know are kept when it is written again."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
