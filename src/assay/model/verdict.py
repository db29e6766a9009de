# SPDX-License-Identifier: Apache-2.0
"""Measurements with limits, test cases, and the verdict over a suite."""

from __future__ import annotations

from pydantic import Field

from assay.model.identifiers import FileSha256, ImageHash, SerialNumber
from assay.model.outcome import MeasurementOutcome, Outcome
from assay.model.value import Value


class Measurement(Value):
    """One measured value; limits were declared before the value was taken. `unit` is a UCUM code (`ms`, `V`)."""

    name: str
    unit: str
    low: float | None = None
    high: float | None = None
    value: float | str | bool | None = None
    outcome: MeasurementOutcome


class CaseResult(Value):
    """One test: outcome, duration in seconds, attempt counted from 1, measurements, and why it did not pass."""

    name: str
    outcome: Outcome
    duration_s: float
    attempt: int = 1
    layer: str | None = None
    message: str = ""
    measurements: tuple[Measurement, ...] = ()


class SuiteRun(Value):
    """What the test process wrote down; signed by another process, which binds the digests itself."""

    suite: str
    suite_sha256: FileSha256
    place: str
    board: str
    emulated: bool
    serial: SerialNumber | None
    image_hash: ImageHash | None
    image_hash_how: str | None
    started: str
    finished: str
    cases: tuple[CaseResult, ...] = Field(default=())
    outcome: Outcome
