# SPDX-License-Identifier: Apache-2.0
"""Power or reset by a serial port's control line: driver `control-line`, DTR or RTS of the unit's own port or another.

Guards: nothing is moved before `on` or `off` is asked for, as far as the system lets us: Linux raises both lines when
a port is opened, and drops them when it is closed. So the line holds for as long as its port is open, which is enough
for a reset, and for a power switch only while a verb runs. Leaves to others: the unit's own port (`serial_transport`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from assay.drivers.power.switch import Switch
from assay.errors import UsageFault

if TYPE_CHECKING:
    from assay.interfaces.transport import Transport

LINES = ("dtr", "rts")


class ControlLines(Protocol):
    """A transport that has them."""

    def set_line(self, line: str, asserted: bool) -> None:
        """`dtr` or `rts`. Raises LinkError."""
        ...


class ControlLineSwitch(Switch):
    """On is the line asserted; `inverted`: on is the line released, as a reset line that is low when asserted needs."""

    def __init__(self, lines: ControlLines, address: str, line: str, inverted: bool) -> None:
        super().__init__()
        self._lines, self._line, self._inverted = lines, line, inverted
        self.name = f"{line.upper()} of {address}"

    def tell(self, on: bool) -> None:
        """Raises LinkError."""
        self._lines.set_line(self._line, on != self._inverted)


def open_control_line(
    address: str = "", *, line: str = "dtr", inverted: bool = False, transport: Transport | None = None
) -> ControlLineSwitch:
    """Driver `control-line`: of the port `address`, or of the unit's own (no address). Raises UsageFault, LinkError."""
    if line not in LINES:
        raise UsageFault(f"{line!r} is no control line", remedy=f"lines: {', '.join(LINES)}")
    if address:
        from assay.drivers.serial_transport import open_serial

        transport = open_serial(address)
    if transport is None or not hasattr(transport, "set_line"):
        raise UsageFault(
            "the unit's port has no control lines", remedy="name the port that has them as the place's power.address"
        )
    return ControlLineSwitch(cast("ControlLines", transport), address or transport.address, line, inverted)
