# SPDX-License-Identifier: Apache-2.0
"""How a board is flashed from outside: its flashers as a board TOML names them, and boards that are known by no more.

Guards: an address lies in a memory that the flasher may write. Leaves to others: what a driver's options mean
(`drivers.flash`). Addresses are as the core sees them, sizes bytes.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from assay.model.board import SerialPort
from assay.model.identifiers import Name
from assay.model.value import FieldFault, Value

DriverOption = str | bool | int | float | tuple[str, ...]
"""What an option of a driver may be; a tuple is a list of words."""

ImageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""`0` and `1` are MCUmgr's image numbers on a board with MCUboot."""


class MemoryRange(Value):
    """A memory that may be written, as the core sees it."""

    base: int = Field(ge=0, le=0xFFFFFFFF, description="address as the core sees it")
    size: int = Field(gt=0, le=0x100000000, description="bytes")

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.base + self.size


class FlasherSettings(Value):
    """One way to flash the board from outside (`[[flashers]]`)."""

    driver: Name = Field(description="a driver of the group assay.flashers (docs/reference/flashers)")
    name: Name | None = Field(default=None, description="for --flasher, where one driver is there twice")
    kind: str | None = Field(default=None, min_length=1, description="text in what the chip says that it is")
    addresses: dict[ImageName, int | str] = Field(default={}, description="image: address, or path, or slot")
    memory: tuple[MemoryRange, ...] = Field(default=(), description="what may be written; empty: anywhere")
    options: dict[str, DriverOption] = Field(default={}, description="see the driver (docs/reference/flashers)")

    @property
    def called(self) -> str:
        """What `--flasher` chooses it by."""
        return self.name or self.driver

    def holds(self, address: int, size: int) -> bool:
        """True when `size` bytes from `address` on may be written: they lie in one range."""
        return not self.memory or any(each.base <= address and address + size <= each.end for each in self.memory)

    @model_validator(mode="after")
    def _addresses_are_in_memory(self) -> Self:
        for image, where in self.addresses.items():
            if isinstance(where, bool) or (isinstance(where, int) and not 0 <= where <= 0xFFFFFFFF):
                raise FieldFault(f"{where!r} is no address", "addresses", image)
            if isinstance(where, int) and not self.holds(where, 1):
                raise FieldFault(f"{where:#x} lies in no memory of this flasher", "addresses", image)
        return self


def check_names(flashers: tuple[FlasherSettings, ...]) -> None:
    """Raises FieldFault when two flashers are called the same."""
    seen: set[str] = set()
    for index, each in enumerate(flashers):
        if each.called in seen:
            raise FieldFault(f"there are two flashers called '{each.called}': give one a name", "flashers", index)
        seen.add(each.called)


class PlainBoard(Value):
    """A board of which nothing is known but how to flash it (`boards/*.toml` with `firmware = "any"`)."""

    schema_: Literal["assay.board/2"] = Field(alias="schema")
    firmware: Literal["any"] = Field(description="nothing that speaks SMP runs there")
    name: Name
    revision: int = Field(ge=0)
    inherits: Name | None = Field(default=None, description="the board that this one is a revision of")
    why: Annotated[str, StringConstraints(max_length=400)] = Field(default="", description="why it differs from it")
    emulated: bool = False
    description: str = ""
    serial: SerialPort = SerialPort(baud=115200, framing="console")
    flashers: tuple[FlasherSettings, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.inherits is not None and not self.why:
            raise FieldFault("a board that inherits says why it differs", "why")
        check_names(self.flashers)
        return self
