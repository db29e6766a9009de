# SPDX-License-Identifier: Apache-2.0
"""A few lines of SMP over raw framing, for the firmware's own tests of group 0x4153.

Written from the protocol and not shared with the product, so that the two cannot be wrong in the same way.
"""

from __future__ import annotations

import struct
from typing import Any

import cbor2
import serial

ASSAY = 0x4153
READ, WRITE = 0, 2
ANSWER_S = 30.0  # a busy host is no device that says nothing


class SmpError(Exception):
    """The device says no: group and number of its error, version 2."""

    def __init__(self, group: int, number: int) -> None:
        super().__init__(f"group {group:#x}, error {number}")
        self.group, self.number = group, number


class RawSmp:
    """One request, one answer."""

    def __init__(self, link: serial.Serial) -> None:
        self.link = link
        self._sequence = 0

    def ask(self, op: int, group: int, command: int, body: dict[str, Any]) -> dict[str, Any]:
        """Sends a request of SMP version 2; gives the answer's map. Raises SmpError, TimeoutError."""
        payload = cbor2.dumps(body)
        self._sequence = (self._sequence + 1) % 256
        head = struct.pack(">BBHHBB", 8 | op, 0, len(payload), group, self._sequence, command)
        self.link.reset_input_buffer()
        self.link.timeout = ANSWER_S
        self.link.write(head + payload)
        got = self.link.read(8)
        if len(got) != 8:
            raise TimeoutError(f"no answer, only {got!r}")
        first, _, length, from_group, sequence, from_command = struct.unpack(">BBHHBB", got)
        if (first, from_group, sequence, from_command) != (8 | op | 1, group, self._sequence, command):
            raise ValueError(f"not the answer: {got!r}")
        answer = cbor2.loads(self.link.read(length))
        assert isinstance(answer, dict)
        if "err" in answer:
            raise SmpError(answer["err"]["group"], answer["err"]["rc"])
        return answer

    def read(self, command: int, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Reads from group 0x4153."""
        return self.ask(READ, ASSAY, command, body or {})

    def write(self, command: int, body: dict[str, Any]) -> dict[str, Any]:
        """Writes to group 0x4153."""
        return self.ask(WRITE, ASSAY, command, body)
