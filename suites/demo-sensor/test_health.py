# SPDX-License-Identifier: Apache-2.0
"""The unit's own view of its health."""

from __future__ import annotations

import time

SELF_TEST_TIMEOUT_S = 5


def test_self_test_passes(smp, measure):
    state = measure("self_test", expected="pass")
    deadline = time.monotonic() + SELF_TEST_TIMEOUT_S
    while (health := smp.health()).state == "running" and time.monotonic() < deadline:
        time.sleep(0.05)
    state.take(health.state)


def test_stack_and_frames(smp, measure):
    stack_free = measure("stack_free", unit="By", low=512)
    frames_bad = measure("frames_bad", high=0)
    stats = smp.stats()
    stack_free.take(stats.stack_free)
    frames_bad.take(stats.frames_bad)
