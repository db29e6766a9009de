# SPDX-License-Identifier: Apache-2.0
"""The plan: ordered steps from what a unit runs to what it should run. A value with a digest."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from assay.model.contract import Dependency
from assay.model.identifiers import FileSha256, ImageHash, Name, SerialNumber, VersionText
from assay.model.value import Value


class UnitState(Value):
    """What a unit says, under its signature, that it is and runs, before a plan is made.

    `modules` are the other modules on the unit that assay knows the version of (its bootloader). `radio_hash` is not
    under the signature: the unit computes it over the radio's slot when it is asked (None: not asked, or no image).
    """

    serial: SerialNumber
    board: Name
    revision: int
    name: Name
    version: VersionText
    image_hash: ImageHash
    state: Literal["confirmed", "testing"]
    security_counter: int = Field(default=0, ge=0, le=0xFFFFFFFF)
    modules: dict[Name, VersionText] = Field(default={})
    radio_hash: ImageHash | None = None


class UpdateRules(Value):
    """What the module's manifest and the person say about this update; `health_timeout_s` in seconds."""

    policy: Literal["test-then-confirm", "none"] = "test-then-confirm"
    health_timeout_s: float = Field(default=10.0, gt=0, le=3600, strict=False)
    dependencies: tuple[Dependency, ...] = ()
    allow_older_version: bool = False
    full: bool = False
    min_from_version: VersionText | None = None


class PlanPatch(Value):
    """The patch that is tried first: applied to `base` (`name@version`), `size` bytes as a file."""

    base: str
    file_sha256: FileSha256
    image_hash: ImageHash
    size: int = Field(ge=0)


class PlanRadio(Value):
    """The second image of the board, which goes in together with the app or not at all; `size` bytes as a file."""

    release: str
    file_sha256: FileSha256
    image_hash: ImageHash
    size: int = Field(ge=0)


class PlanStep(Value):
    """One step; each can be repeated, and says what must hold after it."""

    action: Literal[
        "upload-patch", "apply-patch", "upload-radio", "upload", "mark-for-test", "reset", "health-check", "confirm"
    ]
    image_hash: ImageHash
    timeout_s: float
    after: str


class Plan(Value):
    """Steps from `unit` to the release. The same inputs give the same bytes (RFC 8785), and so the same digest."""

    schema_: Literal["assay.plan/1"] = Field(default="assay.plan/1", alias="schema")
    unit: UnitState
    release: str
    file_sha256: FileSha256
    image_hash: ImageHash
    size: int = Field(default=0, ge=0, description="bytes of the image file")
    policy: Literal["test-then-confirm", "none"]
    patch: PlanPatch | None = None
    radio: PlanRadio | None = None
    steps: tuple[PlanStep, ...]
