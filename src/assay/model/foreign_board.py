# SPDX-License-Identifier: Apache-2.0
"""A board of somebody else: it runs MCUboot and an SMP server, and a board TOML is all that is known of it.

Such a board has no ROM loader, no identity and no evidence of ours. What follows from each mode of MCUboot is a table
here; who acts on it is `stages.flashing.foreign`. Sizes are bytes, times carry `_s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from assay.model.board import SerialPort
from assay.model.flasher_settings import FlasherSettings, check_names
from assay.model.identifiers import Name
from assay.model.value import FieldFault, Value

Mode = Literal["swap", "overwrite-only", "direct-xip", "ram-load"]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


@dataclass(frozen=True)
class Sequence:
    """What a mode asks for: the image is marked before the reset, confirmed after it; it has to be the highest version
    of all slots to be started.
    """

    marks: bool
    confirms: bool
    highest_version_boots: bool


_SEQUENCES: Mapping[Mode, Sequence] = {
    "swap": Sequence(marks=True, confirms=True, highest_version_boots=False),
    "overwrite-only": Sequence(marks=True, confirms=False, highest_version_boots=False),
    "direct-xip": Sequence(marks=False, confirms=False, highest_version_boots=True),
    "ram-load": Sequence(marks=False, confirms=False, highest_version_boots=True),
}
"""MCUboot's design, "Image slots": with one way only there is nothing to go back to, and so nothing to confirm."""


class Buffers(Value):
    """What a server can take at once, for one that does not tell: `size` of a frame with header, `count` frames."""

    size: int = Field(default=256, ge=64, le=65535, description="bytes of one frame")
    count: int = Field(default=1, ge=1, le=64, description="frames")


class SmpServer(Value):
    """How the app's SMP server is spoken to."""

    version: Literal[1, 2] = Field(default=2, description="of the SMP header: 1 for old servers")
    parameters: bool = Field(default=True, description="the server knows the MCUmgr parameters command")
    buffers: Buffers = Buffers()
    info: str | None = Field(
        default=None, min_length=1, description="text in what the server answers to 'application info'"
    )
    answer_timeout_s: Seconds = Field(default=2.0, description="seconds for one answer")
    erase_timeout_s: Seconds = Field(default=30.0, description="seconds for an answer that waits for an erased slot")
    reset_timeout_s: Seconds = Field(default=60.0, description="seconds from a reset until the app answers")
    reset_quiet_s: float = Field(
        default=1.5, ge=0, le=600, allow_inf_nan=False, description="seconds without a question after a reset"
    )


class SlotRange(Value):
    """Where a slot is, as the core sees it; an image that runs in place is linked for it."""

    base: int = Field(ge=0, le=0xFFFFFFFF, description="address as the core sees it")
    size: int = Field(gt=0, description="bytes")


class Mcuboot(Value):
    """How the bootloader was built."""

    mode: Mode
    images: int = Field(default=1, ge=1, le=8, description="images that are updated on their own")
    revert: bool = Field(default=False, description="direct-xip and ram-load: built with revert")
    slot_size: int | None = Field(default=None, gt=0, description="bytes of a slot, its trailer included")
    slots: tuple[SlotRange, ...] = Field(default=(), description="the two slots of image 0, for direct-xip")

    @property
    def sequence(self) -> Sequence:
        """What is done around the reset."""
        plain = _SEQUENCES[self.mode]
        return Sequence(marks=True, confirms=True, highest_version_boots=False) if self.revert else plain

    @model_validator(mode="after")
    def _revert_fits(self) -> Self:
        if self.revert and self.mode not in ("direct-xip", "ram-load"):
            raise FieldFault(f"mode {self.mode} has no revert of its own: leave the key out", "revert")
        return self

    @model_validator(mode="after")
    def _slots_fit(self) -> Self:
        """An image linked for the slot that runs is refused by them: two that overlap would let any image pass."""
        if not self.slots:
            return self
        if self.mode != "direct-xip":
            raise FieldFault(f"mode {self.mode} runs images from one slot only: leave the key out", "slots")
        if len(self.slots) != 2:
            raise FieldFault("an image has two slots", "slots")
        low, high = sorted(self.slots, key=lambda slot: slot.base)
        if low.base + low.size > high.base:
            raise FieldFault(
                f"the slots overlap: {low.base:#x} with {low.size:#x} bytes ends behind {high.base:#x}", "slots"
            )
        return self


class Recovery(Value):
    """MCUboot's serial recovery on the same port. `only`: the app has no SMP server, recovery is the one way."""

    enter: Literal["reset", "manual"] = Field(default="manual", description="reset: the app is asked to go there")
    how: str = Field(default="", description="what the person does to get there")
    only: bool = False
    framing: Literal["console", "raw"] = "console"
    version: Literal[1, 2] = Field(default=2, description="of the SMP header")
    parameters: bool = False
    buffers: Buffers = Buffers()

    @model_validator(mode="after")
    def _somebody_can_ask(self) -> Self:
        if self.only and self.enter == "reset":
            raise FieldFault("with only = true no app can be asked to go there: enter is 'manual'", "enter")
        return self


class ForeignBoard(Value):
    """A board of somebody else (`boards/*.toml` with `firmware = "mcuboot"`)."""

    schema_: Literal["assay.board/2"] = Field(alias="schema")
    firmware: Literal["mcuboot"] = Field(description="whose firmware runs there")
    name: Name
    revision: int = Field(ge=0)
    inherits: Name | None = Field(default=None, description="the board that this one is a revision of")
    why: Annotated[str, StringConstraints(max_length=400)] = Field(default="", description="why it differs from it")
    emulated: bool = False
    description: str = ""
    serial: SerialPort
    smp: SmpServer = SmpServer()
    mcuboot: Mcuboot
    recovery: Recovery | None = None
    flashers: tuple[FlasherSettings, ...] = Field(default=(), description="ways to flash it from outside")

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if self.inherits is not None and not self.why:
            raise FieldFault("a board that inherits says why it differs", "why")
        check_names(self.flashers)
        return self
