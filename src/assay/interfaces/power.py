# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of a unit's power."""

from __future__ import annotations

from typing import Protocol


class Power(Protocol):
    """Power of one place. Raises `InfrastructureError` when the switch does not obey."""

    def on(self) -> None:
        """Power on; nothing happens when it is on."""
        ...

    def off(self) -> None:
        """Take the power away; nothing happens when it is off."""
        ...

    def cycle(self, off_s: float = 0.05) -> None:
        """Off for `off_s` seconds, then on."""
        ...

    def is_on(self) -> bool:
        """True when the unit has power."""
        ...

    def cut(self) -> None:
        """Take the power away in the middle of whatever the unit does: no warning, no flush beyond what the chip held.

        For a real switch the same as `off`; a twin makes its flash file hold what the chip held at that moment.
        """
        ...
