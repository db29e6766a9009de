# SPDX-License-Identifier: Apache-2.0
"""Tries that get longer."""

from __future__ import annotations

from itertools import islice

from assay.interfaces.tries import LONGEST_S, longer_each_time


def test_each_is_longer_up_to_the_longest() -> None:
    assert list(islice(longer_each_time(0.25), 5)) == [0.25, 0.5, 1.0, 2.0, 2.0]
    assert list(islice(longer_each_time(0.3), 5)) == [0.3, 0.6, 1.2, LONGEST_S, LONGEST_S]
