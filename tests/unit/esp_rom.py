# SPDX-License-Identifier: Apache-2.0
"""A mock of the loader in an ESP32-C3's ROM, and of esptool's flasher stub, on a pseudo-terminal.

Written after Espressif's documentation of the serial protocol; the real esptool and espefuse talk to it. Nothing of a
chip is in it but its flash (NOR: erased to ff, written by AND), a few registers and eFuse words.
"""

from __future__ import annotations

import hashlib
import os
import select
import struct
import threading
import tty
import zlib
from contextlib import suppress

END, ESC = 0xC0, 0xDB
CHIP_ID_C3 = 5
XTS_KEY = 4
"""KEY_PURPOSE_0 of a chip with flash encryption."""
CIPHER = 0x5A
"""What the mock's encryption is: an exclusive or."""
EFUSE, SPI = 0x60008800, 0x60002000
BLOCK0, MAC = EFUSE + 0x2C, EFUSE + 0x44
FLASH_BYTES = 4 << 20
STUB_READ_BLOCK = 0x1000

FLASHER = """
[[flashers]]
driver = "esptool"
kind = "ESP32-C3"
addresses = { app = 0x10000, bootloader = 0x0 }
memory = [{ base = 0, size = 0x400000 }]
options = { chip = "esp32c3", before = "no-reset", after = "no-reset" MORE }
"""
"""Of a board with such a chip, at a port whose lines reset nothing; `MORE` is for more options."""


class EspRom:
    """`crypt_cnt` is SPI_BOOT_CRYPT_CNT; `wears` an address whose byte stays 0 (`lies_about_md5`: and the chip tells
    the hash of what was meant); after `mute_after` commands it says no more.
    """

    def __init__(
        self, mac: str = "60:55:f9:01:02:03", crypt_cnt: int = 0, secure_boot: bool = False, wears: int | None = None,
        mute_after: int | None = None, chip_id: int = CHIP_ID_C3, lies_about_md5: bool = False,
    ) -> None:  # fmt: skip
        self.flash = bytearray(b"\xff" * FLASH_BYTES)
        self.wears, self.mute_after, self.chip_id, self.lies = wears, mute_after, chip_id, lies_about_md5
        self.crypt_cnt, self.commands = crypt_cnt, []
        raw = bytes.fromhex(mac.replace(":", ""))
        self.registers = {
            MAC: int.from_bytes(raw[2:], "big"),
            MAC + 4: int.from_bytes(raw[:2], "big"),
            BLOCK0 + 8: (crypt_cnt & 7) << 18 | (XTS_KEY << 24 if crypt_cnt else 0),
            BLOCK0 + 12: int(secure_boot) << 20,
        }
        self._stub = False
        self._write: list[int] = [0, 0]
        self._begun, self.meant, self._cipher = 0, {0: b""}, 0
        self._inflate: zlib._Decompress | None = None
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.port = os.ttyname(self._theirs)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> EspRom:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        os.close(self._ours)
        os.close(self._theirs)

    def _run(self) -> None:
        packet, escaped, inside = bytearray(), False, False
        while not self._stop.is_set():
            if not select.select([self._ours], [], [], 0.05)[0]:
                continue
            with suppress(OSError):
                for byte in os.read(self._ours, 65536):
                    if byte == END:
                        if inside and packet:
                            self._packet(bytes(packet))
                        packet, inside, escaped = bytearray(), True, False
                    elif escaped:
                        packet.append({0xDC: END, 0xDD: ESC}.get(byte, byte))
                        escaped = False
                    elif byte == ESC:
                        escaped = True
                    else:
                        packet.append(byte)

    def _send(self, data: bytes) -> None:
        framed = data.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        data = b"\xc0" + framed + b"\xc0"
        while data:
            data = data[os.write(self._ours, data) :]

    def _answer(self, op: int, value: int = 0, data: bytes = b"", error: int = 0) -> None:
        status = bytes((1, error)) if error else b"\0\0"
        data += status if self._stub else status + b"\0\0"
        self._send(struct.pack("<BBHI", 1, op, len(data), value) + data)

    def _packet(self, raw: bytes) -> None:
        if len(raw) == 4 and self._stub:  # an acknowledgement of what was read
            return
        _zero, op, size, checksum = struct.unpack_from("<BBHI", raw)
        self.commands.append(op)
        if self.mute_after is not None and len(self.commands) > self.mute_after:
            return
        body = raw[8 : 8 + size]
        act = getattr(self, f"_op_{op:02x}", None)
        if act is None:
            self._answer(op, error=5)
        elif op in (0x03, 0x07, 0x11) and self._sum(body[16:]) != checksum:
            self._answer(op, error=7)
        else:
            act(op, body)

    @staticmethod
    def _sum(data: bytes) -> int:
        state = 0xEF
        for byte in data:
            state ^= byte
        return state

    def _op_08(self, op: int, body: bytes) -> None:  # sync
        self._stub = False if self.commands == [op] else self._stub
        for _ in range(8):
            self._answer(op, value=0 if self._stub else 0x20120707)

    def _op_0a(self, op: int, body: bytes) -> None:  # read a register
        (address,) = struct.unpack("<I", body)
        self._answer(op, value=self.registers.get(address, 0))

    def _op_09(self, op: int, body: bytes) -> None:  # write a register; SPI commands are done at once
        for at in range(0, len(body), 16):
            address, value, _mask, _delay = struct.unpack_from("<4I", body, at)
            self.registers[address] = value
            if address == SPI and value:
                command = self.registers.get(SPI + 0x20, 0) & 0xFF
                self.registers[SPI + 0x58] = {0x9F: 0x1640EF}.get(command, 0)
                self.registers[SPI] = 0
        self._answer(op)

    def _op_14(self, op: int, body: bytes) -> None:  # security info
        secure_boot = self.registers[BLOCK0 + 12] >> 20 & 1
        info = struct.pack("<IB7sII", secure_boot, self.crypt_cnt, bytes(7), self.chip_id, 4)
        self._answer(op, data=info)

    def _op_0d(self, op: int, body: bytes) -> None:  # attach, set parameters, change the baud rate
        self._answer(op)

    _op_0b = _op_0f = _op_0d

    def _op_05(self, op: int, body: bytes) -> None:  # RAM: the stub goes there
        self._answer(op)

    _op_07 = _op_05

    def _op_06(self, op: int, body: bytes) -> None:
        self._answer(op)
        self._stub = True
        self._send(b"OHAI")

    def _op_02(self, op: int, body: bytes) -> None:  # begin to write
        size, _blocks, _block, offset, *encrypted = struct.unpack(f"<{len(body) // 4}I", body)
        self._cipher = CIPHER if any(encrypted) else 0
        end = -(-(offset + size) // 0x1000) * 0x1000
        start = offset // 0x1000 * 0x1000
        self.flash[start:end] = b"\xff" * (end - start)
        self._write, self._inflate = [offset, offset + size], None
        self._begun, self.meant[offset] = offset, b""
        self._answer(op)

    def _op_10(self, op: int, body: bytes) -> None:
        self._op_02(op, body)
        self._inflate = zlib.decompressobj()

    def _op_03(self, op: int, body: bytes) -> None:
        (size,) = struct.unpack_from("<I", body)
        self._program(body[16 : 16 + size])
        self._answer(op)

    def _op_11(self, op: int, body: bytes) -> None:
        assert self._inflate is not None
        (size,) = struct.unpack_from("<I", body)
        self._program(self._inflate.decompress(body[16 : 16 + size]))
        self._answer(op)

    def _op_04(self, op: int, body: bytes) -> None:
        self._answer(op)

    _op_12 = _op_d3 = _op_04

    def _program(self, data: bytes) -> None:
        at = self._write[0]
        for offset, byte in enumerate(data):
            if at + offset < FLASH_BYTES:
                self.flash[at + offset] &= byte ^ self._cipher
        if self.wears is not None and at <= self.wears < at + len(data):
            self.flash[self.wears] = 0
        self._write[0] += len(data)
        self.meant[self._begun] += data

    def _op_13(self, op: int, body: bytes) -> None:  # MD5 of flash
        address, size = struct.unpack_from("<2I", body)
        flash = bytes(self.flash[address : address + size])
        if self.lies and self.wears is not None and address <= self.wears < address + size:
            flash = self.meant.get(address, flash)[:size]
        digest = hashlib.md5(flash)
        self._answer(op, data=digest.digest() if self._stub else digest.hexdigest().encode())

    def _op_0e(self, op: int, body: bytes) -> None:  # the ROM's slow read
        (address,) = struct.unpack_from("<I", body)
        self._answer(op, data=bytes(self.flash[address : address + 64]))

    def _op_d2(self, op: int, body: bytes) -> None:  # the stub's read: packets, and the MD5 of all
        address, size, block, _window = struct.unpack_from("<4I", body)
        self._answer(op)
        data = bytes(self.flash[address : address + size])
        for at in range(0, size, block):
            self._send(data[at : at + block])
        self._send(hashlib.md5(data).digest())
