# SPDX-License-Identifier: Apache-2.0
"""What the bootloader executes on its way to a verdict, and the faults that follow from it.

The trace is QEMU's own (one line for each instruction). The cryptography is Zig's and has millions of them: of it, each
instruction is taken once in each verification; of all else, each is taken at its first, second and last time, and at a
few between. A time is told as the n-th one after a function was entered, which is soon reached.
"""

from __future__ import annotations

import bisect
import random
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fault_bench import Fault
from fault_images import Machine

TRACE_LINE = re.compile(rb"Trace \d+: 0x[0-9a-f]+ \[[0-9a-f]+/([0-9a-f]+)/")
ASSEMBLY_LINE = re.compile(rb"^0x([0-9a-f]+):", re.MULTILINE)
LIBRARY = re.compile(r"\.Lcrypto|OUTLINED_FUNCTION|mem(cpy|set|move|cmp)$|__(aeabi|mul|div|udiv|umod|ashl|lshr|ashr)")
VERIFY = "ed25519_verify"  # of the library, this one is traced as C is: it decides
TIMES_MAX = 6  # of one instruction in one boot
SYMBOL_BYTES = 16
FUNCTION = 2


@dataclass(frozen=True)
class Function:
    """A function of the bootloader."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Place:
    """One execution of one instruction: the `hit`-th after the `count`-th entry to the function at `anchor`."""

    address: int
    anchor: int
    count: int
    hit: int


def functions(elf: Path, thumb: bool) -> list[Function]:
    """All named functions of a 32-bit little-endian ELF file, in address order."""
    raw = elf.read_bytes()
    table, (size, count) = struct.unpack_from("<I", raw, 32)[0], struct.unpack_from("<HH", raw, 46)
    sections = [struct.unpack_from("<10I", raw, table + i * size) for i in range(count)]
    found = []
    for _, kind, _, _, offset, length, link, *_ in sections:
        for at in range(offset, offset + length, SYMBOL_BYTES) if kind == 2 else ():
            name, value, extent, info = struct.unpack_from("<IIIB", raw, at)
            if info & 15 == FUNCTION:
                start = sections[link][4] + name
                text = raw[start : raw.index(b"\0", start)].decode("ascii", "replace")
                value &= ~1 if thumb else ~0
                found.append(Function(text, value, value + extent))
    return sorted(found, key=lambda function: function.start)


def is_library(name: str) -> bool:
    """Zig's part: cryptography, and what compilers call for copies and arithmetic."""
    return LIBRARY.match(name) is not None


def ranges(wanted: Iterable[Function]) -> str:
    """The functions as QEMU's -dfilter takes them, neighbours joined."""
    joined: list[list[int]] = []
    for function in wanted:
        if joined and function.start - joined[-1][1] <= 4:
            joined[-1][1] = max(joined[-1][1], function.end)
        else:
            joined.append([function.start, function.end])
    return ",".join(f"{start:#x}..{end - 1:#x}" for start, end in joined)


def read_trace(log: Path, start: int) -> list[int]:
    """The addresses in order, from the last time that `start` was reached."""
    addresses = [int(match[1], 16) for match in TRACE_LINE.finditer(log.read_bytes())]
    last = len(addresses) - 1 - addresses[::-1].index(start)
    return addresses[last:]


def read_assembly(log: Path) -> list[int]:
    """Addresses of all instructions that were translated, which is: executed, but for the end of a block at a fault."""
    return sorted({int(match[1], 16) for match in ASSEMBLY_LINE.finditer(log.read_bytes())})


class Plan:
    """The faults that one boot offers."""

    def __init__(self, trace: list[int], named: list[Function], payload: bytes, base: int, machine: Machine) -> None:
        self._named, self._machine = named, machine
        self._starts = [function.start for function in named]
        self._payload, self._base = payload, base
        self._times: dict[int, list[int]] = defaultdict(list)
        for position, address in enumerate(trace):
            self._times[address].append(position)
        self._entries = [address for address in self._starts if address in self._times]
        self._verify = next(function.start for function in named if function.name == VERIFY)

    def name(self, address: int) -> str:
        """The function that holds this address."""
        index = bisect.bisect(self._starts, address) - 1
        return self._named[index].name if index >= 0 else "?"

    def code(self, address: int) -> bytes:
        """The instruction there."""
        at = address - self._base
        return self._payload[at : at + self._machine.size(self._payload[at : at + 2])]

    def addresses(self) -> list[int]:
        """All instructions that were executed."""
        return sorted(self._times)

    def _place(self, address: int, position: int) -> Place:
        """How to get there with the fewest stops."""
        times = self._times[address]
        best = Place(address, 0, 0, bisect.bisect(times, position))
        for entry in self._entries:
            count = bisect.bisect_left(self._times[entry], position)
            if count == 0 or entry == address:
                continue
            since = self._times[entry][count - 1]
            hit = bisect.bisect(times, position) - bisect.bisect(times, since)
            if count + hit < best.count + best.hit:
                best = Place(address, entry, count, hit)
        return best

    def places(self) -> Iterator[Place]:
        """Each instruction at its first, second and last time, and at some between."""
        for address in self.addresses():
            times = self._times[address]
            chosen = {0, 1, len(times) - 1, *range(0, len(times), max(1, len(times) // (TIMES_MAX - 2)))}
            for index in sorted(chosen & set(range(len(times)))):
                yield self._place(address, times[index])

    def library_places(self, addresses: Iterable[int]) -> Iterator[Place]:
        """Each of these instructions at its first time, and at its first in each verification."""
        verifications = len(self._times[self._verify])
        for address in addresses:
            yield Place(address, 0, 0, 1)
            yield from (Place(address, self._verify, count, 1) for count in range(1, verifications + 1))

    def skip(self, place: Place, lasting: bool = False) -> Fault:
        """The instruction does nothing."""
        code = self._machine.nop(len(self.code(place.address)))
        return Fault(place.address, code, place.anchor, place.count, place.hit, lasting)

    def flip(self, place: Place, bit: int) -> Fault:
        """One bit of the instruction is another one."""
        code = bytearray(self.code(place.address))
        code[bit // 8] ^= 1 << bit % 8
        return Fault(place.address, bytes(code), place.anchor, place.count, place.hit)

    def flips(self, place: Place, dice: random.Random, count: int) -> Iterator[Fault]:
        """Some of its bits, each by itself."""
        bits = 8 * len(self.code(place.address))
        for bit in dice.sample(range(bits), min(count, bits)):
            yield self.flip(place, bit)
