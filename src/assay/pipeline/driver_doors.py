# SPDX-License-Identifier: Apache-2.0
"""Drivers by name: the built-in ones come through the same door as anyone's, the entry points of installed packages.

Guards: a name that nobody offers, or that two packages offer, is told with what there is. Leaves to others: what a
driver does (`interfaces`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from assay.backends.entry_points import comes_with_assay, offered_names
from assay.backends.entry_points import installed_driver as _driver
from assay.errors import UsageFault, at_layer
from assay.formats.near_names import did_you_mean
from assay.model.bench import NO_PORTS
from assay.model.ssh import SSH_SCHEME
from assay.pipeline.driver_faults import answerable_transport

if TYPE_CHECKING:
    from assay.interfaces.device import Device
    from assay.interfaces.flasher import Flasher
    from assay.interfaces.loader import RomLoader
    from assay.interfaces.power import Power
    from assay.interfaces.remote_host import RemoteHost
    from assay.interfaces.smp_server import SmpServer
    from assay.interfaces.transport import Transport
    from assay.model.ssh import SshAddress


TRANSPORT = "serial"
"""The driver of every address that is none of another's."""
HOST = "ssh"


def transport_driver(name: str) -> Callable[[str, int], Transport]:
    """`(address, baud in bit/s) -> Transport`, group `assay.transports`."""
    return cast("Callable[[str, int], Transport]", _driver("transports", name))


def open_transport(address: str, baud: int, *, heard_as: str | None = None) -> Transport:
    """The link to `address` at `baud` bit/s, by the driver that its scheme needs; who listens hears what it reads.

    Raises what the driver raises; UsageFault for a place that has a host and no port.
    """
    if address.startswith(SSH_SCHEME):
        raise UsageFault(
            f"the place at {address} has no port, only a host", remedy="give it a port or usb in the bench file as well"
        )
    if address.startswith(NO_PORTS):
        raise UsageFault(
            f"the place has no port that could be opened, only its {address}",
            remedy="give it usb or port in bench.toml; without one it can be flashed (assay flash --flasher)",
        )
    from assay.drivers.console_tap import TappedTransport
    from assay.drivers.port_address import transport_of

    name = transport_of(address, TRANSPORT, offered_names("transports") if "://" in address else ())
    with at_layer("port"):
        driver = transport_driver(name)
        if name == TRANSPORT or comes_with_assay("transports", name):  # they have limits of their own
            return TappedTransport(driver(address, baud), heard_as or address)
        return TappedTransport(answerable_transport(name, lambda: driver(address, baud)), heard_as or address)


def device_driver(name: str) -> Callable[[Transport, int, str], Device]:
    """`(transport, baud in bit/s, framing) -> Device`, group `assay.devices`."""
    return cast("Callable[[Transport, int, str], Device]", _driver("devices", name))


def server_driver(name: str) -> Callable[..., SmpServer]:
    """`(transport, *, baud, framing, version, tells, buffers, ...) -> SmpServer`, group `assay.servers`."""
    return cast("Callable[..., SmpServer]", _driver("servers", name))


def loader_driver(name: str) -> Callable[[Transport, int], RomLoader]:
    """`(transport, baud in bit/s) -> RomLoader`, group `assay.loaders`; the name is the board's `loader.protocol`."""
    return cast("Callable[[Transport, int], RomLoader]", _driver("loaders", name))


def open_host(address: SshAddress) -> RemoteHost:
    """The host at `address`, not connected yet: driver `ssh` of group `assay.hosts`. Raises ToolMissing, UsageFault."""
    return cast("RemoteHost", _driver("hosts", HOST)(address))


def open_power(
    chosen: str | Callable[..., Any], address: str, options: Mapping[str, Any], transport: Transport | None = None
) -> Power:
    """The switch of a driver of group `assay.power`, `(address, *, OPTION...) -> Power`: by its name, or itself.

    A driver with a parameter `transport` gets the unit's own. Raises UsageFault for an option that the driver does not
    have, or that is missing; and what the driver raises.
    """
    with at_layer("power"):
        return _BlamedPower(cast("Power", _opened("power", chosen, address, options, {"transport": transport})))


def open_flasher(
    chosen: str | Callable[..., Any], address: str, options: Mapping[str, Any], *, folder: Path, port: str = "",
    ssh: SshAddress | None = None,
) -> Flasher:  # fmt: skip
    """The flasher of a driver of group `assay.flashers`, `(address, *, OPTION...) -> Flasher`: by its name, or itself.

    A driver with a parameter `folder` gets a folder for files and the tool's words that are kept; one with `port` the
    address of the unit's serial port, which is not open; one with `ssh` its host. Raises UsageFault for an option that
    the driver does not have, or that is missing; and what the driver raises.
    """
    given = {"folder": folder, "port": port, "ssh": ssh}
    with at_layer("flasher"):
        return cast("Flasher", _opened("flashers", chosen, address, options, given))


class OptionFault(UsageFault):
    """A driver does not have `option`, or needs it."""

    def __init__(self, message: str, option: str, *, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.option = option


def check_driver(kind: Literal["power", "flashers"], name: str, options: Mapping[str, Any]) -> None:
    """Raises `UsageFault` for a driver that nobody offers, `OptionFault` for what it does not have or lacks;
    `ToolMissing`. Nothing is opened.
    """
    _check_options(kind, name, _driver(kind, name), options, _GIVEN[kind])


_GIVEN = {"power": ("transport",), "flashers": ("folder", "port", "ssh")}
"""What we give to a driver, so that a file cannot."""
_OPTIONS_ARE_IN = {"power": "the place's power.options", "flashers": "the options of the board's flasher"}


def _opened(
    kind: str, chosen: str | Callable[..., Any], address: str, options: Mapping[str, Any], given: Mapping[str, Any]
) -> Any:
    """What a driver with options makes, with those of `given` that it has a parameter for."""
    driver = _driver(kind, chosen) if isinstance(chosen, str) else chosen
    name = chosen if isinstance(chosen, str) else getattr(chosen, "__name__", str(chosen))
    parameters = inspect.signature(driver).parameters
    _check_options(kind, name, driver, options, given)
    return driver(address, **options, **{key: value for key, value in given.items() if key in parameters})


def _check_options(
    kind: str, name: str, driver: Callable[..., Any], options: Mapping[str, Any], given: Iterable[str]
) -> None:
    word = f"the {kind.removesuffix('s')} driver '{name}'"
    parameters = inspect.signature(driver).parameters
    known = [each for each in list(parameters)[1:] if each not in given]
    for option in options:
        if option not in known:
            remedy = f"{did_you_mean(option, known)}options: {', '.join(known) or 'none'}"
            raise OptionFault(f"{word} has no option '{option}'", option, remedy=remedy)
    missing = [each for each in known if parameters[each].default is inspect.Parameter.empty and each not in options]
    if missing:
        remedy = f"add it to {_OPTIONS_ARE_IN[kind]}"
        raise OptionFault(f"{word} needs the option '{missing[0]}'", missing[0], remedy=remedy)


OWN_WAYS: tuple[Literal["port", "ssh"], ...] = ("port", "ssh")


def flasher_takes(name: str, what: Literal["port", "ssh"]) -> bool:
    """True for a flasher driver that works over the place's own serial port, or over its host."""
    return what in inspect.signature(_driver("flashers", name)).parameters


def power_uses_port(name: str) -> bool:
    """True for a power driver that can switch by the unit's own port (`transport`)."""
    return "transport" in inspect.signature(_driver("power", name)).parameters


class _BlamedPower:
    """A driver's switch, whose faults are blamed on the power, whoever uses it."""

    def __init__(self, power: Power) -> None:
        self._power = power

    def on(self) -> None:
        """As the driver does it."""
        with at_layer("power"):
            self._power.on()

    def off(self) -> None:
        """As the driver does it."""
        with at_layer("power"):
            self._power.off()

    def cycle(self, off_s: float = 0.05) -> None:
        """As the driver does it."""
        with at_layer("power"):
            self._power.cycle(off_s)

    def cut(self) -> None:
        """As the driver does it."""
        with at_layer("power"):
            self._power.cut()

    def is_on(self) -> bool:
        """As the driver does it."""
        with at_layer("power"):
            return self._power.is_on()
