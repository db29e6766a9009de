# SPDX-License-Identifier: Apache-2.0
"""What a test process writes down while it runs: one JSON line for each event, in the order of their happening.

Guards: a line that is whole is strict; a last line that was torn by a crash is dropped and nothing else.
Leaves to others: files and fsync (`pipeline.test_events`), and what the events mean together (`verdict`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from assay.errors import InfrastructureError
from assay.model.attempts import RetryRule
from assay.model.foreign_unit import ForeignUnitSeen
from assay.model.value import Value
from assay.model.verdict import CaseResult, Measurement, SkippedCase, UnitSeen

EVENT_BYTES_MAX = 1 << 20
"""One line. A suite of 10,000 tests with names of 80 characters has a `collected` event of 0.8 MB."""


class SessionStarted(Value):
    """A test process began: `main`, or an xdist worker."""

    event: Literal["session"] = "session"
    worker: str
    suite: str
    at: str


class Collected(Value):
    """The tests that this process knows of, and which may be tried again; every worker knows them all."""

    event: Literal["collected"] = "collected"
    cases: tuple[str, ...]
    retries: dict[str, RetryRule] = Field(default={})


class CollectFailed(Value):
    """A file of the suite could not be loaded."""

    event: Literal["collect-failed"] = "collect-failed"
    name: str
    message: str


class UnitOpened(Value):
    """A unit was found, and proved to run the image under test."""

    event: Literal["unit"] = "unit"
    unit: UnitSeen | ForeignUnitSeen


class CaseStarted(Value):
    """A test began."""

    event: Literal["case-started"] = "case-started"
    name: str
    attempt: int
    at: str


class Measured(Value):
    """A value was taken."""

    event: Literal["measured"] = "measured"
    case: str
    measurement: Measurement


class CaseEnded(Value):
    """A test ended, its teardown too."""

    event: Literal["case"] = "case"
    case: CaseResult


class CaseSkipped(Value):
    """A test was not run."""

    event: Literal["skipped"] = "skipped"
    case: SkippedCase


class Aborted(Value):
    """Somebody stopped the run (SIGINT, SIGTERM, `pytest.exit`)."""

    event: Literal["aborted"] = "aborted"
    reason: str
    at: str


class SessionFinished(Value):
    """The process ended in order, with pytest's exit status."""

    event: Literal["finished"] = "finished"
    worker: str
    exit_status: int
    at: str


Event = Annotated[
    SessionStarted
    | Collected
    | CollectFailed
    | UnitOpened
    | CaseStarted
    | Measured
    | CaseEnded
    | CaseSkipped
    | Aborted
    | SessionFinished,
    Field(discriminator="event"),
]
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def encode_event(event: Event) -> bytes:
    """One line, with its end."""
    return _EVENT.dump_json(event) + b"\n"


def decode_events(data: bytes, name: str) -> list[Event]:
    """The events in the file `name`. Raises InfrastructureError for a line that is whole and is not an event."""
    *lines, torn = data.split(b"\n")
    if len(torn) > EVENT_BYTES_MAX:
        raise InfrastructureError(f"{name}: a line longer than {EVENT_BYTES_MAX} bytes", remedy="run the suite again")
    return [_decode(line, f"{name}:{number}") for number, line in enumerate(lines, start=1)]


def _decode(line: bytes, where: str) -> Event:
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        message = f"{where}: not an event of a test run: {error.errors()[0]['msg']}"
        raise InfrastructureError(
            message, remedy="run the suite again; somebody else wrote into its results"
        ) from error
