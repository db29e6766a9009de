# SPDX-License-Identifier: Apache-2.0
"""QEMU's trace of a flash model, as the operations that the firmware ordered: exact, in order, to the byte.

Guards: what is read is whole: a line that is not understood is an error, not a gap. The trace and not the file is what
the chip did: `m25p80` writes its file behind the guest's back.
Leaves to others: the rules of NOR (`simulation.nor_flash`) and starting QEMU (`recorder`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.errors import InfrastructureError
from assay.simulation.nor_flash import Erase, Operation, Program

EVENTS: dict[str, tuple[str, ...]] = {
    "mtd": ("m25p80_flash_erase", "m25p80_page_program", "m25p80_command_decoded"),
    "pflash": (
        "pflash_write_block_erase",
        "pflash_write_block_start",
        "pflash_data_write_block",
        "pflash_write_block_flush",
        "pflash_write_block_abort",
    ),
}
"""Trace events by `twin.flash_interface` of the board's TOML."""

ORACLES: dict[str, tuple[str, ...]] = {"mtd": ("m25p80_programming_zero_to_one",), "pflash": ()}
"""Events that must never come: a program that wants a bit set that is clear. `pflash` has none: it overwrites."""

_LINE = re.compile(r"(?:\d+@\d+\.\d+:)?(\w+) (.*)")
_BYTE = re.compile(r"m25p80_page_program \[\w+\] page program cur_addr=(0x[0-9a-f]+) data=(0x[0-9a-f]+)$")
_WORD = re.compile(r"data offset:(0x[0-9a-f]+) size:(\d) value:(0x[0-9a-f]+)")


class FlashTrace:
    """Reads a trace as it grows. `operations` are complete up to the last answer of the unit, which is behind them."""

    def __init__(self, interface: str) -> None:
        self._reader: _SpiReader | _CfiReader = _SpiReader() if interface == "mtd" else _CfiReader()
        self._oracles = ORACLES[interface]
        self._rest = ""
        self.operations: list[Operation] = []
        self.hits: list[str] = []
        """Lines by which QEMU itself says that bits were programmed that were not erased."""

    def feed(self, text: str) -> None:
        """Take in what was added. Raises InfrastructureError for a line that is none of `EVENTS` or `ORACLES`."""
        *lines, self._rest = (self._rest + text).split("\n")
        reader = self._reader
        for line in lines:
            if reader.take_quickly(line):
                continue
            match = _LINE.match(line)
            if match is None:
                raise _strange(line)
            if match[1] in self._oracles:
                self.hits.append(line)
            else:
                self.operations += reader.take(match[1], match[2])
                reader.take_quickly(line)

    def end(self) -> None:
        """Nothing more comes: the power was cut."""
        self.operations += self._reader.end()


class _SpiReader:
    """`m25p80`: a line for each programmed byte; a command that follows ends the page."""

    def __init__(self) -> None:
        self._address = 0
        self._data = bytearray()

    def take_quickly(self, line: str) -> bool:
        """Take a line of the kind that most are: the next byte of a page. False when it is none."""
        match = _BYTE.search(line)
        if match is None:
            return False
        address = int(match[1], 16)
        if not self._data:
            self._address = address
        elif address != self._address + len(self._data):
            return False
        self._data.append(int(match[2], 16))
        return True

    def take(self, event: str, text: str) -> Iterator[Operation]:
        """Any other line; a byte of another page ends the one before, and is then taken quickly."""
        yield from self.end()
        if event == "m25p80_flash_erase":
            yield Erase(_value(text, "offset"), _value(text, "len"))
        elif event not in EVENTS["mtd"]:
            raise _strange(f"{event} {text}")

    def end(self) -> Iterator[Operation]:
        """The page is complete."""
        data, self._data = bytes(self._data), bytearray()
        if data:
            yield Program(self._address, data)


class _CfiReader:
    """`pflash_cfi01`: words into the chip's buffer, which the flush programs at once."""

    def __init__(self) -> None:
        self._words: list[tuple[int, bytes]] = []

    def take_quickly(self, line: str) -> bool:
        """Take a line of the kind that most are: a word for the buffer. False when it is none."""
        match = _WORD.search(line)
        if match is None:
            return False
        self._words.append((int(match[1], 16), int(match[3], 16).to_bytes(int(match[2]), "little")))
        return True

    def take(self, event: str, text: str) -> Iterator[Operation]:
        """Any other line."""
        if event == "pflash_write_block_abort":
            self._words.clear()
            return
        yield from self.end()
        if event == "pflash_write_block_erase":
            yield Erase(_value(text, "offset"), _value(text, "bytes"))
        elif event not in EVENTS["pflash"]:
            raise _strange(f"{event} {text}")

    def end(self) -> Iterator[Operation]:
        """The buffer is programmed; words that do not follow each other are operations of their own."""
        words, self._words = self._words, []
        address, data = 0, bytearray()
        for at, word in words:
            if data and at != address + len(data):
                yield Program(address, bytes(data))
                data.clear()
            address = address if data else at
            data += word
        if data:
            yield Program(address, bytes(data))


def _value(text: str, name: str) -> int:
    """The number behind `name` (`offset = 0x10`, `bytes:0x40`, `cur_addr=0x1`)."""
    match = re.search(rf"{name}\s*[=:]\s*(0x[0-9a-f]+|\d+)", text)
    if match is None:
        raise _strange(text)
    return int(match[1], 0)


def _strange(text: str) -> InfrastructureError:
    return InfrastructureError(
        f"QEMU's trace says {text[:80]!r}", remedy="use a QEMU that docs/reference/powercut names"
    )
