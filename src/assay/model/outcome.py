# SPDX-License-Identifier: Apache-2.0
"""Outcomes of runs and measurements, in the words that the field uses, and the exit status of each."""

from __future__ import annotations

from enum import StrEnum

from assay.errors import ExitStatus


class Outcome(StrEnum):
    """What a run says about a unit. Only PASS and FAIL say something about it."""

    PASS = "PASS"
    FAIL = "FAIL"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    ABORTED = "ABORTED"


class MeasurementOutcome(StrEnum):
    """What a measurement says (OpenHTF's words)."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNSET = "UNSET"
    SKIPPED = "SKIPPED"


def exit_status(outcome: Outcome, *, device_answers: bool = False) -> ExitStatus:
    """The exit status of `outcome`: TIMEOUT is FAIL when the device still answers, else ERROR; ABORTED is ERROR."""
    if outcome is Outcome.TIMEOUT:
        return ExitStatus.FAIL if device_answers else ExitStatus.ERROR
    return {
        Outcome.PASS: ExitStatus.PASS,
        Outcome.FAIL: ExitStatus.FAIL,
        Outcome.ERROR: ExitStatus.ERROR,
        Outcome.ABORTED: ExitStatus.ERROR,
    }[outcome]
