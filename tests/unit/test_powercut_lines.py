# SPDX-License-Identifier: Apache-2.0
"""A campaign of an hour says how far it is, also where there is no terminal."""

from __future__ import annotations

from assay.cli.powercut import LINE_EVERY_S, now_and_then


def test_there_is_a_line_now_and_then() -> None:
    said: list[str] = []
    now_s = [0.0]
    progress = now_and_then(said.append, lambda: now_s[0])
    for done in range(1, 11):
        now_s[0] += LINE_EVERY_S / 4
        progress("cuts", done, 10)
    assert said == ["cuts: 4 of 10", "cuts: 8 of 10"]
