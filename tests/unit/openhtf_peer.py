# SPDX-License-Identifier: Apache-2.0
"""A program that the real OpenHTF runs in: phases as tests/unit/test_openhtf_report.py reports them, and its own record
of them as JSON in the file that is named; beside it the units that OpenHTF knows.

Its folder of packages is its whole path: python -S openhtf_peer.py RECORD UNITS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import openhtf as htf
from openhtf.output.callbacks.json_factory import OutputToJSON
from openhtf.util import units

MEASURED = htf.measures(
    htf.Measurement("boot").with_units(units.MILLISECOND).in_range(10.0, 400.25),
    htf.Measurement("count").with_units(units.ONE).in_range(1234567.0, 1234567.0),
    htf.Measurement("least").with_units(units.VOLT).in_range(minimum=-0.5),
    htf.Measurement("most").with_units(units.VOLT).in_range(maximum=1234567.5),
    htf.Measurement("state").with_units(units.ONE).equals("a.b (1)"),
    htf.Measurement("kept").with_units(units.ONE).equals(True),
    htf.Measurement("free").with_units(units.ONE),
)


@MEASURED
def test_limits(test: Any) -> None:
    taken = {"boot": 12.5, "count": 1234567.0, "least": 1.5, "most": 0.5, "state": "a.b (1)", "kept": True, "free": 3.0}
    for name, value in taken.items():
        test.measurements[name] = value


@htf.measures(htf.Measurement("boot").with_units(units.MILLISECOND).in_range(10.0, 400.0), htf.Measurement("never"))
def test_outside(test: Any) -> None:
    test.measurements.boot = 401.0


def test_camera(_test: Any) -> Any:
    return htf.PhaseResult.SKIP


@htf.PhaseOptions(repeat_limit=2)  # type: ignore[untyped-decorator]
def test_again(_test: Any, turns: list[int] = [0]) -> Any:  # noqa: B006  (counts the turns)
    turns[0] += 1
    return htf.PhaseResult.REPEAT if turns[0] == 1 else htf.PhaseResult.CONTINUE


def test_gone(_test: Any) -> None:
    raise ConnectionError("gone")


def main() -> None:
    """Write both files."""
    record, known = map(Path, sys.argv[1:])
    test = htf.Test(test_limits, test_outside, test_camera, test_again, test_gone, test_name="demo-sensor")
    test.add_output_callbacks(OutputToJSON(str(record)))
    test.execute(test_start=lambda: "DS-1")
    known.write_text(json.dumps([tuple(unit) for unit in units.UNITS_BY_NAME.values()]))


if __name__ == "__main__":
    main()
