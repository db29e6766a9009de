# SPDX-License-Identifier: Apache-2.0
"""A mock of an nRF52840 as a debug probe sees it: debug port, access ports, memory, and flash behind its controller.

Written after Arm's ADIv5 and ARMv7-M manuals and Nordic's product specification. There is no core in it: code is not
run. pyOCD's flash algorithm is the one exception: when the core is started at one of its entries, the mock does what it
would do. `serve_bits` is OpenOCD's remote_bitbang (JTAG, bit by bit); `serve_words` is for the plug-in probe of pyOCD.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

FLASH, PAGE, RAM = 1 << 20, 0x1000, 1 << 18
RAM_BASE, FICR, NVMC = 0x20000000, 0x10000000, 0x4001E000
DHCSR, DCRSR, DCRDR, DEMCR, AIRCR, DFSR = 0xE000EDF0, 0xE000EDF4, 0xE000EDF8, 0xE000EDFC, 0xE000ED0C, 0xE000ED30
PC, LR = 15, 14
ALGORITHM = {0x20000020: "init", 0x20000028: "erase all", 0x20000048: "erase", 0x20000070: "program"}
"""pyOCD's entries for this chip (`target_nRF52840_xxAA`)."""


class NrfChip:
    """`part` is what FICR says; `locked` APPROTECT; `worn` an address whose byte stays 0. `resets` are counted. After
    `gone_after` more accesses to memory somebody pulls the cable.
    """

    def __init__(self, unique: int = 0x0123456789ABCDEF, part: int = 0x52840, locked: bool = False) -> None:
        self.flash, self.ram = bytearray(b"\xff" * FLASH), bytearray(RAM)
        self.worn: int | None = None
        self.locked, self.resets, self.erased_all = locked, 0, 0
        self.gone_after: int | None = None
        self.words = {
            0xE000ED00: 0x410FC241,
            FICR + 0x10: PAGE,
            FICR + 0x14: FLASH // PAGE,
            FICR + 0x60: unique & 0xFFFFFFFF,
            FICR + 0x64: unique >> 32,
            FICR + 0x100: part,
            FICR + 0x104: 0x41414430,
            FICR + 0x108: 0x2004,
            FICR + 0x10C: RAM // 1024,
            FICR + 0x110: FLASH // 1024,
            NVMC + 0x400: 1,
            NVMC + 0x408: 1,
            0xE00FFFF0: 0x0D, 0xE00FFFF4: 0x10, 0xE00FFFF8: 0x05, 0xE00FFFFC: 0xB1,
            0xE00FF000: 0xFFF0F003, 0xE00FF004: 0xFFF02003, 0xE00FF008: 0xFFF03003,
        }  # fmt: skip
        for base, low in ((0xE000E000, 0x0C), (0xE0001000, 0x02), (0xE0002000, 0x03)):  # SCS, DWT, FPB
            self.words |= {base + 0xFE0: low, base + 0xFE4: 0xB0, base + 0xFE8: 0x0B, base + 0xFD0: 0x04}
            self.words |= {base + 0xFF0: 0x0D, base + 0xFF4: 0xE0, base + 0xFF8: 0x05, base + 0xFFC: 0xB1}
        self.words[0xE0002000] = 0x60 | 0x1000000  # FPB: six comparators
        self.registers: dict[int, int] = {}
        self.halted, self.was_reset = False, False
        self.select = self.control = self.read_buffer = 0
        self.csw, self.tar = 0x23000042, 0
        self._lock = threading.RLock()

    # ---- memory

    def read32(self, address: int) -> int:
        address &= ~3
        if address + 4 <= FLASH:
            return int.from_bytes(self.flash[address : address + 4], "little")
        if RAM_BASE <= address < RAM_BASE + RAM:
            at = address - RAM_BASE
            return int.from_bytes(self.ram[at : at + 4], "little")
        if address == DHCSR:
            was, self.was_reset = self.was_reset, False
            return self.words.get(DHCSR, 0) & 0xFFFF | 1 << 16 | self.halted << 17 | was << 25
        if FICR <= address < FICR + 0x2000:
            return self.words.get(address, 0xFFFFFFFF)
        return self.words.get(address, 0)

    def write32(self, address: int, value: int) -> None:
        address &= ~3
        if address + 4 <= FLASH:
            self._program(address, value.to_bytes(4, "little"))
        elif RAM_BASE <= address < RAM_BASE + RAM:
            self.ram[address - RAM_BASE : address - RAM_BASE + 4] = value.to_bytes(4, "little")
        elif address == DHCSR:
            self._control(value)
        elif address == DCRSR:
            self._transfer(value)
        elif address == AIRCR:
            self._reset(value)
        elif address == NVMC + 0x508 and self.words.get(NVMC + 0x504) == 2:
            self._erase(value)
        elif address == DFSR:
            self.words[DFSR] = self.words.get(DFSR, 0) & ~value
        else:
            self.words[address] = value

    def _program(self, address: int, data: bytes) -> None:
        if self.words.get(NVMC + 0x504) != 1:
            return
        for at, byte in enumerate(data, address):
            self.flash[at] &= byte
            if at == self.worn:
                self.flash[at] = 0

    def _erase(self, address: int) -> None:
        start = address // PAGE * PAGE
        self.flash[start : start + PAGE] = b"\xff" * PAGE

    def _control(self, value: int) -> None:
        if value >> 16 != 0xA05F:
            return
        self.words[DHCSR] = value & 0xFFFF
        if value & 2:
            self.words[DFSR] = self.words.get(DFSR, 0) | (0 if self.halted else 1)
            self.halted = True
        elif self.halted and value & 1:
            self._run_algorithm()
        else:
            self.halted = False

    def _run_algorithm(self) -> None:
        entry = ALGORITHM.get(self.registers.get(PC, 0) & ~1)
        if entry is None or self.read32(RAM_BASE) != 0xE00ABE00:
            self.halted = False
            return
        one, two, three = (self.registers.get(each, 0) for each in range(3))
        if entry == "erase":
            self._erase(one)
        elif entry == "erase all":
            self.flash[:] = b"\xff" * FLASH
        elif entry == "program":
            self.words[NVMC + 0x504] = 1
            self._program(one, bytes(self.ram[three - RAM_BASE : three - RAM_BASE + two]))
            self.words[NVMC + 0x504] = 0
        self.registers[0], self.registers[PC] = 0, self.registers.get(LR, 0) & ~1
        self.words[DFSR] = 2
        self.halted = True

    def _transfer(self, value: int) -> None:
        number = value & 0x7F
        if value & 1 << 16:
            self.registers[number] = self.words.get(DCRDR, 0)
        else:
            self.words[DCRDR] = self.registers.get(number, 1 << 24 if number == 16 else 0)

    def _reset(self, value: int) -> None:
        if value >> 16 == 0x05FA and value & 5:
            self.resets += 1
            self.was_reset = True
            self.words[NVMC + 0x504] = 0
            self.halted = bool(self.words.get(DEMCR, 0) & 1)
            self.registers = {PC: self.read32(4) & ~1, 13: self.read32(0)}
            if self.halted:
                self.words[DFSR] = self.words.get(DFSR, 0) | 8

    # ---- debug port and access ports

    def dp_read(self, address: int) -> int:
        bank = self.select & 0xF
        if address == 4:
            wanted = self.control
            acks = (wanted & 1 << 30) << 1 | (wanted & 1 << 28) << 1 | (wanted & 1 << 26) << 1
            return {0: wanted & ~(1 << 27 | 1 << 29 | 1 << 31) | acks}.get(bank, 0)
        return {0: 0x2BA01477, 0xC: self.read_buffer}.get(address, 0)

    def dp_write(self, address: int, value: int) -> None:
        if address == 4:
            self.control = value
        elif address == 8:
            self.select = value

    def ap_read(self, address: int) -> int:
        number, register = self.select >> 24, self.select & 0xF0 | address & 0xC
        if number == 1:
            return {0xFC: 0x02880000, 0x0C: 0 if self.locked else 1}.get(register, 0)
        if number != 0:
            return 0
        if register == 0xC:
            return self._memory(lambda at: self.read32(at))
        if 0x10 <= register < 0x20:
            return self.read32(self.tar & ~0xF | register & 0xC)
        return {0: self.csw | 0x40, 4: self.tar, 0xF4: 0, 0xF8: 0xE00FF003, 0xFC: 0x24770011}.get(register, 0)

    def ap_write(self, address: int, value: int) -> None:
        number, register = self.select >> 24, self.select & 0xF0 | address & 0xC
        if number == 1 and register == 4 and value:
            self.erased_all += 1
            self.flash[:] = b"\xff" * FLASH
            self.locked = False
        if number != 0:
            return
        if register == 0:
            self.csw = value
        elif register == 4:
            self.tar = value
        elif register == 0xC:
            self._memory(lambda at: self._sized(at, value))
        elif 0x10 <= register < 0x20:
            self.write32(self.tar & ~0xF | register & 0xC, value)

    def _memory(self, act: Callable[[int], int | None]) -> int:
        if self.gone_after is not None:
            self.gone_after -= 1
            if self.gone_after < 0:
                raise ConnectionError("the cable was pulled")
        if self.locked:
            return 0
        result = act(self.tar) or 0
        if self.csw >> 4 & 3:
            self.tar = self.tar & ~0xFFF | self.tar + (1 << (self.csw & 3)) & 0xFFF  # 4 KiB on a Cortex-M4
        return result

    def _sized(self, address: int, value: int) -> int:
        size = 1 << (self.csw & 3)
        if size == 4:
            self.write32(address, value)
            return 0
        shift, mask = 8 * (address & 3), (1 << 8 * size) - 1
        old = self.read32(address)
        if address + 4 <= FLASH:
            self._program(address, (value >> shift & mask).to_bytes(size, "little"))
        else:
            self.write32(address, old & ~(mask << shift) | value & mask << shift)
        return 0

    # ---- the two ways in

    def words_of(self, asked: bytes) -> bytes:
        """Answers one request of the plug-in: kind, address, value or count."""
        kind, address, value = struct.unpack_from("<cBI", asked)
        with self._lock:
            if kind == b"r":
                return struct.pack("<I", self.dp_read(address))
            if kind == b"R":
                return b"".join(struct.pack("<I", self.ap_read(address)) for _ in range(value))
            if kind == b"w":
                self.dp_write(address, value)
            elif kind == b"W":
                for word in struct.unpack_from(f"<{value}I", asked, 6):
                    self.ap_write(address, word)
            return b""


_STATES = {
    "reset": ("idle", "reset"), "idle": ("idle", "dr?"), "dr?": ("dr-capture", "ir?"), "ir?": ("ir-capture", "reset"),
    "dr-capture": ("dr-shift", "dr-exit1"), "dr-shift": ("dr-shift", "dr-exit1"), "dr-exit1": ("dr-pause", "dr-update"),
    "dr-pause": ("dr-pause", "dr-exit2"), "dr-exit2": ("dr-shift", "dr-update"), "dr-update": ("idle", "dr?"),
    "ir-capture": ("ir-shift", "ir-exit1"), "ir-shift": ("ir-shift", "ir-exit1"), "ir-exit1": ("ir-pause", "ir-update"),
    "ir-pause": ("ir-pause", "ir-exit2"), "ir-exit2": ("ir-shift", "ir-update"), "ir-update": ("idle", "dr?"),
}  # fmt: skip
"""IEEE 1149.1, figure 6-1: where TMS = 0 and TMS = 1 lead."""
IDCODE, OK = 0x4BA00477, 2
_LENGTHS = {0xE: 32, 0xA: 35, 0xB: 35, 0x8: 35}


class _JtagDp:
    """A TAP with Arm's JTAG debug port (ADIv5 B3): each scan gives the result of the one before."""

    def __init__(self, chip: NrfChip) -> None:
        self.chip, self.state, self.instruction, self.clock = chip, "reset", 0xE, 0
        self._register, self._length, self._result = 0, 1, 0

    @property
    def tdo(self) -> int:
        return self._register & 1

    def step(self, clock: int, tms: int, tdi: int) -> None:
        rising, self.clock = clock and not self.clock, clock
        if not rising:
            return
        if self.state in ("dr-shift", "ir-shift"):
            self._register = self._register >> 1 | tdi << (self._length - 1)
        self.state = _STATES[self.state][tms]
        if self.state == "reset":
            self.instruction = 0xE
        elif self.state == "ir-capture":
            self._register, self._length = 1, 4
        elif self.state == "ir-update":
            self.instruction = self._register
        elif self.state == "dr-capture":
            self._length = _LENGTHS.get(self.instruction, 1)
            self._register = {0xE: IDCODE, 0xA: self._result << 3 | OK, 0xB: self._result << 3 | OK}.get(
                self.instruction, 0
            )
        elif self.state == "dr-update" and self.instruction in (0xA, 0xB):
            self._access(self._register)

    def _access(self, scanned: int) -> None:
        read, address, value = scanned & 1, (scanned >> 1 & 3) << 2, scanned >> 3
        chip, ap = self.chip, self.instruction == 0xB
        if read:
            if not ap and address == 0xC:
                return  # RDBUFF: the result stays as it is
            self._result = chip.ap_read(address) if ap else chip.dp_read(address)
        elif ap:
            chip.ap_write(address, value)
        else:
            chip.dp_write(address, value)


@contextmanager
def serve_bits(chip: NrfChip) -> Iterator[int]:
    """OpenOCD's remote_bitbang on a TCP port of loopback; one client at a time."""

    def talk(client: socket.socket) -> None:
        tap = _JtagDp(chip)
        while data := client.recv(65536):
            answer = bytearray()
            for char in data:
                if 0x30 <= char <= 0x37:
                    tap.step(char >> 2 & 1, char >> 1 & 1, char & 1)
                elif char == 0x52:
                    answer.append(0x30 + tap.tdo)
                elif char == 0x51:
                    return
            if answer:
                client.sendall(answer)

    with _served(talk) as port:
        yield port


@contextmanager
def serve_words(chip: NrfChip) -> Iterator[int]:
    """For the plug-in probe: requests with their length before them."""

    def talk(client: socket.socket) -> None:
        with client.makefile("rwb") as link:
            while head := link.read(4):
                (size,) = struct.unpack("<I", head)
                answer = chip.words_of(link.read(size))
                if answer:
                    link.write(answer)
                    link.flush()

    with _served(talk) as port:
        yield port


@contextmanager
def _served(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    server = socket.create_server(("127.0.0.1", 0))
    clients: list[socket.socket] = []

    def run() -> None:
        with suppress(OSError):
            while True:
                client = server.accept()[0]
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients.append(client)
                with suppress(OSError), client:
                    talk(client)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        for each in (server, *clients):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        thread.join(5)
