# SPDX-License-Identifier: Apache-2.0
"""Measurements: limits stand before the value, and nothing that was not measured within them passes."""

from __future__ import annotations

import math

import pytest

from assay.errors import UsageFault
from assay.model.outcome import MeasurementOutcome
from assay.stages.hil.measuring import MeasurementBook, describe, failures


@pytest.mark.parametrize(
    ("low", "high", "value", "outcome"),
    [
        (10, 400, 10, "PASS"),
        (10, 400, 400, "PASS"),
        (10, 400, 9.999, "FAIL"),
        (10, 400, 400.001, "FAIL"),
        (None, 400, -1e9, "PASS"),
        (10, None, 9, "FAIL"),
        (0.0, None, -0.0, "PASS"),
        (None, None, 12, "PASS"),
        (None, None, math.nan, "FAIL"),
        (10, 400, math.nan, "FAIL"),
        (10, None, math.inf, "FAIL"),
        (None, 400, -math.inf, "FAIL"),
    ],
)
def test_limits(low: float | None, high: float | None, value: float, outcome: str) -> None:
    book = MeasurementBook()
    book.declare("boot_time", unit="ms", low=low, high=high).take(value)
    (result,) = book.results()
    assert result.outcome == outcome
    assert bool(failures(book.results())) is (outcome != "PASS")


@pytest.mark.parametrize(
    ("expected", "value", "outcome"),
    [("pass", "pass", "PASS"), ("pass", "fail", "FAIL"), (True, True, "PASS"), (True, 1, "FAIL"), (False, "", "FAIL")],
)
def test_expected_values(expected: str | bool, value: str | bool, outcome: str) -> None:
    book = MeasurementBook()
    assert book.declare("selftest", expected=expected).take(value).outcome == outcome


def test_declared_and_never_taken_is_a_failure() -> None:
    book = MeasurementBook()
    book.declare("supply", unit="V", low=3.2, high=3.4)
    assert failures(book.results()) == ["supply was declared and never taken"]
    assert book.results(skipped=True)[0].outcome is MeasurementOutcome.SKIPPED


def test_a_value_is_taken_once() -> None:
    book = MeasurementBook()
    supply = book.declare("supply", unit="V", low=3.2, high=3.4)
    supply.take(3.5)
    with pytest.raises(UsageFault, match="taken already"):
        supply.take(3.3)
    assert book.results()[0].value == 3.5


def test_limits_cannot_be_changed_after_the_declaration() -> None:
    book = MeasurementBook()
    supply = book.declare("supply", unit="V", low=3.2, high=3.4)
    with pytest.raises(UsageFault, match="declared twice"):
        book.declare("supply", unit="V", low=0, high=9)
    for attempt in (
        lambda: setattr(supply, "high", 9.0),
        lambda: setattr(supply, "result", None),
        lambda: setattr(supply.result, "high", 9.0),
    ):
        with pytest.raises((AttributeError, ValueError)):
            attempt()
    assert supply.take(3.5).outcome is MeasurementOutcome.FAIL


def test_every_value_is_told_when_it_is_taken() -> None:
    told: list[str] = []
    book = MeasurementBook(lambda measurement: told.append(describe(measurement)))
    book.declare("boot_time", unit="ms", low=1, high=400).take(512)
    book.declare("frames", low=4).take(7)
    assert told == ["boot_time = 512 ms, outside 1 ... 400 ms", "frames = 7, within at least 4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "msec"}, "did you mean"),
        ({"unit": "furlong"}, "not a known UCUM unit"),
        ({"low": 2, "high": 1}, "low 2 is above high 1"),
        ({"low": math.nan}, "not a number"),
        ({"low": "1"}, "not a number"),
        ({"low": 1, "expected": "x"}, "limits and an expected value"),
    ],
)
def test_declarations_that_mean_nothing(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageFault, match=message):
        MeasurementBook().declare("x", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "Boot Time", "1st", "x" * 65, "a/b"])
def test_names_that_reports_cannot_hold(name: str) -> None:
    with pytest.raises(UsageFault, match="measurement"):
        MeasurementBook().declare(name)


@pytest.mark.parametrize("value", [None, [], "3.3", True])
def test_values_of_another_kind_are_not_judged(value: object) -> None:
    book = MeasurementBook()
    with pytest.raises(UsageFault, match="its limits are numbers"):
        book.declare("supply", unit="V", low=3.2, high=3.4).take(value)  # type: ignore[arg-type]
    assert book.results()[0].outcome is MeasurementOutcome.UNSET


def test_nan_is_written_as_text_since_json_has_none() -> None:
    book = MeasurementBook()
    assert book.declare("t", unit="Cel", low=0, high=9).take(math.nan).model_dump(mode="json")["value"] == "nan"
