# SPDX-License-Identifier: Apache-2.0
"""A bench without hardware, for tests of the plugin itself: a device that says what a test tells it to say.

Guards: it offers what `pipeline.test_place.BenchPlace` needs and nothing that a real device would not do.
Leaves to others: real firmware (tests/system/test_hil*.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from assay.errors import DeviceTimeout, InfrastructureError, InQuarantine, PlaceBusy
from assay.interfaces.device import DeviceInfo, Measured, Stage
from assay.pipeline import test_place
from assay.stages.hil.running_image import Expected
from assay.stages.hil.unit_under_test import ConsoleLines, UnitPower

IMAGE = b"\x11" * 32
OTHER_IMAGE = b"\x22" * 32
BOARD = SimpleNamespace(name="fake-board", emulated=True)
RELEASE = SimpleNamespace(reference="demo-sensor@1.0.0", version="1.0.0")


class FakeDevice:
    """Runs `IMAGE`; the fields can be set by a test to make it lie, fall silent or run something else."""

    address = "/dev/fake"

    def __init__(self) -> None:
        self.powered = True
        self.silent = False
        self.chip = b"\x33" * 16
        self.board = "fake-board"
        self.image = IMAGE
        self.flash_image = IMAGE
        self.how = "recomputed"
        self.stage = Stage.APP
        self.image_after_boot = IMAGE
        self.console: list[str] = ["ASSAY-APP 1 version=0.9.0 the image before"]

    def info(self) -> DeviceInfo:
        self._answer()
        return DeviceInfo(
            1, self.stage, self.board, 1, self.chip, "demo-sensor", "1.0.0", None, "confirmed", self.image
        )

    def measure(self, slot: int) -> Measured:
        self._answer()
        return Measured(slot, self.flash_image, 1000, self.how)

    def echo(self, text: str) -> str:
        self._answer()
        return text

    def wait_ready(self, stage: Stage, timeout_s: float) -> DeviceInfo:
        return self.info()

    def console_lines(self) -> tuple[str, ...]:
        lines, self.console = tuple(self.console), []
        return lines

    def wait_for_line(self, pattern: str, timeout_s: float) -> str:
        while self.console:
            line = self.console.pop(0)
            if re.search(pattern, line):
                return line
        raise DeviceTimeout(f"no line with {pattern!r} in {timeout_s} s", remedy="look at the console")

    def send_line(self, text: str) -> None:
        self._answer()
        self.console.append(f"you said {text}")

    def drop_console(self) -> None:
        self.console.clear()

    def _answer(self) -> None:
        if self.silent or not self.powered:
            raise DeviceTimeout("the device does not answer", remedy="look at the power")


class FakePower:
    """The switch of the fake device; `stuck` makes it disobey."""

    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self.stuck = False

    def on(self) -> None:
        if self.stuck:
            raise InfrastructureError("the switch does not answer", remedy="look at the switch")
        if not self.device.powered:
            self.device.powered = True
            self.device.image = self.device.image_after_boot
            self.device.console.append("ASSAY-APP 1 version=1.0.0 boot")

    def off(self) -> None:
        self.device.console.append("a last word")
        self.device.powered = False

    def cut(self) -> None:
        self.off()

    def cycle(self, off_s: float = 0.05) -> None:
        self.off()
        self.on()

    def is_on(self) -> bool:
        return self.device.powered


DEVICE = FakeDevice()
SWITCH = FakePower(DEVICE)


PLACES: dict[str, list[str]] = json.loads(os.environ.get("FAKE_PLACES", "{}"))
"""Features of places beside the usual one; each has a device of its own. `FAKE_BUSY` names one that somebody uses."""
DEVICES = {name: FakeDevice() for name in PLACES}


def offer(wish: Any, name: str) -> tuple[str, tuple[str, ...]]:
    """In place of `test_place.offer_of`."""
    return BOARD.name, tuple(PLACES[name])


@contextlib.contextmanager
def open_fake(wish: Any, worker: str) -> Iterator[test_place.BenchPlace]:
    """In place of `test_place.open_bench_place`; `FAKE_OPEN_FAULT` makes it fail."""
    if fault := os.environ.get("FAKE_OPEN_FAULT"):
        raise InfrastructureError(fault, remedy="try another place")
    log = Path(os.environ["FAKE_LOG"])
    with log.open("a") as file:
        file.write(f"open {worker}\n")
    (wished,) = wish.places
    if wished in os.environ.get("FAKE_BUSY", "").split(","):
        raise PlaceBusy(f"{wished} is used by assay flash (pid 7)", remedy="wait")
    device = DEVICES.get(wished, DEVICE)
    power = UnitPower(FakePower(device) if wished in PLACES else SWITCH, device, time.sleep)
    expected = Expected(IMAGE, "fake-board", "demo-sensor@1.0.0")
    yield test_place.BenchPlace(
        wished if wished in PLACES else f"fake-{worker}",
        BOARD,
        RELEASE,
        device,  # type: ignore[arg-type]
        ConsoleLines(device),
        power,
        expected,
        tuple(PLACES.get(wished, ())),
    )
    with log.open("a") as file:
        file.write(f"close {worker}\n")


def install() -> None:
    """From now on this process has a fake bench."""
    test_place.open_bench_place = open_fake  # type: ignore[assignment]
    test_place.offer_of = offer
    test_place.check_quarantine = check_quarantine


def check_quarantine(wish: Any, name: str) -> None:
    """In place of `test_place.check_quarantine`; `FAKE_QUARANTINE` names places."""
    if name in os.environ.get("FAKE_QUARANTINE", "").split(","):
        raise InQuarantine(f"place {name} is in quarantine: it flips", remedy="mend it")
