# SPDX-License-Identifier: Apache-2.0
"""A suite that `assay test` runs on a Linux module."""


def test_measures_what_it_was_started_from(unit, smp, measure):
    health = smp.health()
    assert health.state == "pass", health.reason
    slot = smp.measure(0)
    assert (slot.how, slot.image_hash) == ("recomputed", unit.info.image_hash)
    measure("image_size", unit="By", low=1_000_000).take(slot.size)


def test_comes_up_after_its_power_was_away(power, console, unit):
    power.cycle(0.5)
    console.wait_for("ASSAY-BOOT 1 slot=", timeout_s=120)
    console.wait_for("ASSAY-INIT 1 up", timeout_s=300)
