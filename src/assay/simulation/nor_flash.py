# SPDX-License-Identifier: Apache-2.0
"""A NOR flash chip as a value that operations are applied to, one after the other.

Guards: programming clears bits and never sets one; an operation that asks for more, or that leaves the chip, is a
`NorFault`, a fault of the firmware that ordered it. Sectors that are erased take no memory: a chip of 32 MiB is as
cheap as what it holds.
Leaves to others: what a power cut leaves of an operation (`torn_flash`). No file and no clock here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

ERASED = 0xFF


class NorFault(Exception):
    """An operation that no NOR flash can do: which, and where. Not an `AssayError`, since whoever replays judges it."""


@dataclass(frozen=True)
class Erase:
    """Erase `size` bytes from `address` on."""

    address: int
    size: int

    @property
    def words(self) -> str:
        """For reports."""
        return f"erase {self.address:#x}+{self.size:#x}"


@dataclass(frozen=True)
class Program:
    """Program `data` from `address` on."""

    address: int
    data: bytes

    @property
    def size(self) -> int:
        """Bytes that it covers."""
        return len(self.data)

    @property
    def words(self) -> str:
        """For reports."""
        return f"program {self.address:#x}+{self.size:#x}"


Operation = Erase | Program


class NorFlash:
    """`size` and `sector_size` in bytes. `sectors` holds what is not erased, by the sector's number."""

    def __init__(self, size: int, sector_size: int, sectors: dict[int, bytes] | None = None) -> None:
        self.size = size
        self.sector_size = sector_size
        self._blank = bytes([ERASED]) * sector_size
        self._sectors = dict(sectors or {})

    @classmethod
    def of_content(cls, content: bytes, sector_size: int) -> NorFlash:
        """A chip that holds `content`, a whole number of sectors."""
        chip = cls(len(content), sector_size)
        for address in range(0, len(content), sector_size):
            chip.write(address, content[address : address + sector_size])
        return chip

    def copy(self) -> NorFlash:
        """The same content, on its own."""
        return NorFlash(self.size, self.sector_size, self._sectors)

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes from `address` on."""
        self._check_inside(address, size)
        first, last = address // self.sector_size, (address + size - 1) // self.sector_size
        joined = b"".join(self._sectors.get(number, self._blank) for number in range(first, last + 1))
        start = address - first * self.sector_size
        return joined[start : start + size]

    def write(self, address: int, data: bytes) -> None:
        """Set what the chip holds, whatever it held: no operation of a chip, but what somebody made of it."""
        self._check_inside(address, len(data))
        while data:
            number, start = divmod(address, self.sector_size)
            part = data[: self.sector_size - start]
            old = self._sectors.get(number, self._blank)
            self._put(number, old[:start] + part + old[start + len(part) :])
            address, data = address + len(part), data[len(part) :]

    def apply(self, operation: Operation) -> None:
        """Do all of `operation`. Raises `NorFault`."""
        self.write(operation.address, self.after(operation))

    def after(self, operation: Operation) -> bytes:
        """What the range of `operation` holds when it is done. Raises `NorFault`."""
        old = self.read(operation.address, operation.size)
        if isinstance(operation, Erase):
            if operation.address % self.sector_size or operation.size % self.sector_size:
                raise NorFault(f"{operation.words} does not lie on sectors of {self.sector_size:#x} bytes")
            return bytes([ERASED]) * operation.size
        data = operation.data
        new = masked(old, data)
        if new != data:
            at = next(index for index, byte in enumerate(data) if new[index] != byte)
            raise NorFault(
                f"{operation.words} wants {data[at]:#04x} at {operation.address + at:#x}, which holds {old[at]:#04x}: "
                "programmed without erase"
            )
        return new

    def sectors(self) -> dict[int, bytes]:
        """What is not erased, by the sector's number."""
        return dict(self._sectors)

    def ranges(self, areas: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, bytes]]:
        """Address and content of each of `areas` (address, size)."""
        for address, size in areas:
            yield address, self.read(address, size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NorFlash) and (self.size, self._sectors) == (other.size, other._sectors)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def _put(self, number: int, content: bytes) -> None:
        if content == self._blank:
            self._sectors.pop(number, None)
        else:
            self._sectors[number] = content

    def _check_inside(self, address: int, size: int) -> None:
        if address < 0 or size < 1 or address + size > self.size:
            raise NorFault(f"{size} bytes at {address:#x} do not lie within a chip of {self.size:#x} bytes")


def masked(old: bytes, data: bytes) -> bytes:
    """`old AND data`, of equal length."""
    both = int.from_bytes(old, "little") & int.from_bytes(data, "little")
    return both.to_bytes(len(old), "little")
