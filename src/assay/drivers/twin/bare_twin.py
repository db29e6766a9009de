# SPDX-License-Identifier: Apache-2.0
"""A twin for a moment: QEMU on a flash file of its own, its UART in our hands, its flash operations written down.

Guards: the chip's content is put into the file before power on and taken from the trace, never from a file that a kill
may have left behind the chip; a trace that does not lead to what the file holds after an exact cut is an error.
Leaves to others: twins that stay, with a port that anybody can open (`lifecycle`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.drivers.twin.emulator import Emulator, power_on
from assay.drivers.twin.flash_trace import EVENTS, ORACLES, FlashTrace
from assay.drivers.twin.machine import AIO_PORTABLE, Trace, machine_of
from assay.drivers.twin.uart_transport import UartTransport
from assay.errors import InfrastructureError, StorageError
from assay.simulation.nor_flash import ERASED, NorFlash, Operation

if TYPE_CHECKING:
    from assay.model.board import Board


@dataclass(frozen=True)
class Bench:
    """Where bare twins of one board are run: `rom` is the mask ROM's ELF, `folder` lies in memory if it can."""

    board: Board
    rom: Path
    folder: Path

    @property
    def flash(self) -> Path:
        """The flash file, used by one twin after the other."""
        return self.folder / "flash.bin"

    @property
    def trace(self) -> Path:
        """QEMU's trace."""
        return self.folder / "trace.log"

    @property
    def log(self) -> Path:
        """What QEMU said."""
        return self.folder / "qemu.log"

    @property
    def areas(self) -> tuple[tuple[int, int], ...]:
        """Address and size of each flash area, the only parts of the file that are ever written again."""
        return tuple((area.offset, area.size) for area in self.board.flash.areas.values())

    def put(self, chip: NorFlash, *, whole: bool = False) -> None:
        """Make the flash file hold `chip`; outside its areas only if `whole`. Raises StorageError."""
        try:
            if not self.flash.exists():
                self.flash.write_bytes(bytes([ERASED]) * self.board.flash.size)
            with self.flash.open("r+b") as file:
                for address, content in chip.ranges(((0, chip.size),) if whole else self.areas):
                    file.seek(address)
                    file.write(content)
        except OSError as error:
            raise StorageError(
                f"cannot write {self.flash}: {error.strerror}", remedy="free space there, or use fewer --jobs"
            ) from error

    def holds(self, address: int, data: bytes) -> bool:
        """True when the flash file holds `data` at `address`."""
        with self.flash.open("rb") as file:
            file.seek(address)
            return file.read(len(data)) == data

    def equals(self, chip: NorFlash) -> bool:
        """True when the areas of the flash file are those of `chip`."""
        return all(self.holds(address, content) for address, content in chip.ranges(self.areas))

    def content(self) -> NorFlash:
        """What the flash file holds."""
        return NorFlash.of_content(self.flash.read_bytes(), self.board.flash.erase_size)


class BareTwin:
    """A twin that has power until `cut` or `end`. `recorded`: its flash operations are traced, each byte of them."""

    def __init__(self, bench: Bench, chip: NorFlash, *, recorded: bool) -> None:
        self._bench = bench
        self._start = chip.copy()
        self._recorded = recorded
        interface = bench.board.twin.flash_interface if bench.board.twin else ""
        self._trace, self._read_up_to = FlashTrace(interface), 0
        events = ORACLES[interface] + (EVENTS[interface] if recorded else ())
        bench.trace.unlink(missing_ok=True)
        bench.put(chip, whole=recorded)  # what an earlier life has left outside the areas would look like its doing
        self._emulator: Emulator | None = power_on(
            machine_of(bench.board),
            bench.rom,
            bench.flash,
            bench.log,
            trace=Trace(events, str(bench.trace)),
            aio=AIO_PORTABLE,
            short_lived=True,
        )
        self.uart = UartTransport(self._emulator.uart, f"twin of {bench.board.name}")

    def operations(self) -> list[Operation]:
        """What the firmware ordered of the flash since power on; complete for all that the unit has acknowledged."""
        self._read_on()
        return list(self._trace.operations)

    def oracle_hits(self) -> list[str]:
        """Lines of QEMU about bits that were programmed without erase."""
        self._read_on()
        return list(self._trace.hits)

    def cut(self) -> NorFlash:
        """Cut the power, exactly; gives what the chip holds.

        Raises InfrastructureError when the file is not what the recorded operations lead to, NorFault for an operation
        that no NOR flash can do.
        """
        self.power_off()
        found = self._bench.content()
        if self._recorded:
            for operation in self._trace.operations:
                self._start.apply(operation)
            if self._start != found:
                raise InfrastructureError(
                    "the recorded flash operations do not lead to what the flash file holds",
                    remedy="use a QEMU that docs/reference/powercut names; this one traces its flash in another way",
                )
        return found

    def power_off(self) -> None:
        """Cut the power, exactly: the flash file holds what the chip held. A second call does nothing."""
        if self._emulator is not None and not self._emulator.cut():
            raise InfrastructureError("QEMU did not stop before it was killed", remedy="run the campaign again")
        self._close()

    def changed(self) -> bool:
        """True when the flash of a twin that was not recorded is, after `power_off`, not what it was at power on."""
        return not self._bench.equals(self._start)

    def end(self) -> None:
        """Cut the power; what the flash file holds then is not what the chip held. A second call does nothing."""
        if self._emulator is not None:
            self._emulator.kill()
        self._close()

    def _close(self) -> None:
        if self._emulator is not None:
            self._emulator.close()
            self._read_on()
            self._trace.end()
        self._emulator = None

    def _read_on(self) -> None:
        if not self._bench.trace.exists() or self._emulator is None:
            return
        with self._bench.trace.open(encoding="ascii", errors="replace") as file:
            file.seek(self._read_up_to)
            text = file.read()
            self._read_up_to = file.tell()
        self._trace.feed(text)
