# SPDX-License-Identifier: Apache-2.0
"""Power by a GPIO line of this host: driver `gpio`, over the kernel's character device and libgpiod's Python package.

Guards: asking for the state does not move the line; the line is ours from the first `on` or `off` until this process
ends, and is shared by all who open it in this process: the kernel gives a line once. What the level is after the
process is the chip's matter: most keep it. Needs the extra `gpio`.
"""

from __future__ import annotations

from typing import Any

from assay.drivers.power.switch import Switch
from assay.errors import InfrastructureError, LinkError, ToolMissing, UsageFault

CONSUMER = "assay"
"""What `gpioinfo` shows as the user of the line."""


_TAKEN: dict[tuple[str, int, bool], Any] = {}
"""The lines that this process has, with their polarity."""


class GpioSwitch(Switch):
    """One line of one chip."""

    def __init__(self, chip: str, line: int, active_low: bool) -> None:
        super().__init__()
        self._gpiod = _library()
        self._chip, self._line, self._active_low = chip, line, active_low
        self._key = (chip, line, active_low)
        self.name = f"line {line} of {chip}"

    def tell(self, on: bool) -> None:
        """Raises LinkError."""
        values = self._gpiod.line.Value
        value = values.ACTIVE if on else values.INACTIVE
        try:
            if self._key in _TAKEN:
                _TAKEN[self._key].set_value(self._line, value)
            else:
                output = self._gpiod.line.Direction.OUTPUT
                _TAKEN[self._key] = self._ask_for(direction=output, output_value=value)
        except (OSError, ValueError) as error:
            raise self._broken(error) from error

    def ask(self) -> bool:
        """Raises LinkError."""
        try:
            if self._key in _TAKEN:
                return self._is_active(_TAKEN[self._key])
            with self._ask_for(direction=self._gpiod.line.Direction.AS_IS) as request:
                return self._is_active(request)
        except (OSError, ValueError) as error:
            raise self._broken(error) from error

    def _is_active(self, request: Any) -> bool:
        return bool(request.get_value(self._line) == self._gpiod.line.Value.ACTIVE)

    def _ask_for(self, **settings: Any) -> Any:
        config = {self._line: self._gpiod.LineSettings(active_low=self._active_low, **settings)}
        return self._gpiod.request_lines(self._chip, consumer=CONSUMER, config=config)

    def _broken(self, error: Exception) -> InfrastructureError:
        return LinkError(
            f"{self.name} cannot be used: {error}", remedy="gpioinfo lists chips, lines and who uses them; group gpio"
        )


def _library() -> Any:
    try:
        import gpiod
    except ImportError as error:
        raise ToolMissing("the package gpiod is not installed", remedy="pip install 'assay[gpio]'") from error
    return gpiod


def open_gpio(address: str, *, line: int, active_low: bool = False) -> GpioSwitch:
    """Driver `gpio`: `address` is the chip (`/dev/gpiochip0`). Raises UsageFault, ToolMissing."""
    if not address.startswith("/dev/") or isinstance(line, bool) or not isinstance(line, int) or line < 0:
        raise UsageFault(f"no GPIO line {line!r} at {address!r}", remedy="give the chip (/dev/gpiochip0) and its line")
    return GpioSwitch(address, line, active_low)
