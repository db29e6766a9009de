# SPDX-License-Identifier: Apache-2.0
"""What an exception in a test says: the unit is bad, or we could not tell, and then which layer is to blame.

Guards: only a failed check, a refusal of the device and a value outside its limits speak about the unit. Everything
that was not meant as a check is ERROR, so that a broken bench or a broken test is never counted against a unit.
Leaves to others: pytest's own exceptions (the plugin turns them into words that are known here).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from assay.errors import (
    AssayError,
    DeviceTimeout,
    InfrastructureError,
    Layer,
    UnitFailed,
    WrongBoard,
)
from assay.model.outcome import Outcome

Phase = Literal["setup", "call", "teardown"]
MESSAGE_LENGTH_MAX = 2000
"""Characters of a message in a record: a whole console log does not belong there, its end is in the reports."""


@dataclass(frozen=True)
class Fault:
    """Why a test did not pass."""

    outcome: Outcome
    layer: Layer | None
    message: str


def judge_exception(error: BaseException, phase: Phase) -> Fault:
    """What `error`, raised in `phase` of a test, says."""
    message = _message(error)
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return Fault(Outcome.ABORTED, None, message or type(error).__name__)
    if isinstance(error, DeviceTimeout) and phase == "call":
        return Fault(Outcome.TIMEOUT, _layer_of(error), message)
    if isinstance(error, AssertionError | UnitFailed) and phase == "call":
        return Fault(Outcome.FAIL, None, message)
    return Fault(Outcome.ERROR, _layer_of(error), message)


def _layer_of(error: BaseException) -> Layer:
    if isinstance(error, InfrastructureError):
        return error.layer
    if isinstance(error, WrongBoard):
        return "port"
    return "host" if isinstance(error, AssayError | OSError) else "suite"


def _message(error: BaseException) -> str:
    text = str(error)
    if not isinstance(error, AssayError | AssertionError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text[:MESSAGE_LENGTH_MAX]
