# SPDX-License-Identifier: Apache-2.0
"""How long one try after another lasts, where nobody knows which of several things will answer.

Guards: some try is long enough for a slow line, on which the answer comes when its try is over, and the next question
is behind the one before. Leaves to others: what is tried, and when to give up.
"""

from __future__ import annotations

from collections.abc import Iterator

LONGEST_S = 2.0
"""Seconds: in that time seven questions are asked, ever more slowly, and a line of 9,600 baud takes the answers."""


def longer_each_time(first_s: float, longest_s: float = LONGEST_S) -> Iterator[float]:
    """Seconds of each try, without end: `first_s`, then twice as long each time, up to `longest_s`."""
    while True:
        yield first_s
        first_s = min(2 * first_s, longest_s)
