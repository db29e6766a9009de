# SPDX-License-Identifier: Apache-2.0
"""Measurements of one test: limits first, then the value, once.

Guards: a value is never judged by limits that were written after it was seen; what was declared and never taken counts
as not measured, which is a failure; a value that is not a number never passes.
Leaves to others: the test's outcome (`verdict`) and who measures.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pydantic import ValidationError

from assay.errors import UsageFault
from assay.formats.openhtf_units import unit_of_measure
from assay.model.outcome import MeasurementOutcome
from assay.model.verdict import Measurement

Taken = Callable[[Measurement], None]
"""Called at once for each value that was taken."""


class DeclaredMeasurement:
    """A measurement whose limits stand; `take` gives it its value."""

    __slots__ = ("_measurement", "_on_taken")

    def __init__(self, declared: Measurement, on_taken: Taken) -> None:
        self._measurement = declared
        self._on_taken = on_taken

    @property
    def result(self) -> Measurement:
        """The measurement as it stands; a frozen value."""
        return self._measurement

    def take(self, value: float | str | bool) -> Measurement:
        """Judge `value` by the limits. The test goes on, and fails at its end if the value is outside.

        Raises `UsageFault` when a value was taken before, or is of another kind than the limits.
        """
        declared = self._measurement
        if declared.outcome is not MeasurementOutcome.UNSET:
            raise UsageFault(f"measurement {declared.name} was taken already", remedy="declare one for each value")
        outcome = _judge(declared, value)
        self._measurement = declared.model_copy(update={"value": _writable(value), "outcome": outcome})
        self._on_taken(self._measurement)
        return self._measurement


class MeasurementBook:
    """All measurements of one test, in the order of their declaration."""

    def __init__(self, on_taken: Taken = lambda _: None) -> None:
        self._on_taken = on_taken
        self._declared: dict[str, DeclaredMeasurement] = {}

    def declare(
        self,
        name: str,
        *,
        unit: str = "1",
        low: float | None = None,
        high: float | None = None,
        expected: str | bool | None = None,
    ) -> DeclaredMeasurement:
        """Declare a measurement: `unit` is a UCUM code, `low` and `high` are included in what passes.

        Raises `UsageFault` for an unknown unit, limits that nothing can meet, and a name that is there already.
        """
        unit_of_measure(unit)
        if name in self._declared:
            raise UsageFault(f"measurement {name} is declared twice in one test", remedy="give each a name of its own")
        _check_limits(name, low, high, expected)
        declared = DeclaredMeasurement(_unset(name, unit, low, high, expected), self._on_taken)
        self._declared[name] = declared
        return declared

    def results(self, *, skipped: bool = False) -> tuple[Measurement, ...]:
        """All measurements; those of a test that was skipped say so."""
        return tuple(_closed(declared.result, skipped) for declared in self._declared.values())


def failures(measurements: tuple[Measurement, ...]) -> list[str]:
    """One line for each measurement that does not pass."""
    bad = (MeasurementOutcome.FAIL, MeasurementOutcome.UNSET)
    return [describe(measurement) for measurement in measurements if measurement.outcome in bad]


def describe(measurement: Measurement) -> str:
    """`boot_time = 512 ms, outside 10 ... 400 ms`, or what else is to be said."""
    name, unit = measurement.name, "" if measurement.unit == "1" else f" {measurement.unit}"
    if measurement.outcome is MeasurementOutcome.UNSET:
        return f"{name} was declared and never taken"
    word = "within" if measurement.outcome is MeasurementOutcome.PASS else "outside"
    return f"{name} = {_plain(measurement.value)}{unit}, {word} {limits_text(measurement)}{unit}"


def limits_text(measurement: Measurement) -> str:
    """`10 ... 400`, `at most 400`, `at least 10`, `'pass'` or `no limits`."""
    low, high = measurement.low, measurement.high
    if measurement.expected is not None:
        return repr(measurement.expected)
    if low is not None and high is not None:
        return f"{low:g} ... {high:g}"
    if high is not None:
        return f"at most {high:g}"
    return f"at least {low:g}" if low is not None else "no limits"


def _plain(value: float | str | bool | None) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _unset(name: str, unit: str, low: float | None, high: float | None, expected: str | bool | None) -> Measurement:
    limits = {"low": _number(low), "high": _number(high), "expected": expected}
    try:
        return Measurement.model_validate({"name": name, "unit": unit, **limits, "outcome": MeasurementOutcome.UNSET})
    except ValidationError as error:
        remedy = "a name has lower-case letters, digits, '_', '.', '-'; limits are numbers, `expected` a text or a bool"
        raise UsageFault(f"measurement {name!r}: {error.errors()[0]['msg']}", remedy=remedy) from error


def _number(limit: float | None) -> float | None:
    return float(limit) if isinstance(limit, int) and not isinstance(limit, bool) else limit


def _check_limits(name: str, low: float | None, high: float | None, expected: object) -> None:
    numbers = [limit for limit in (low, high) if limit is not None]
    if any(not isinstance(limit, int | float) or math.isnan(limit) for limit in numbers):
        raise UsageFault(f"measurement {name}: a limit is not a number", remedy="leave a limit out when there is none")
    if low is not None and high is not None and low > high:
        raise UsageFault(f"measurement {name}: low {low:g} is above high {high:g}", remedy="correct the limits")
    if expected is not None and numbers:
        raise UsageFault(f"measurement {name}: limits and an expected value", remedy="declare one or the other")


def _judge(declared: Measurement, value: float | str | bool) -> MeasurementOutcome:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if declared.expected is not None:
        good = type(value) is type(declared.expected) and value == declared.expected
    elif number:
        good = _within(declared, float(value))
    elif declared.low is None and declared.high is None and isinstance(value, str | bool):
        good = True
    else:
        remedy = "take a number, or declare `expected` instead of limits"
        raise UsageFault(f"measurement {declared.name} got {value!r}, its limits are numbers", remedy=remedy)
    return MeasurementOutcome.PASS if good else MeasurementOutcome.FAIL


def _within(declared: Measurement, value: float) -> bool:
    low = -math.inf if declared.low is None else declared.low
    high = math.inf if declared.high is None else declared.high
    return math.isfinite(value) and low <= value <= high


def _writable(value: float | str | bool) -> float | str | bool:
    """JSON has no NaN and no infinity: those are written as text."""
    if isinstance(value, bool | str):
        return value
    return float(value) if math.isfinite(value) else str(float(value))


def _closed(measurement: Measurement, skipped: bool) -> Measurement:
    if skipped and measurement.outcome is MeasurementOutcome.UNSET:
        return measurement.model_copy(update={"outcome": MeasurementOutcome.SKIPPED})
    return measurement
