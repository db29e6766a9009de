# SPDX-License-Identifier: Apache-2.0
"""A measurement in a line: value, unit and limits as people write them. The record keeps every digit."""

from __future__ import annotations

from assay.model.predicates import FactoryMeasurement
from assay.model.verdict import Measurement

DIGITS = 4
"""Significant digits that people are shown."""

UNITS = {"1": "", "By": " bytes"}
"""UCUM codes that people do not read as units; the others are shown as they are."""


def measured_words(item: Measurement | FactoryMeasurement) -> str:
    """`boot_time 52 ms (at most 500): PASS`."""
    unit = "" if isinstance(item.value, str | bool) else UNITS.get(item.unit, f" {item.unit}")
    limits = _limits(item)
    return f"{item.name} {_number(item.value)}{unit}{f' ({limits})' if limits else ''}: {item.outcome}"


def _limits(item: Measurement | FactoryMeasurement) -> str:
    expected = item.expected if isinstance(item, Measurement) else None
    if expected is not None:
        return f"expected {_number(expected)}"
    low, high = item.low, item.high
    if low is not None and high is not None:
        return f"{_number(low)} to {_number(high)}"
    if low is not None:
        return f"at least {_number(low)}"
    return f"at most {_number(high)}" if high is not None else ""


def _number(value: float | str | bool | None) -> str:
    if value is None:
        return "not taken"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.{DIGITS}g}"
    return f"{value}"
