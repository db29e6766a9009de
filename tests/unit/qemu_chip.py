# SPDX-License-Identifier: Apache-2.0
"""A chip as a probe sees it, whose core, RAM and flash controller are QEMU's (`microbit`, an nRF51 with a Cortex-M0).

The debug registers of the core are a mock (`nrf_chip`), as are the probe and the access port: QEMU has none. What pyOCD
writes to memory is QEMU's memory; its flash algorithm is run by QEMU's core, on QEMU's model of the flash controller.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nrf_chip import NrfChip

from assay.drivers.flash.tool_program import _dies_with

SYSTEM = 0xE0000000
XPSR = 25
"""Its number in QEMU's description of an M-profile core for gdb."""
PC, LR, SP = 15, 14, 13
ALGORITHM_RAM = range(0x20000000, 0x20004000)
RUN_S = 30.0
PACKET_BYTES = 1024


class Gdb:
    """The far end of QEMU's gdb stub: packets with a checksum, acknowledged."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(RUN_S)
        self._socket.connect(str(path))
        self._received = b""

    def close(self) -> None:
        self._socket.close()

    def ask(self, text: str) -> str:
        """One packet and its answer."""
        self._socket.sendall(b"$" + text.encode() + b"#%02x" % (sum(text.encode()) & 0xFF))
        while True:
            start, end = self._received.find(b"$"), self._received.find(b"#")
            if 0 <= start < end and len(self._received) >= end + 3:
                answer = self._received[start + 1 : end].decode()
                self._received = self._received[end + 3 :]
                self._socket.sendall(b"+")
                return answer
            data = self._socket.recv(65536)
            assert data, "QEMU is gone"
            self._received += data


class QemuChip(NrfChip):
    """`ran` counts the calls of the flash algorithm."""

    def __init__(self, gdb: Gdb) -> None:
        super().__init__()
        self.words[0xE000ED00] = 0x410CC200  # CPUID of a Cortex-M0
        self._gdb, self.ran = gdb, 0

    def read32(self, address: int) -> int:
        if address >= SYSTEM:
            return super().read32(address)
        return int.from_bytes(bytes.fromhex(self._gdb.ask(f"m{address & ~3:x},4")), "little")

    def write32(self, address: int, value: int) -> None:
        if address >= SYSTEM:
            super().write32(address, value)
        else:
            assert self._gdb.ask(f"M{address & ~3:x},4:{value.to_bytes(4, 'little').hex()}") == "OK"

    def _sized(self, address: int, value: int) -> int:
        size = 1 << (self.csw & 3)
        data = (value >> 8 * (address & 3)).to_bytes(8, "little")[:size]
        if address >= SYSTEM or size == 4:
            self.write32(address, value)
        else:
            assert self._gdb.ask(f"M{address:x},{size:x}:{data.hex()}") == "OK"
        return 0

    def _run_algorithm(self) -> None:
        pc, back = self.registers.get(PC, 0) & ~1, self.registers.get(LR, 0) & ~1
        if pc not in ALGORITHM_RAM or back not in ALGORITHM_RAM:
            self.halted = False
            return
        for number, value in self.registers.items():
            if number <= PC:
                self._put(number, value & ~1 if number == PC else value)
        self._put(XPSR, 0x01000000)
        assert self._gdb.ask(f"Z1,{back:x},2") == "OK"
        assert self._gdb.ask("c").startswith("T05")
        assert self._gdb.ask(f"z1,{back:x},2") == "OK"
        for number in (0, 1, SP, PC):
            self.registers[number] = int.from_bytes(bytes.fromhex(self._gdb.ask(f"p{number:x}")), "little")
        self.words[0xE000ED30] = 2
        self.halted = True
        self.ran += 1

    def _put(self, number: int, value: int) -> None:
        assert self._gdb.ask(f"P{number:x}={value.to_bytes(4, 'little').hex()}") == "OK"

    def held(self, address: int, size: int) -> bytes:
        """What QEMU's memory has."""
        pieces = range(address, address + size, PACKET_BYTES)
        return b"".join(
            bytes.fromhex(self._gdb.ask(f"m{at:x},{min(PACKET_BYTES, address + size - at):x}")) for at in pieces
        )


def _connected(path: Path) -> Gdb:
    """QEMU makes the socket, and listens a moment later."""
    for _ in range(600):
        with suppress(OSError):
            return Gdb(path)
        time.sleep(0.05)
    return Gdb(path)


@contextmanager
def qemu_chip(folder: Path) -> Iterator[QemuChip]:
    """The machine, stopped at its first instruction, until the block is left."""
    path = folder / "gdb"
    words = ["-M", "microbit", "-S", "-display", "none", "-monitor", "none", "-serial", "none"]
    words += ["-chardev", f"socket,path={path},server=on,wait=off,id=g", "-gdb", "chardev:g"]
    with subprocess.Popen(["qemu-system-arm", *words], preexec_fn=_dies_with(os.getpid())) as process:
        gdb = None
        try:
            gdb = _connected(path)
            gdb.ask("qSupported:xmlRegisters=arm")
            gdb.ask("qXfer:features:read:target.xml:0,ffb")
            yield QemuChip(gdb)
        finally:
            if gdb is not None:
                gdb.close()
            process.kill()
