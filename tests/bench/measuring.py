# SPDX-License-Identifier: Apache-2.0
"""Measuring side by side: each pair is measured in turn, so that a busy machine slows both."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "system"))

from life_site import ROOT, environment

Call = Callable[[], object]

board = "ast1030-evb"
"""The twin that rows measure on."""


def seconds(call: Call) -> float:
    """How long `call` takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def in_turn(rounds: int, **calls: Call) -> dict[str, float]:
    """The median seconds of each call, measured in turn."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(seconds(call))
    return {name: statistics.median(values) for name, values in taken.items()}


def heading() -> None:
    """The table's."""
    load = ", ".join(f"{part:.1f}" for part in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load}")
    print(f"{'':<48} {'assay':>14} {'beside it':>28} {'ratio':>8}", flush=True)


def row(what: str, ours: str, theirs: str, ratio: float | None) -> None:
    """One line of the table. Ratios under a tenth have two digits, too."""
    shown = "" if ratio is None else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"
    print(f"{what:<48} {ours:>14} {theirs:>28} {shown:>8}", flush=True)


def program(*command: str) -> Call:
    """A call that runs `command` quietly."""
    return lambda: subprocess.run(command, check=True, capture_output=True, env=environment(), cwd=ROOT)
