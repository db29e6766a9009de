# SPDX-License-Identifier: Apache-2.0
"""Side by side in one run: the command's start, the line, many at once, updates, power cuts. `nox -s bench`.

Nothing here passes or fails.

A row is a function below; who measures something else adds one. Uploads are the best of some tries, since whatever else
runs can only take away from a line; updates and power cuts are measured once; everything else is a median, in turn.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "system"))

import build_rows
import line_rows
import log_rows
import many_rows
import measuring
import parts_rows
import policy_rows
import repository_rows
import sign_rows
import start_rows
import update_rows
import verify_rows
from life_site import unit_site

Row = Callable[[int], None]


def boot_to_first_test(rounds: int) -> None:
    """From power on to an app that answers, and to the first test passed."""
    site = unit_site(measuring.board, Path(tempfile.mkdtemp(prefix="assay-bench-site-")))
    start_rows.first_test_passed(site, rounds)


ROWS: dict[str, Row] = {
    "start": start_rows.command_start,
    "build": build_rows.built,
    "walls": build_rows.walls,
    "first-test": boot_to_first_test,
    "line": lambda rounds: line_rows.line_filled(min(rounds, 3)),
    "foreign": lambda _rounds: line_rows.somebodys_servers(),
    "eight": lambda _rounds: many_rows.eight_at_once(),
    "eight-verbs": lambda _rounds: many_rows.eight_verbs(),
    "delta": lambda _rounds: update_rows.patch_against_image(),
    "cuts": lambda _rounds: update_rows.cuts_a_minute(),
    "idle": lambda _rounds: many_rows.idle_twins(),
    "verify": verify_rows.verified,
    "sign": lambda _rounds: sign_rows.file_and_token(),
    "policy": policy_rows.decisions,
    "log-append": log_rows.durable_append,
    "log-100k": lambda _rounds: log_rows.a_batch(),
    "proof": log_rows.proof_of_one,
    "cold-client": repository_rows.cold_client,
    "affected": parts_rows.affected_units,
    "bundle": parts_rows.bundle_and_tar,
}


def main() -> None:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured [5]")
    parser.add_argument("--board", default=measuring.board, choices=("ast1030-evb", "rv32-virt"))
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="only these")
    asked = parser.parse_args()
    begun_s, measuring.board = time.monotonic(), asked.board
    measuring.heading()
    for name in asked.rows or ROWS:
        ROWS[name](asked.rounds)
    print(f"{time.monotonic() - begun_s:.0f} s; {measuring.board} as a twin: a twin shows no flash time")


if __name__ == "__main__":
    main()
