# SPDX-License-Identifier: Apache-2.0
"""What a test gets into its hands: the unit, its console, its power.

Guards: nothing that the console said before the power went away can be taken for what it says afterwards; a power
switch that does not obey is blamed on the power, not on the unit.
Leaves to others: proving which image runs (`running_image`), opening the place (the pipeline).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from assay.errors import InfrastructureError, at_layer
from assay.interfaces.device import Console, DeviceInfo
from assay.interfaces.power import Power
from assay.model.artifact import Release
from assay.model.board import Board
from assay.stages.hil.running_image import RunningImage

LINE_TIMEOUT_S = 5.0
"""Seconds that a test waits for a line when it does not say how long: ten times what a board of the demo needs."""
OFF_S = 0.05
"""Seconds without power in a cycle: an emulated board forgets at once; a real place says more in its tests."""


@dataclass(frozen=True)
class UnitUnderTest:
    """The unit on the place, proved to run `release` just before this test."""

    place: str
    board: Board
    release: Release
    proof: RunningImage

    @property
    def info(self) -> DeviceInfo:
        """What the device said of itself at the proof."""
        return self.proof.info

    @property
    def serial(self) -> str | None:
        """The serial number; None for a unit that was never provisioned."""
        return self.proof.info.serial

    @property
    def emulated(self) -> bool:
        """True for a twin."""
        return self.board.emulated


class ConsoleLines:
    """The unit's console. Lines from before the test, and from before a power cut, are not in it."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def wait_for(self, pattern: str, timeout_s: float = LINE_TIMEOUT_S) -> str:
        """The next line in which the regular expression `pattern` is found; lines before it are dropped.

        Raises DeviceTimeout, which makes the test TIMEOUT.
        """
        return self._console.wait_for_line(pattern, timeout_s)

    def send(self, text: str) -> None:
        """Type `text` and a line end."""
        self._console.send_line(text)

    def lines(self) -> tuple[str, ...]:
        """The lines that came in and were not taken yet."""
        return self._console.console_lines()

    def drop_console(self) -> None:
        """Forget every line that came in before now."""
        self._console.drop_console()


class UnitPower:
    """The unit's power. After the test the plugin puts it on again and proves anew which image runs."""

    def __init__(self, power: Power, console: Console, sleep: Callable[[float], None]) -> None:
        self._power = power
        self._console = console
        self._sleep = sleep

    def on(self) -> None:
        """Power on; the unit boots."""
        with at_layer("power"):
            self._power.on()

    def off(self) -> None:
        """Power off, in order."""
        with at_layer("power"):
            self._power.off()
        self._console.drop_console()

    def cut(self) -> None:
        """Take the power away in the middle of whatever the unit does."""
        with at_layer("power"):
            self._power.cut()
        self._console.drop_console()

    def cycle(self, off_s: float = OFF_S, *, hard: bool = False) -> None:
        """Off (`hard`: cut), `off_s` seconds of darkness, on. What the console says from here on is of the new boot."""
        if hard:
            self.cut()
        else:
            self.off()
        self._sleep(off_s)
        self.on()

    def is_on(self) -> bool:
        """True when the unit has power."""
        with at_layer("power"):
            return self._power.is_on()


def restart(place: str, power: UnitPower | None, how: str, off_s: float) -> None:
    """The known power state before another attempt: `cycle`, `cut`, or `as-is`, which is none.

    Raises InfrastructureError of layer power where it cannot be had.
    """
    if how == "as-is":
        return
    if power is None:
        with at_layer("power"):
            raise InfrastructureError(
                f"place {place} has no power switch, and the test is to be tried again from power {how}",
                remedy="give the place a switch in bench.toml (docs: reference/power), or leave from_power out",
            )
    power.cycle(off_s, hard=how == "cut")
