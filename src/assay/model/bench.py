# SPDX-License-Identifier: Apache-2.0
"""The bench file: the units and ports connected to one host, each named by what it is.

Guards: a place has one identity, and two places never share a name. Leaves to others: which port an identity means
now (`drivers.usb_ports`), reading and writing the file (`pipeline`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from assay.model.flasher_settings import DriverOption
from assay.model.identifiers import Name
from assay.model.ssh import SshAddress
from assay.model.value import FieldFault, Value

USB_ID_MAX = 0xFFFF

PROBE_DOOR, FLASH_DOOR = "probe:", "flash:"
NO_PORTS = (PROBE_DOOR, FLASH_DOOR)
"""What the lock of a place without a port is called by: where its flashers find it."""

CHIP_ID_PATTERN = r"^([0-9a-f]{2})+$"

ChipId = Annotated[str, StringConstraints(pattern=CHIP_ID_PATTERN)]
"""A chip's own number, lower-case hex."""


class UsbIdentity(Value):
    """A serial port by what its USB device says of itself. What is given has to be so; what is not may be anything.

    `location` is the socket and no property of the unit: only for units that have no serial number, or share one.
    """

    vendor: int | None = Field(default=None, ge=0, le=USB_ID_MAX, description="USB vendor id, 0x1915")
    product: int | None = Field(default=None, ge=0, le=USB_ID_MAX, description="USB product id, 0x520f")
    serial: str | None = Field(default=None, min_length=1, description="USB serial number")
    interface: int | None = Field(default=None, ge=0, description="USB interface, for a device with several ports")
    location: str | None = Field(default=None, min_length=1, description="the socket: bus and ports, 1-2.3")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.serial is None and self.location is None and (self.vendor is None or self.product is None):
            raise ValueError("a USB identity has a serial number, a location, or vendor and product")
        return self

    def __str__(self) -> str:
        ids = f"USB {_four(self.vendor)}:{_four(self.product)}" if self.vendor is not None else "USB"
        words = [ids, f"serial number {self.serial}" if self.serial else ""]
        words += [f"interface {self.interface}" if self.interface is not None else ""]
        words += [f"in socket {self.location}" if self.location else ""]
        return ", ".join(word for word in words if word)


class PowerSwitch(Value):
    """How a place's power is switched: the driver's name, where the switch is, and what else the driver has to know.

    `usb` is for a switch that is a USB serial port: its port is the address.
    """

    driver: Name
    address: str = ""
    usb: UsbIdentity | None = None
    options: dict[str, DriverOption] = Field(default={}, description="see the driver (docs/reference/power)")

    @model_validator(mode="after")
    def _has_one_address(self) -> Self:
        if self.usb is not None and self.address:
            raise ValueError("a switch has an address or a USB identity, not both")
        return self


class LabgridPlace(Value):
    """A place of a labgrid coordinator; `console` names its serial port where it has several."""

    place: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", description="its name in labgrid")
    coordinator: str = Field(
        default="127.0.0.1:20408", pattern=r"^[A-Za-z0-9\[][^\s/]*$", description="HOST:PORT of the coordinator"
    )
    program: str = Field(default="labgrid-client", min_length=1, description="labgrid's client, in its own environment")
    console: str | None = Field(default=None, min_length=1, description="which of its serial ports")

    @property
    def url(self) -> str:
        """What the lock of the place on this host is called."""
        return f"labgrid://{self.coordinator}/{self.place}"


def doors_of(
    probe: str | None, flash: Mapping[str, str], ssh: SshAddress | None, power: PowerSwitch | None
) -> tuple[str, ...]:
    """The ways to a unit beside its port, by what their locks are called: its probe, its host, where its flashers find
    it. Two places that have one of them are one unit.
    """
    doors = [f"{PROBE_DOOR}{probe}"] if probe else []
    doors += [f"{PROBE_DOOR}{power.address}"] if power is not None and power.driver == "probe" and power.address else []
    doors += [ssh.url] if ssh is not None else []
    doors += [value if "/" in value else f"{FLASH_DOOR}{value}" for value in flash.values() if value]
    return tuple(dict.fromkeys(doors))


class Place(Value):
    """A unit on the bench. Its identity is one of `usb`, `twin`, `port` and `labgrid`; of a unit without a port that is
    used, its `probe`, its host (`ssh`, which may also join one of the others) or where its flashers find it.
    """

    name: Name
    board: Name
    usb: UsbIdentity | None = None
    twin: Name | None = Field(default=None, description="a twin of the site")
    port: str | None = Field(
        default=None, min_length=1, description="an address of pyserial: socket://host:port, rfc2217://..., a device"
    )
    labgrid: LabgridPlace | None = Field(default=None, description="a place of labgrid (docs/reference/labgrid)")
    ssh: SshAddress | None = Field(default=None, description="the host on the unit, over SSH (docs/reference/ssh)")
    chip: ChipId | None = Field(default=None, description="the chip that has to answer here")
    probe: str | None = Field(default=None, description="serial number of the debug probe")
    flash: dict[Name, str] = Field(
        default={}, description="flasher: where it finds this unit (docs/reference/flashers)"
    )
    features: tuple[Name, ...] = Field(default=(), description="what the place has for tests: radio, ethernet")
    power: PowerSwitch | None = None

    @property
    def without_port(self) -> str:
        """What the lock of a unit is known by that has no port which is used."""
        if self.labgrid is not None:
            return self.labgrid.url
        if self.probe:
            return f"{PROBE_DOOR}{self.probe}"
        return self.ssh.url if self.ssh is not None else FLASH_DOOR + ",".join(sorted(self.flash.values()))

    @property
    def doors(self) -> tuple[str, ...]:
        """The ways to the unit beside its port (`doors_of`)."""
        return doors_of(self.probe, self.flash, self.ssh, self.power)

    @property
    def unit_names(self) -> tuple[tuple[str, str], ...]:
        """By which keys the unit is told from all others of the bench, and what they say."""
        ssh = self.ssh.url.lower() if self.ssh is not None else None
        named = (("chip", self.chip), ("probe", self.probe), ("ssh", ssh))
        return tuple((key, value) for key, value in named if value)

    @model_validator(mode="after")
    def _has_one_identity(self) -> Self:
        named = [word for word in ("usb", "twin", "port", "labgrid") if getattr(self, word) is not None]
        if not named and (self.probe or self.flash or self.ssh):
            return self
        if len(named) != 1:
            found = f"not {' and '.join(named)}" if named else "and has none"
            raise ValueError(f"place '{self.name}' needs one of usb, twin, port, labgrid and ssh, {found}")
        return self


class Bench(Value):
    """The units and ports connected to one host (`bench.toml`)."""

    schema_: Literal["assay.bench/1"] = Field(alias="schema")
    places: tuple[Place, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        seen: set[str] = set()
        for index, place in enumerate(self.places):
            if place.name in seen:
                raise FieldFault(f"there are two places called '{place.name}'", "places", index, "name")
            seen.add(place.name)
        return self

    @model_validator(mode="after")
    def _units_are_in_one_place(self) -> Self:
        """A unit in two places would have two locks, and be flashed by one while the other tests it."""
        seen: dict[tuple[str, str], str] = {}
        for index, place in enumerate(self.places):
            for key, value in place.unit_names:
                other = seen.setdefault((key, value), place.name)
                if other != place.name:
                    raise FieldFault(
                        f"places '{other}' and '{place.name}' are one unit, with the {key} {value}: a place may have "
                        "port, probe and ssh together",
                        *("places", index, key),
                    )
        return self


def _four(number: int | None) -> str:
    return "????" if number is None else f"{number:04x}"
