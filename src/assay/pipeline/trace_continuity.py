# SPDX-License-Identifier: Apache-2.0
"""What a unit runs from record to record: each must begin where the one before it ended.

Guards: a gap between what a unit should run and what the next record says that it ran is a broken link, since a record
was left out or something was done that nobody recorded. Leaves to others: whether a record is genuine (`trace_record`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from assay.model.identifiers import ImageHash
from assay.pipeline.trace_link import KEY_DIGITS, Link


@dataclass
class Running:
    """Image hashes that the unit may run now: one after a good record, two after one that stopped half way, None: any.

    `since` says which record that rests on.
    """

    images: frozenset[ImageHash] | None = None
    bootloader: ImageHash | None = None
    since: str = ""
    names: dict[ImageHash, str] = field(default_factory=dict)

    def know(self, image: ImageHash, name: str) -> None:
        """What people call the image with this hash."""
        self.names.setdefault(image, name)

    def must_run(self, link: Link, image: ImageHash, said: str) -> None:
        """Check that a record which says (`said`) that the unit ran `image` follows from the records before it."""
        if self.images is None:
            link.tell("continuity", f"what the unit ran before is not known ({self.since or 'no record says it'})")
            return
        link.expect(
            image in self.images,
            f"{said} {self.name(image)}, as {self.since} left it",
            f"{said} {self.name(image)}, but {self.since} left it running {self._expected()}: a record is missing",
        )

    def must_boot_with(self, link: Link, bootloader: ImageHash) -> None:
        """Check the bootloader's hash."""
        if self.bootloader is None:
            link.tell("bootloader", f"{bootloader[:KEY_DIGITS]}: no record says which one it should be")
            return
        link.expect(
            bootloader == self.bootloader,
            f"booted by {self.name(bootloader)}, as it was provisioned",
            f"booted by {self.name(bootloader)}, but it was provisioned with {self.name(self.bootloader)}",
        )

    def now(self, since: str, *images: ImageHash) -> None:
        """After the record `since` the unit runs one of `images`; none: nobody knows."""
        self.images = frozenset(images) if images else None
        self.since = since

    def name(self, image: ImageHash) -> str:
        """The release with this image hash, or the start of the hash."""
        return self.names.get(image, f"an image with the hash {image[:KEY_DIGITS]}")

    def _expected(self) -> str:
        return " or ".join(sorted(self.name(image) for image in self.images or ()))
