# SPDX-License-Identifier: Apache-2.0
"""A debug probe that speaks CMSIS-DAP 2 on SWD, before a chip (`nrf_chip.NrfChip`): a packet in, a packet out.

Written after Arm's specification of CMSIS-DAP; no USB here (`usb_gadgets` has it). Debian's Python runs it, too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

PACKET_BYTES, PACKETS = 512, 4
OK, FAULT, UNKNOWN = 1, 4, 0xFF
SWD = 1
AP, READ, MATCH, MASK = 1, 2, 0x10, 0x20
"""Bits of a transfer's request; bits 2 and 3 are the register's address."""
MATCH_TRIES = 1000
DONE = (0x01, 0x03, 0x04, 0x08, 0x09, 0x11, 0x12, 0x13)
"""Commands of which only that they were done is answered: lights, disconnect, settings, abort, delay, sequences."""


class CmsisDap:
    """`serial` is the probe's; `firmware` what it says of itself."""

    def __init__(self, chip: Any, serial: str, firmware: str = "2.1.0") -> None:
        self.chip = chip
        self.infos: dict[int, bytes] = {
            0x01: b"Assay\0",
            0x02: b"CMSIS-DAP of a program\0",
            0x03: serial.encode() + b"\0",
            0x04: firmware.encode() + b"\0",
            0x09: b"1.0\0",
            0xF0: bytes([SWD]),
            0xFE: bytes([PACKETS]),
            0xFF: struct.pack("<H", PACKET_BYTES),
        }
        self.does: dict[int, Callable[[bytes], bytes]] = {
            0x00: lambda packet: self.told(self.infos.get(packet[1], b"")),
            0x02: lambda packet: bytes([SWD if packet[1] in (0, SWD) else 0]),
            0x05: self.transfer,
            0x06: self.block,
            0x0A: lambda packet: bytes(2),
            0x10: lambda packet: bytes([0x80]),  # the chip's reset is not pulled
        }

    def answer(self, packet: bytes) -> bytes:
        """To one packet; empty for one that has no answer."""
        command = packet[0]
        if command == 0x07:  # abort a transfer: none is under way
            return b""
        if command in DONE:
            return bytes([command, 0])
        does = self.does.get(command)
        return bytes([UNKNOWN]) if does is None else bytes([command]) + does(packet)

    @staticmethod
    def told(info: bytes) -> bytes:
        """With its length before it."""
        return bytes([len(info)]) + info

    def transfer(self, packet: bytes) -> bytes:
        """Registers of debug port and access port, one after the other, until one fails."""
        count, at, mask, values = packet[2], 3, 0xFFFFFFFF, b""
        for number in range(count):
            request, at = packet[at], at + 1
            value = 0
            if not request & READ or request & MATCH:
                (value,) = struct.unpack_from("<I", packet, at)
                at += 4
            if request & MASK:
                mask = value
            elif request & MATCH:
                if not any(self.read(request) & mask == value for _ in range(MATCH_TRIES)):
                    return bytes([number, OK | 0x10]) + values
            elif request & READ:
                values += struct.pack("<I", self.read(request))
            else:
                self.write(request, value)
        return bytes([count, OK]) + values

    def block(self, packet: bytes) -> bytes:
        """One register many times."""
        count, request = struct.unpack_from("<HB", packet, 2)
        if request & READ:
            return struct.pack("<HB", count, OK) + b"".join(struct.pack("<I", self.read(request)) for _ in range(count))
        for (value,) in struct.iter_unpack("<I", packet[5 : 5 + 4 * count]):
            self.write(request, value)
        return struct.pack("<HB", count, OK)

    def read(self, request: int) -> int:
        """A register, as 32 bits."""
        return int(self.chip.ap_read(request & 0xC) if request & AP else self.chip.dp_read(request & 0xC))

    def write(self, request: int, value: int) -> None:
        """Into a register."""
        (self.chip.ap_write if request & AP else self.chip.dp_write)(request & 0xC, value)
