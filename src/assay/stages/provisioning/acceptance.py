# SPDX-License-Identifier: Apache-2.0
"""The factory's last look at a unit: its identity outlives a reset, its self-test passes, its values are in limits.

Guards: limits were declared in the profile before anything was measured; a value that was not measured in this run
(an upload that was not needed) is SKIPPED and never PASS.
"""

from __future__ import annotations

from assay.errors import UnitFailed
from assay.interfaces.clock import Clock
from assay.interfaces.device import Device, Stage
from assay.model.outcome import MeasurementOutcome
from assay.model.predicates import FactoryMeasurement
from assay.model.profile import Limit, Profile
from assay.stages.provisioning.firmware import UP_TIMEOUT_S, Written

HEALTH_TIMEOUT_S = 10.0
HEALTH_PAUSE_S = 0.02


def check_unit(
    device: Device, serial: str, written: Written, profile: Profile, clock: Clock
) -> tuple[FactoryMeasurement, ...]:
    """The measurements, all within limits. Raises `UnitFailed` naming what is not."""
    device.reset()
    begun_s = clock.monotonic_s()
    info = device.wait_ready(Stage.APP, UP_TIMEOUT_S)
    values = {"boot-time": (clock.monotonic_s() - begun_s) * 1000}
    if info.serial != serial:
        raise UnitFailed(
            f"after a reset the unit says that it is {info.serial}, not {serial}",
            remedy="its identity area is bad: take it out of production",
        )
    _wait_healthy(device, clock)
    if written.upload_s and written.upload_bytes:
        values["upload-rate"] = written.upload_bytes / written.upload_s / 1000
    values |= _ask_values(device, clock)
    measured = tuple(_judge(limit, values.get(limit.name)) for limit in profile.limits)
    if bad := [_words(one) for one in measured if one.outcome is MeasurementOutcome.FAIL]:
        raise UnitFailed(f"out of limits: {'; '.join(bad)}", remedy="take the unit out of production")
    return measured


def _wait_healthy(device: Device, clock: Clock) -> None:
    deadline_s = clock.monotonic_s() + HEALTH_TIMEOUT_S
    while (health := device.health()).state == "running":
        if clock.monotonic_s() > deadline_s:
            raise UnitFailed(
                f"the self-test still runs after {HEALTH_TIMEOUT_S:g} s", remedy="take the unit out of production"
            )
        clock.sleep(HEALTH_PAUSE_S)
    if health.state != "pass":
        raise UnitFailed(
            f"the self-test failed: {health.reason} (code {health.code})", remedy="take the unit out of production"
        )


def _ask_values(device: Device, clock: Clock) -> dict[str, float]:
    begun_s = clock.monotonic_s()
    device.echo("assay")
    echo_ms = (clock.monotonic_s() - begun_s) * 1000
    stats = device.stats()
    return {"echo-time": echo_ms, "stack-free": float(stats.stack_free), "frames-bad": float(stats.frames_bad)}


def _judge(limit: Limit, value: float | None) -> FactoryMeasurement:
    if value is None:
        outcome = MeasurementOutcome.SKIPPED
    else:
        value = round(value, 3)
        low_ok = limit.low is None or value >= limit.low
        high_ok = limit.high is None or value <= limit.high
        outcome = MeasurementOutcome.PASS if low_ok and high_ok else MeasurementOutcome.FAIL
    return FactoryMeasurement(
        name=limit.name, unit=limit.unit, low=limit.low, high=limit.high, value=value, outcome=outcome
    )


def _words(measured: FactoryMeasurement) -> str:
    return f"{measured.name} is {measured.value} {measured.unit} (limits {measured.low} to {measured.high})"
