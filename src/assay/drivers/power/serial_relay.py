# SPDX-License-Identifier: Apache-2.0
"""Power by a USB relay that is a serial port: driver `serial-relay`, the LCUS boards with a CH340 and their like.

The protocol is four bytes, 9600 baud: A0, the channel, the command, and the sum of the three. Commands are 0 (off), 1
(on) and 5 (state; boards with feedback answer with the same four bytes). Boards without feedback cannot be asked.
"""

from __future__ import annotations

import time

from assay.drivers.locks.file_lock import FileLocks
from assay.drivers.power.switch import Switch
from assay.drivers.serial_transport import open_serial
from assay.errors import InfrastructureError, UsageFault
from assay.interfaces.transport import Transport

START = 0xA0
OFF, ON, STATE = 0, 1, 5
FRAME_BYTES = 4
BAUD = 9600  # bit/s, fixed in these boards
ANSWER_WAIT_S = 1.0
CHANNELS_MAX = 16
OTHERS_WAIT_S = 5.0  # another process switches another channel of the same board in 10 ms


def frame(channel: int, command: int) -> bytes:
    """The bytes of a command or an answer."""
    return bytes((START, channel, command, (START + channel + command) & 0xFF))


class SerialRelay(Switch):
    """One channel; the port is open only while something is said, since the channels of a board share it."""

    def __init__(self, address: str, channel: int, feedback: bool) -> None:
        super().__init__()
        self._address, self._channel, self._feedback = address, channel, feedback
        self.name = f"channel {channel} of the relay at {address}"

    def tell(self, on: bool) -> None:
        """Raises LinkError, PlaceBusy."""
        self._exchange(ON if on else OFF, answers=False)

    def ask(self) -> bool | None:
        """Raises LinkError, PlaceBusy, InfrastructureError when a board with feedback does not answer."""
        if not self._feedback:
            return None
        return self._exchange(STATE, answers=True)

    def _exchange(self, command: int, *, answers: bool) -> bool:
        with FileLocks().acquire(self._address, verb="power", place=self.name, wait_s=OTHERS_WAIT_S):
            port = open_serial(self._address, BAUD)
            try:
                port.drop_input()
                port.write(frame(self._channel, command))
                return self._state(port) if answers else False
            finally:
                port.close()

    def _state(self, port: Transport) -> bool:
        received, end_s = b"", time.monotonic() + ANSWER_WAIT_S
        while (left_s := end_s - time.monotonic()) > 0:
            received += port.read(64, left_s)
            for state, command in ((True, ON), (False, OFF)):
                if frame(self._channel, command) in received:
                    return state
        raise InfrastructureError(
            f"{self.name} does not answer", remedy="is it this port? A board without feedback: feedback = false"
        )


def open_serial_relay(address: str, *, channel: int = 1, feedback: bool = False) -> SerialRelay:
    """Driver `serial-relay`: `address` is the relay's port. Raises UsageFault."""
    if not address or isinstance(channel, bool) or not 1 <= channel <= CHANNELS_MAX:
        raise UsageFault(
            f"no relay channel {channel!r} at {address!r}",
            remedy=f"give its port, and a channel from 1 to {CHANNELS_MAX}",
        )
    return SerialRelay(address, channel, feedback)
