# SPDX-License-Identifier: Apache-2.0
"""The unit boots in time, and comes back from a power cut as it was."""

from __future__ import annotations

import time

from assay.interfaces.device import Stage

BOOT_TIME_MAX_MS = 2000
"""A twin on an idle host needs some 100 ms; the limit leaves room for a host that has other things to do."""
BOOT_TIMEOUT_S = 10


def test_boot_time(power, console, measure):
    boot_time = measure("boot_time", unit="ms", low=1, high=BOOT_TIME_MAX_MS)
    power.off()
    started = time.monotonic()
    power.on()
    console.wait_for(r"ASSAY-APP 1 name=", timeout_s=BOOT_TIMEOUT_S)
    boot_time.take((time.monotonic() - started) * 1000)


def test_comes_back_from_a_power_cut(unit, power, smp, measure):
    cuts = measure("power_cuts_survived", low=3)
    before = smp.info()
    survived = 0
    for _ in range(3):
        power.cut()
        power.on()
        after = smp.wait_ready(Stage.APP, timeout_s=BOOT_TIMEOUT_S)
        survived += (after.chip, after.image_hash, after.serial) == (before.chip, before.image_hash, before.serial)
    cuts.take(survived)
