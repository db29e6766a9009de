# SPDX-License-Identifier: Apache-2.0
"""What happens while a pipeline runs: events that a terminal, a CI log and the summary are made of. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from assay.errors import ExitStatus


class StepOutcome(StrEnum):
    """What became of a step."""

    PASS = "PASS"  # noqa: S105 (no password)
    FAIL_EXPECTED = "FAIL, as expected"
    DONE_BEFORE = "done before"
    UNEXPECTED = "stopped the pipeline"


@dataclass(frozen=True)
class RunStarted:
    """A run of a pipeline starts or goes on (`done_before`: names of steps that are done)."""

    pipeline: str
    run: str
    results: Path
    steps: int
    done_before: tuple[str, ...]


@dataclass(frozen=True)
class StepStarted:
    """Step `index` (from 1) starts; `command` is what a person types for it."""

    index: int
    name: str
    title: str
    command: str


@dataclass(frozen=True)
class StepLine:
    """A line of progress from the verb of step `index`."""

    index: int
    text: str


@dataclass(frozen=True)
class StepEnded:
    """Step `index` ended, or was done before. `duration_s` in seconds."""

    index: int
    name: str
    title: str
    command: str
    outcome: StepOutcome
    status: ExitStatus
    duration_s: float
    message: str = ""
    remedy: str = ""
    captured: dict[str, str] = field(default_factory=dict)
    output: str = ""
    """What the verb printed, for a step that is to show it."""


Event = RunStarted | StepStarted | StepLine | StepEnded


@dataclass(frozen=True)
class RunResult:
    """How a run of a pipeline ended."""

    pipeline: str
    run: str
    results: Path
    status: ExitStatus
    duration_s: float
    steps: tuple[StepEnded, ...]
    variables: dict[str, str]

    @property
    def stopped_by(self) -> StepEnded | None:
        """The step that stopped the pipeline."""
        return next((step for step in self.steps if step.outcome is StepOutcome.UNEXPECTED), None)
