# SPDX-License-Identifier: Apache-2.0
"""A twin whose flash a campaign holds in its hands: recorded, cut, and started again from any state.

Guards: the operations of one life are one list, over all of its power cycles; the twin has no power when the block is
left. Leaves to others: what is done with it (`stages.powercut`).
"""

from __future__ import annotations

from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Self

from assay.drivers.twin.bare_twin import BareTwin, Bench
from assay.pipeline import driver_doors
from assay.simulation.nor_flash import NorFlash, Operation

if TYPE_CHECKING:
    from assay.interfaces.device import Device
    from assay.interfaces.loader import RomLoader

DEVICE = "mcumgr"
SLOTS = ("primary", "secondary")
RADIO = "radio_primary"
"""Flash areas that hold images (docs: reference/device)."""


class TwinUnit:
    """`stages.powercut.steps.UnitAtHand` on a bare twin that starts with `chip`."""

    def __init__(self, bench: Bench, chip: NorFlash, *, recorded: bool) -> None:
        self._bench = bench
        self._recorded = recorded
        self._before: list[Operation] = []
        self._said = b""
        self.hits: list[str] = []
        self._power_on(chip)

    @property
    def device(self) -> Device:
        """The unit over SMP."""
        return self._device

    @property
    def loader(self) -> RomLoader:
        """The ROM's loader."""
        return self._loader

    @property
    def said(self) -> bytes:
        """All that the unit said."""
        return self._said + self._twin.uart.said

    def operations(self) -> list[Operation]:
        """All that the firmware ordered of the flash."""
        return self._before + self._twin.operations()

    def power_cycle(self) -> None:
        """Off and on, exactly."""
        chip = self.cut()
        self._before += self._twin.operations()
        self._said += self._twin.uart.said
        self._power_on(chip)

    def cut(self) -> NorFlash:
        """Power off; gives what the chip holds. Raises NorFault, InfrastructureError."""
        chip = self._twin.cut()
        self.hits += self._twin.oracle_hits()
        return chip

    def power_off(self) -> None:
        """Power off, exactly; what the flash file holds can be looked at."""
        self._twin.power_off()
        self.hits += self._twin.oracle_hits()

    def changed(self) -> bool:
        """True when the flash, power being off, is not what it was at power on."""
        return self._twin.changed()

    def holds(self, image: bytes) -> bool:
        """True when a slot holds the whole of `image`, power being off."""
        areas = self._bench.board.flash.areas
        return any(self._bench.holds(areas[name].offset, image) for name in SLOTS)

    def radio_is(self, image: bytes) -> bool:
        """True when the radio's primary slot holds the whole of `image`, power being off."""
        return self._bench.holds(self._bench.board.flash.areas[RADIO].offset, image)

    def end(self) -> None:
        """Power off, when nobody needs the chip any more."""
        self._twin.end()
        self.hits += self._twin.oracle_hits()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._twin.end()

    def _power_on(self, chip: NorFlash) -> None:
        serial, protocol = self._bench.board.serial, self._bench.board.loader.protocol
        self._twin = BareTwin(self._bench, chip, recorded=self._recorded)
        self._device = _device_driver(DEVICE)(self._twin.uart, serial.baud, serial.framing)
        self._loader = _loader_driver(protocol)(self._twin.uart, serial.baud)


# Looking through the installed packages takes as long as a boot.
_device_driver = cache(driver_doors.device_driver)
_loader_driver = cache(driver_doors.loader_driver)
