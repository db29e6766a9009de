# SPDX-License-Identifier: Apache-2.0
"""The plan: ordered steps from what a unit runs to what it should run. A value with a digest."""

from __future__ import annotations

from typing import Literal

from assay.model.identifiers import FileSha256, ImageHash, Name, SerialNumber, VersionText
from assay.model.value import Value


class UnitState(Value):
    """What a unit says that it is and runs, before a plan is made."""

    serial: SerialNumber
    board: Name
    revision: int
    name: Name
    version: VersionText
    image_hash: ImageHash
    state: Literal["confirmed", "testing"]


class PlanStep(Value):
    """One step; each can be repeated, and says what must hold after it."""

    action: Literal["upload", "mark-for-test", "reset", "health-check", "confirm"]
    image_hash: ImageHash
    timeout_s: float
    after: str


class Plan(Value):
    """Steps from `unit` to the release. The same inputs give the same bytes (RFC 8785), and so the same digest."""

    schema_: Literal["assay.plan/1"] = "assay.plan/1"
    unit: UnitState
    release: str
    file_sha256: FileSha256
    image_hash: ImageHash
    policy: Literal["test-then-confirm", "none"]
    steps: tuple[PlanStep, ...]
