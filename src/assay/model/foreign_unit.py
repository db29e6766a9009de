# SPDX-License-Identifier: Apache-2.0
"""A unit with somebody else's firmware, as its SMP server told it: no chip, no serial number, a hash that is quoted."""

from __future__ import annotations

from assay.model.identifiers import Name
from assay.model.value import Value


class ForeignSlotSeen(Value):
    """One slot of the image state, as it was told; `image_hash` (hex) is what the server reads from the image's TLV."""

    number: int
    slot: int
    version: str
    image_hash: str | None
    active: bool
    confirmed: bool


class ForeignUnitSeen(Value):
    """What a test process saw on the place: a claim. `says` is what the server said that it is."""

    place: str
    board: Name
    revision: int
    emulated: bool
    says: str
    slots: tuple[ForeignSlotSeen, ...]


class ForeignTestedUnit(ForeignUnitSeen):
    """The same, as the process that signs saw it: `slots` before the suite, `slots_after` it; those are missing when
    it did not answer any more.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    slots_after: tuple[ForeignSlotSeen, ...] | None = None

    @property
    def serial(self) -> None:
        """No such board has one that it can prove."""
        return

    @property
    def known_as(self) -> str:
        """For people: what it says that it is."""
        return self.says or f"a {self.board} that does not say what it is"
