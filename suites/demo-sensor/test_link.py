# SPDX-License-Identifier: Apache-2.0
"""The serial link carries what it should, in time and without damage."""

from __future__ import annotations

import statistics
import time

ECHOES = 20
LONG_TEXT = "0123456789" * 40
"""400 characters: several frames of the console framing."""


def test_echo_round_trip(smp, measure):
    round_trip = measure("echo_round_trip", unit="ms", high=250)
    times_ms = []
    for number in range(ECHOES):
        started = time.monotonic()
        assert smp.echo(f"hello {number}") == f"hello {number}"
        times_ms.append((time.monotonic() - started) * 1000)
    round_trip.take(statistics.median(times_ms))


def test_long_echo_comes_back_whole(smp):
    assert smp.echo(LONG_TEXT) == LONG_TEXT
