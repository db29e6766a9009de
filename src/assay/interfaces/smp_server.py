# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of somebody else's SMP server: an app with MCUmgr's OS and image groups, or MCUboot's recovery.

Guards: nothing here is identity or evidence; such a server says what it says, and the hash that it names is the one in
the image's TLV. Leaves to others: devices that prove themselves (`interfaces.device`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from assay.errors import LinkError
from assay.interfaces.device import Console, Parameters, Progress, UploadReport


@dataclass(frozen=True)
class ServerSlot:
    """One row of the image state, as it was told; `image_hash` is None where the server tells none."""

    image: int
    slot: int
    version: str
    image_hash: bytes | None = None
    bootable: bool = False
    pending: bool = False
    confirmed: bool = False
    active: bool = False
    permanent: bool = False


Slots = tuple[ServerSlot, ...]


class NoImageGroup(LinkError):
    """A server answers, and knows no images: nothing can be flashed through it."""


class SmpServer(Console, Protocol):
    """All methods raise DeviceTimeout, LinkError and DeviceRefusal, and nothing else."""

    @property
    def address(self) -> str:
        """The address of the link, as the user gave it."""
        ...

    @property
    def reset_asked(self) -> bool:
        """True from `ask_reset` until `listen`: it may be starting, and takes no question then."""
        ...

    def parameters(self) -> Parameters:
        """Its buffers: as it tells, else as the board TOML says."""
        ...

    def echo(self, text: str) -> str:
        """`text`, once to the device and back."""
        ...

    def slots(self) -> Slots:
        """The image state. Raises NoImageGroup."""
        ...

    def is_app(self) -> bool:
        """False for a bootloader, which does not answer an echo."""
        ...

    def application_info(self) -> str | None:
        """What the server says that it is; None when it does not know the question."""
        ...

    def bootloader_mode(self) -> int | None:
        """MCUboot's mode as the app tells it (OS group, command 8, "mode"); None when it does not."""
        ...

    def upload(self, data: bytes, file_sha256: bytes, progress: Progress | None = None, image: int = 0) -> UploadReport:
        """Send an image file; goes on where an earlier upload of the same file stopped, if the server can."""
        ...

    def set_pending(self, image_hash: bytes) -> None:
        """Mark the image to be tested at the next reset."""
        ...

    def confirm_image(self, image_hash: bytes) -> None:
        """Keep the image, which runs."""
        ...

    def ask_reset(self, *, into_recovery: bool = False) -> None:
        """Reset the device, once; an acknowledgement that got lost is no error: what answers afterwards tells."""
        ...

    def listen(self, at_least_s: float, at_most_s: float) -> None:
        """Say nothing until the device has nothing more to tell: while it starts, a question may choke it."""
        ...

    def wait_for_slots(self, timeout_s: float, what: str) -> Slots:
        """Ask until somebody answers with an image state. DeviceTimeout names `what` and the last console lines.

        Raises NoImageGroup.
        """
        ...
