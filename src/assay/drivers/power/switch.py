# SPDX-License-Identifier: Apache-2.0
"""What power switches share: cycling, cutting, and that a switch which does not obey is an error.

Guards: after `on` and `off` the switch was asked, if it can be, and did what it was told; a switch that cannot be asked
is believed only what it was told by this process. Leaves to others: how a switch is told (the other modules here).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from assay.errors import InfrastructureError

OBEY_S = 2.0  # a relay in a wall plug answers its old state for some 100 ms
ASK_EACH_S = 0.1


class Switch(ABC):
    """`interfaces.power.Power` from two methods; `name` is what messages call it."""

    name = "the power switch"

    def __init__(self) -> None:
        self._told: bool | None = None

    @abstractmethod
    def tell(self, on: bool) -> None:
        """Switch. Raises InfrastructureError."""

    def ask(self) -> bool | None:
        """The state as the switch says it; None when it cannot say. Raises InfrastructureError."""
        return None

    def on(self) -> None:
        """Power on; nothing happens when it is on. Raises InfrastructureError."""
        self._set(True)

    def off(self) -> None:
        """Take the power away; nothing happens when it is off. Raises InfrastructureError."""
        self._set(False)

    def cut(self) -> None:
        """As `off`: a real switch knows no other way."""
        self._set(False)

    def cycle(self, off_s: float = 0.05) -> None:
        """Off for `off_s` seconds, then on. Raises InfrastructureError."""
        self.off()
        time.sleep(off_s)
        self.on()

    def is_on(self) -> bool:
        """As the switch says, else as it was told by this process, at first off: on again does no harm."""
        said = self.ask()
        return bool(self._told) if said is None else said

    def _set(self, on: bool) -> None:
        self._told = None
        self.tell(on)
        end_s = time.monotonic() + OBEY_S
        while (said := self.ask()) is not None and said != on:
            if time.monotonic() > end_s:
                wanted, state = ("on", "off") if on else ("off", "on")
                raise InfrastructureError(
                    f"{self.name} was told to switch {wanted} and still says {state}",
                    remedy="look at the switch, its wiring, and its entry in bench.toml",
                )
            time.sleep(ASK_EACH_S)
        self._told = on
