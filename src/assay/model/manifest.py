# SPDX-License-Identifier: Apache-2.0
"""The manifests that people write: module, board, profile, pipeline (the bench file is `model.bench`).

Each is a frozen value with a schema version; reading them from TOML, with file and line, is `stages.manifest`.
Sizes and offsets are bytes, addresses are as the core sees them, times carry `_s`.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from assay.model.identifiers import Name, VersionText
from assay.model.value import Value


class FieldFault(ValueError):
    """A fault that several keys share; `path` leads from the value that is validated to the key to look at."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path


def _inside_project(path: str) -> str:
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} is not a path inside the project (relative, with '/', without '.' and '..')")
    return path


ProjectPath = Annotated[str, AfterValidator(_inside_project)]
"""A path below the project's root; as a source it may hold the wildcards `*`, `?`, `[...]` and `**`."""

BRACED_NAME = re.compile(r"\{([a-z][a-z0-9_]*)\}")
KEY_NAME = re.compile(r"([a-z]+)_pubkey")
COMMAND_VALUES = ("python", "board_toml", "out", "version", "name", "cache", "source", "work", "jobs")
"""What `{...}` in a build command stands for, besides `{defines}` and `{ROLE_pubkey}` (the file of a declared key)."""

SystemName = Literal["command", "make", "cmake", "west", "platformio", "cargo", "esp-idf"]
"""How a module is built: by a command of its own, or by the build system of somebody else's project."""

ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
TreeName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
ImageDigest = Annotated[str, StringConstraints(pattern=r"^([a-z0-9][A-Za-z0-9._:/-]{0,255}@)?sha256:[0-9a-f]{64}$")]
"""An image of a container, by digest and by nothing else: a tag can mean another one tomorrow."""

PAYLOAD = "payload.bin"
"""The output of every build that becomes an image: flat, without MCUboot header."""

Requirement = Annotated[str, StringConstraints(pattern=r"^(==|>=)[0-9]+\.[0-9]+\.[0-9]+$")]
"""`>=1.2.3` (same major) or `==1.2.3`."""

VersionRange = Annotated[str, StringConstraints(pattern=r"^(==|<=|<)[0-9]+\.[0-9]+\.[0-9]+$")]
"""`<1.2.3`, `<=1.2.3` or `==1.2.3`: older releases, over all majors; a build number is not looked at."""


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


class Interface(Value):
    """An interface, offered or needed, with its version."""

    name: Name
    version: Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)*$")]


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
    description: str = ""
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


class BoardNeed(Value):
    """A board that a module runs on: from a revision upwards, and perhaps up to one."""

    name: Name
    min_revision: int = Field(ge=0)
    max_revision: int | None = Field(default=None, ge=0, description="the last one that it runs on")

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.max_revision is not None and self.max_revision < self.min_revision:
            text = f"max_revision ({self.max_revision}) is below min_revision ({self.min_revision})"
            raise FieldFault(text, "max_revision")
        return self


class Interfaces(Value):
    """What a module offers and what it needs."""

    provides: tuple[Interface, ...] = ()
    requires: tuple[Interface, ...] = ()


class Dependency(Value):
    """Another module that has to be there, in a version, and able to do something. Without `capabilities` it is None,
    so that what was signed before there were any keeps its bytes.
    """

    name: Name
    version: Requirement
    capabilities: tuple[Name, ...] | None = Field(default=None, description="what the module has to be able to do")


class Resources(Value):
    """What a module takes of its board. The image is held to `flash`, and the board to all of it."""

    flash: int | None = Field(default=None, gt=0, description="bytes that the image has at most")
    ram: int | None = Field(default=None, gt=0, description="bytes of the range in which it runs")
    peripherals: tuple[Name, ...] = Field(default=(), description="what the board's file has to list")


class Deprecation(Value):
    """Older releases of a module that should no longer be used from a day on, and may not from another."""

    versions: VersionRange
    since: date = Field(description="from this day on (UTC) another release is preferred")
    ends: date | None = Field(default=None, description="from this day on (UTC) they are not chosen at all")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=400)]

    @model_validator(mode="after")
    def _ends_later(self) -> Self:
        if self.ends is not None and self.ends < self.since:
            raise FieldFault(f"ends ({self.ends}) is before since ({self.since})", "ends")
        return self


class Contract(Value):
    """What a module promises and asks beyond interfaces and dependencies, for one board; carried in its provenance."""

    capabilities: tuple[Name, ...] = ()
    max_revision: int | None = None
    resources: Resources = Resources()
    deprecations: tuple[Deprecation, ...] = ()


class BuildRecipe(Value):
    """How the module is built: a command line or a build system, its declared inputs and outputs.

    `directory` is the project's folder (with its Makefile, CMakeLists.txt, ...); `arguments` go to the build system;
    `collect` says which file of its build folder becomes which output; `after` are commands that follow. `tools` are
    the programs that are recorded by digest, `trees` variables that name folders of tools, `image` a container's.
    `cache_by_content`: what the command keeps in `{cache}` is named by a digest of all that it came from.
    """

    system: SystemName = "command"
    command: tuple[str, ...] = ()
    directory: ProjectPath | None = None
    arguments: tuple[str, ...] = ()
    collect: dict[ProjectPath, ProjectPath] = Field(default={})
    after: tuple[tuple[str, ...], ...] = ()
    tools: tuple[ToolName, ...] | None = None
    trees: tuple[TreeName, ...] = ()
    image: ImageDigest | None = None
    cache_by_content: bool = False
    sources: tuple[ProjectPath, ...] = Field(min_length=1)
    outputs: tuple[ProjectPath, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_a_command_or_a_system(self) -> Self:
        if self.system == "command" and not self.command:
            raise FieldFault("missing key 'command': the command line, or `system` (make, cmake, ...)")
        if self.system != "command" and self.command:
            raise FieldFault(f"{self.system} has its own command line: use `arguments` and `after`", "command")
        return self

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        for key, words in (("command", self.command), ("arguments", self.arguments)):
            for index, argument in enumerate(words):
                self._check_braced(argument, key, index)
        for step, words in enumerate(self.after):
            for index, argument in enumerate(words):
                self._check_braced(argument, "after", step, index)
        return self

    def _check_braced(self, argument: str, *path: str | int) -> None:
        if argument == "{defines}":
            return
        for name in BRACED_NAME.findall(argument):
            if name not in COMMAND_VALUES and not KEY_NAME.fullmatch(name):
                known = ", ".join(f"{{{value}}}" for value in COMMAND_VALUES)
                text = f"{{{name}}} is not known here; known: {known}, {{ROLE_pubkey}}, and {{defines}} on its own"
                raise FieldFault(text, *path)

    @model_validator(mode="after")
    def _payload_is_an_output(self) -> Self:
        if PAYLOAD not in self.outputs:
            raise FieldFault(f"{PAYLOAD!r} is missing: it is what becomes the image", "outputs")
        return self


class UpdatePolicy(Value):
    """How the module is updated in the field."""

    policy: Literal["test-then-confirm", "none"]
    health_timeout_s: float = Field(default=10.0, gt=0, le=3600, allow_inf_nan=False, description="seconds")
    security_counter: int = Field(ge=0, le=0xFFFFFFFF)
    min_from_version: VersionText | None = Field(
        default=None, description="the oldest version that is updated to this one in the field"
    )


class Module(Value):
    """A hardware module's firmware (`module.toml`): its contract."""

    schema_: Literal["assay.module/2"] = Field(alias="schema")
    name: Name
    kind: Literal["app", "bootloader", "rom", "radio"]
    version: VersionText
    license: str
    description: str = ""
    boards: tuple[BoardNeed, ...] = Field(min_length=1)
    build: BuildRecipe
    interfaces: Interfaces = Interfaces()
    capabilities: tuple[Name, ...] = Field(default=(), description="what it can do, by names that others may ask for")
    dependencies: tuple[Dependency, ...] = ()
    resources: Resources = Resources()
    deprecations: tuple[Deprecation, ...] = ()
    update: UpdatePolicy

    def contract(self, board: str) -> Contract:
        """What holds for the board called `board`, which the module names."""
        need = next(need for need in self.boards if need.name == board)
        return Contract(
            capabilities=self.capabilities,
            max_revision=need.max_revision,
            resources=self.resources,
            deprecations=self.deprecations,
        )


class SerialScheme(Value):
    """How serial numbers are made: `prefix` and a counter of `digits` digits."""

    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
    digits: int = Field(ge=1, le=16)


class CertificateProfile(Value):
    """The device certificate (IEEE 802.1AR-2018 section 8, IDevID)."""

    organization: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    hardware_type_oid: Annotated[str, StringConstraints(pattern=r"^[0-2](\.(0|[1-9][0-9]*))+$")]


FACTORY_UNITS = {"boot-time": "ms", "upload-rate": "kB/s", "stack-free": "By", "frames-bad": "1", "echo-time": "ms"}
"""What the factory can measure, and the unit of each (UCUM codes)."""


class Limit(Value):
    """A measurement of the factory, with limits: `unit` is a UCUM code."""

    name: Name
    unit: str
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise FieldFault(f"low ({self.low:g}) is above high ({self.high:g})", "low")
        return self

    @model_validator(mode="after")
    def _is_measured(self) -> Self:
        """A limit that nothing measures, or in another unit, would never be checked."""
        unit = FACTORY_UNITS.get(self.name)
        if unit is None:
            known = ", ".join(sorted(FACTORY_UNITS))
            raise FieldFault(f"the factory does not measure {self.name!r}; expected one of: {known}", "name")
        if self.unit != unit:
            raise FieldFault(f"{self.name} is measured in {unit!r}, not in {self.unit!r}", "unit")
        return self


class ProfileStep(Value):
    """One step of the factory; what cannot be undone says so and says why."""

    name: Literal["write-bootloader", "write-app", "make-identity", "check"]
    irreversible: bool = False
    reason: str = ""


class Profile(Value):
    """A factory profile (`provisioning/*.toml`)."""

    schema_: Literal["assay.profile/1"] = Field(alias="schema")
    name: Name
    description: str = ""
    boards: tuple[Name, ...] = Field(min_length=1)
    allow_emulated: bool = False
    bootloader: Name
    app: Name
    serial: SerialScheme
    certificate: CertificateProfile
    steps: tuple[ProfileStep, ...] = Field(min_length=1)
    limits: tuple[Limit, ...] = ()


class PipelineStep(Value):
    """One verb with its arguments, exactly as a user would type them after `assay`.

    `{name}` in an argument is replaced by a variable (`{{` is a brace); `capture` takes variables from the verb's
    `--json` answer (`a.b.0` walks into it); `expect` is the outcome without which the pipeline stops.
    """

    name: Name
    title: str
    run: tuple[str, ...] = Field(min_length=1)
    expect: Literal["PASS", "FAIL"] = "PASS"
    capture: dict[str, str] = Field(default={})
    together: Name | None = Field(default=None, description="neighbours with the same word run at the same time")
    stdout: str | None = Field(default=None, description="file that keeps what the verb prints, as `>` does")
    show: bool = Field(default=False, description="with `stdout`: print what was kept, too")
    creates: tuple[str, ...] = Field(default=(), description="files without which a step that was done is run again")
    again: bool = Field(default=False, description="run again each time that the pipeline is taken up again")

    @model_validator(mode="after")
    def _capture_needs_json(self) -> Self:
        if self.stdout is not None and self.capture and "--json" not in self.run:
            raise ValueError("a step with both `stdout` and `capture` has --json in `run`")
        return self


class Pipeline(Value):
    """Steps in order (`pipelines/*.toml`)."""

    schema_: Literal["assay.pipeline/1"] = Field(alias="schema")
    name: Name
    description: str = ""
    variables: dict[str, str] = Field(default={})
    steps: tuple[PipelineStep, ...] = Field(min_length=1)
