# SPDX-License-Identifier: Apache-2.0
"""A board design, as people write it (`boards/*.toml`): memory, programs' places, ways to reach it, its twin.

Guards: every area and range that the programs need is there; areas lie on erase sectors and apart. Leaves to others:
reading TOML, with file and line (`stages.manifest`), boards of somebody else (`model.foreign_board`). Sizes and offsets
are bytes, addresses are as the core sees them, times carry `_s`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from assay.model.contract import Interface
from assay.model.identifiers import Name, VersionText
from assay.model.plain_text import Prose
from assay.model.value import FieldFault, Value


class Area(Value):
    """A range of flash or RAM: `offset` or `base`, and `size`, in bytes."""

    offset: int = Field(ge=0, description="bytes from the start of the flash")
    size: int = Field(gt=0, description="bytes")


class RamRange(Value):
    """A range of RAM at an absolute address."""

    base: int = Field(ge=0, le=0xFFFFFFFF, description="address as the core sees it")
    size: int = Field(gt=0, description="bytes")


AREAS_NEEDED = ("boot", "primary", "secondary", "scratch", "status", "identity", "counters", "notes", "otp")
"""Flash areas that every board has (docs/reference/device.md)."""

RADIO_AREAS = ("radio_primary", "radio_secondary")
"""The slots of a second image; a board without them has one image."""

RAM_NEEDED = ("rom", "boot", "app", "handoff", "work")
"""RAM ranges that every board has: where the three programs run, what they hand on, and the rest."""


class Flash(Value):
    """The board's flash and how it is divided."""

    size: int = Field(gt=0, description="bytes")
    erase_size: int = Field(gt=0, description="bytes of an erase sector")
    program_size: int = Field(gt=0, description="bytes of a page")
    write_alignment: Literal[1, 2, 4, 8, 16, 32] = Field(description="bytes")
    erased_value: Literal[0x00, 0xFF]
    areas: dict[str, Area]

    @model_validator(mode="after")
    def _areas_fit(self) -> Self:
        for name in AREAS_NEEDED:
            if name not in self.areas:
                raise FieldFault(f"missing area '{name}'", "areas")
        for name in RADIO_AREAS:
            if name not in self.areas and any(other in self.areas for other in RADIO_AREAS):
                raise FieldFault(f"missing area '{name}': a second image has two slots", "areas")
        end, before, last = 0, "the start", ""
        for name, area in sorted(self.areas.items(), key=lambda item: item[1].offset):
            if area.offset < end:
                raise FieldFault(f"area '{name}' overlaps {before}", "areas", name)
            if area.offset % self.erase_size or area.size % self.erase_size:
                text = f"area '{name}' does not lie on erase sectors of {self.erase_size} bytes"
                raise FieldFault(text, "areas", name)
            end, before, last = area.offset + area.size, f"area '{name}'", name
        if end > self.size:
            raise FieldFault(f"{before} ends at {end:#x}, behind the flash of {self.size:#x} bytes", "areas", last)
        return self


PATCH_TAIL = 32
"""Bytes at the end of the area `patch` that the bootloader keeps for itself (docs/reference/delta.md)."""


class Toolchain(Value):
    """How to compile for the board."""

    zig_target: str
    zig_cpu: str
    gcc_prefix: str
    gcc_flags: tuple[str, ...] = ()
    port: str


class SerialPort(Value):
    """The board's UART: baud in bit/s, SMP framing."""

    baud: int = Field(gt=0, description="bit/s")
    framing: Literal["console", "raw", "auto"] = Field(
        "console", description="auto: questions in console framing, uploads in raw where the device answers it"
    )


class Loader(Value):
    """The ROM loader's protocol."""

    protocol: Literal["xmodem-1k", "medium"] = Field(description="medium: the disk is written while the unit is off")


class SshService(Value):
    """A unit that is reached by its SSH server: `subsystem` speaks SMP, `rate` (bit/s) is what the way carries."""

    user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
    subsystem: Name
    rate: int = Field(default=20_000_000, gt=0, description="bit/s; stretches time-outs")
    up_timeout_s: float = Field(default=90.0, gt=0, le=3600, description="seconds from power on to a login")


class TwinMachine(Value):
    """How QEMU emulates the board."""

    qemu: str
    package: str
    arguments: tuple[str, ...]
    rom_option: Literal["-kernel", "-bios"]
    flash_interface: Literal["mtd", "pflash", "virtio"]
    flash_unit: int = Field(ge=0)
    entropy: Literal["uart", "virtio-rng"]
    rom_file: str | None = Field(default=None, description="the mask ROM, where a package has it and nobody builds it")
    rom_package: str = Field(default="", description="the package that has it")


class MaskRom(Value):
    """The program in the chip's mask: which module it is, and what it offers to a bootloader."""

    name: Name
    version: VersionText
    provides: tuple[Interface, ...] = ()


class Board(Value):
    """A board design (`boards/*.toml`)."""

    schema_: Literal["assay.board/2"] = Field(alias="schema")
    name: Name
    revision: int = Field(ge=0)
    emulated: bool = False
    description: Prose = ""
    peripherals: tuple[Name, ...] = Field(default=(), description="what the design has besides processor and memory")
    toolchain: Toolchain
    flash: Flash
    ram: dict[str, RamRange]
    serial: SerialPort
    loader: Loader
    provides: tuple[Interface, ...] = Field(default=(), description="interfaces that the design itself offers")
    mask_rom: MaskRom | None = None
    twin: TwinMachine | None = None
    ssh: SshService | None = Field(default=None, description="a Linux module: the device contract over SSH")

    @property
    def verifies_at_boot(self) -> bool:
        """The bootloader holds the image key, and starts nothing that it did not sign."""
        return self.ssh is None

    @property
    def patch_room(self) -> int:
        """Bytes that a patch may have, header to TLVs; 0 on a board without the area `patch`."""
        area = self.flash.areas.get("patch")
        return 0 if area is None else area.size - PATCH_TAIL

    @model_validator(mode="after")
    def _patch_area_has_two_sectors(self) -> Self:
        area = self.flash.areas.get("patch")
        if area is not None and area.size < 2 * self.flash.erase_size:
            text = "area 'patch' needs two erase sectors: its header is erased before the mark at its end"
            raise FieldFault(text, "flash", "areas", "patch")
        return self

    @model_validator(mode="after")
    def _twin_is_emulated(self) -> Self:
        if self.twin is not None and not self.emulated:
            raise FieldFault("a board with a [twin] says emulated = true", "twin")
        return self

    @model_validator(mode="after")
    def _ram_is_complete(self) -> Self:
        for name in RAM_NEEDED:
            if name not in self.ram:
                raise FieldFault(f"missing RAM range '{name}'", "ram")
        return self
