# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of the loader in a chip's mask ROM, which writes the first bootloader.

Leaves to others: which image to send and whether it may be sent (the stages), and the bytes on the wire
(`protocols.xmodem`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from assay.interfaces.device import Progress


@dataclass(frozen=True)
class RomBanner:
    """What the ROM says while it waits: `chip` is the 16-byte chip id, `reason` why it did not boot."""

    board: str
    revision: int
    chip: bytes
    reason: str


class RomLoader(Protocol):
    """A mask ROM on a link. Raises DeviceTimeout, LinkError, and DeviceRefusal when the ROM says no."""

    @property
    def address(self) -> str:
        """The address of the link, as the user gave it."""
        ...

    def wait_banner(self, timeout_s: float) -> RomBanner:
        """The banner of a ROM that waits for an image; it comes once a second."""
        ...

    def send(self, image: bytes, progress: Progress | None = None) -> bytes:
        """Send a bootloader image; gives the 32-byte image hash that the ROM read back from flash after writing."""
        ...

    def close(self) -> None:
        """Release the link; a second call does nothing."""
        ...


@runtime_checkable
class MediumLoader(RomLoader, Protocol):
    """What writes the whole medium of a unit that is off: the system too, since no bootloader on the unit would."""

    def lacks_app(self) -> bool:
        """True when there is no system on the medium."""
        ...

    def send_app(self, image: bytes, progress: Progress | None = None) -> bytes:
        """Write the system, and switch the unit on; gives the 32-byte image hash, read back from the medium."""
        ...
