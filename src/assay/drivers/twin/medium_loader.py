# SPDX-License-Identifier: Apache-2.0
"""Writes the medium of a Linux module while the unit is off, as a card writer or a boot over USB does at the factory.

Guards: the power is off while the medium is written; only a medium without a system is written; what was written is
read back, and its hash recomputed. Leaves to others: which images, and whether they may be written (the stages).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from assay.errors import AssayError, DeviceTimeout, StorageError
from assay.formats.mcuboot_image import parse_image
from assay.interfaces.device import Progress
from assay.interfaces.loader import RomBanner

if TYPE_CHECKING:
    from assay.interfaces.power import Power
    from assay.model.board import Area, Board

MAGIC = bytes.fromhex("3db8f396")
"""The first bytes of an MCUboot image."""
PIECE = 1 << 20
CHIP_AT, CHIP_BYTES = 8, 16


class MediumLoader:
    """`interfaces.loader.MediumLoader` on a file; `medium` is None for a unit whose medium nobody here can write."""

    def __init__(self, address: str, board: Board, medium: Path | None, power: Power | None) -> None:
        self._address = address
        self._board = board
        self._medium = medium
        self._power = power

    @property
    def address(self) -> str:
        """The address of the link to the unit."""
        return self._address

    def wait_banner(self, timeout_s: float) -> RomBanner:
        """What a medium without a system says. Raises DeviceTimeout when there is one, or nobody can tell."""
        del timeout_s
        areas = self._board.flash.areas
        missing = [] if self._medium is None or self._holds(areas["boot"]) else ["boot"]
        missing += ["primary"] if self.lacks_app() else []
        if not missing:
            raise DeviceTimeout(f"no medium without a system on {self._address}", remedy="see what the unit says")
        chip = self._read(areas["otp"], CHIP_AT + CHIP_BYTES)[CHIP_AT:]
        return RomBanner(self._board.name, self._board.revision, chip, f"nothing in {', '.join(missing)}")

    def send(self, image: bytes, progress: Progress | None = None) -> bytes:
        """Write the boot script's image; gives its hash, read back. The unit stays off."""
        return self._write(self._board.flash.areas["boot"], image, progress)

    def lacks_app(self) -> bool:
        """True when no slot has an image, so that one can be written here. One alone is a unit that an update was
        broken off on: it runs from the other.
        """
        areas = self._board.flash.areas
        return self._medium is not None and not any(self._holds(areas[name]) for name in ("primary", "secondary"))

    def send_app(self, image: bytes, progress: Progress | None = None) -> bytes:
        """Write the system's image to slot A, and switch the unit on; gives its hash, read back."""
        written = self._write(self._board.flash.areas["primary"], image, progress)
        if self._power is not None:
            self._power.on()
        return written

    def close(self) -> None:
        """Nothing is held."""

    def _write(self, area: Area, image: bytes, progress: Progress | None) -> bytes:
        assert self._medium is not None
        if len(image) > area.size:
            raise StorageError(f"an image of {len(image)} bytes for {area.size} bytes", remedy="make it smaller")
        if self._power is not None:
            self._power.off()
        try:
            with self._medium.open("r+b") as file:
                for at in range(len(MAGIC), len(image), PIECE):  # the magic last: half an image is none
                    file.seek(area.offset + at)
                    file.write(image[at : at + PIECE])
                    if progress is not None:
                        progress(min(at + PIECE, len(image)), len(image))
                _make_durable(file)
                file.seek(area.offset)
                file.write(image[: len(MAGIC)])
                _make_durable(file)
        except OSError as error:
            raise StorageError(f"cannot write {self._medium}: {error.strerror}", remedy="free disk space") from error
        try:
            return hashlib.sha256(parse_image(self._read(area, len(image))).measured).digest()
        except AssayError:
            return b""

    def _holds(self, area: Area) -> bool:
        return self._read(area, len(MAGIC)) == MAGIC

    def _read(self, area: Area, size: int) -> bytes:
        assert self._medium is not None
        try:
            with self._medium.open("rb") as file:
                file.seek(area.offset)
                return file.read(size)
        except OSError as error:
            raise StorageError(
                f"cannot read {self._medium}: {error.strerror}", remedy="create the twin anew"
            ) from error


def _make_durable(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
