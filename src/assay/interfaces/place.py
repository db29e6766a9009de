# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of a place on the bench: the unit on it, its loader and its power, while the place is ours.

Leaves to others: finding and locking the place (`pipeline.places`).
"""

from __future__ import annotations

from typing import Protocol

from assay.interfaces.device import Device, DeviceInfo
from assay.interfaces.loader import RomBanner, RomLoader
from assay.interfaces.power import Power
from assay.model.board import Board

Found = RomBanner | DeviceInfo
"""What answers on a place: the loader of a chip without a bootloader, or a bootloader or an app."""


class UnitPlace(Protocol):
    """An open place; `power` is None when nothing switches it."""

    @property
    def name(self) -> str:
        """The place's name on the bench."""
        ...

    @property
    def board(self) -> Board:
        """The board that the bench says is there."""
        ...

    @property
    def device(self) -> Device:
        """The unit, when its bootloader or app runs."""
        ...

    @property
    def loader(self) -> RomLoader:
        """The unit, when its mask ROM waits."""
        ...

    @property
    def power(self) -> Power | None:
        """The power switch."""
        ...
