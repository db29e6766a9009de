# SPDX-License-Identifier: Apache-2.0
"""What the wire of a twin is like, and what goes wrong on it (`assay.wire/1`): a bad cable as a file.

Guards: what happens depends on the seed and on which byte it is, never on the time, so that the same bytes meet the
same faults again.
Leaves to others: doing it (`drivers.twin`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from assay.model.value import Value

SHARE_MAX = 0.5
"""Of all bytes; a line that is worse is none."""
MS_MAX = 60_000.0

FaultKind = Literal["damaged", "lost", "repeated", "stall", "disconnect"]


class LineFaults(Value):
    """What happens to the bytes of one direction: each number is a share of bytes, drawn by the seed."""

    damaged: float = Field(0.0, ge=0, le=SHARE_MAX, description="share of bytes that become another one")
    lost: float = Field(0.0, ge=0, le=SHARE_MAX, description="share of bytes that do not arrive")
    repeated: float = Field(0.0, ge=0, le=SHARE_MAX, description="share of bytes that arrive twice")
    stall: float = Field(0.0, ge=0, le=SHARE_MAX, description="share of bytes in front of which the line stands still")
    stall_ms: float = Field(200.0, gt=0, le=MS_MAX, description="ms")
    disconnect: float = Field(0.0, ge=0, le=SHARE_MAX, description="share of bytes at which the port goes away")
    disconnect_ms: float = Field(500.0, gt=0, le=MS_MAX, description="ms until it is back")


class FaultAt(Value):
    """One fault at one byte, counted from 0 since this wire was put in."""

    direction: Literal["to_device", "to_host"]
    at: int = Field(ge=0, description="number of the byte in its direction")
    kind: FaultKind


class WireFile(Value):
    """The wire between a twin and its port."""

    schema_: Literal["assay.wire/1"] = Field(alias="schema")
    description: str = ""
    seed: int = Field(1, ge=0, le=2**63 - 1)
    baud: int = Field(0, ge=0, description="bit/s; 0: as fast as the emulator goes")
    latency_ms: float = Field(0.0, ge=0, le=MS_MAX, description="ms, each way")
    to_device: LineFaults = LineFaults()
    to_host: LineFaults = LineFaults()
    faults: tuple[FaultAt, ...] = Field((), alias="fault", max_length=200)
