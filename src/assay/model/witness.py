# SPDX-License-Identifier: Apache-2.0
"""Witnesses of a log: whose cosignatures count and how many (a policy file), and what a witness has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from assay.model.value import Value

OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, CONFLICT, UNPROCESSABLE = 200, 400, 403, 404, 409, 422
"""HTTP status codes, as c2sp.org/tlog-witness uses them."""

TEXT_TYPE, SIZE_TYPE = "text/plain; charset=utf-8", "text/x.tlog.size"
"""Media types of answers; the second one says which size was cosigned last."""


class Witness(Value):
    """A witness by its verifier key (C2SP `vkey` of the type 0x04). `url`: its submission prefix, where it is asked."""

    vkey: str
    url: str | None = Field(default=None, pattern="^https?://")


class WitnessPolicy(Value):
    """Whose cosignatures count: `threshold` of `witnesses`, by distinct keys."""

    schema_: Literal["assay.witnesses/1"] = Field(alias="schema")
    threshold: int = Field(ge=1, le=100)
    witnesses: tuple[Witness, ...] = Field(min_length=1, max_length=100)


@dataclass(frozen=True)
class SeenHead:
    """The last checkpoint of a log that a witness cosigned, at `time_s` (seconds since 1970); `note` holds both."""

    origin: str
    size: int
    root: bytes
    time_s: int
    note: bytes


@dataclass(frozen=True)
class WitnessReply:
    """What a witness answers: HTTP status, body, and its media type."""

    status: int
    body: bytes
    kind: str = TEXT_TYPE
