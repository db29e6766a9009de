# SPDX-License-Identifier: Apache-2.0
"""A serial port or another USB device that is there now, and which identity means it.

Guards: an identity is made of what the unit is; the socket joins it only where nothing else tells two units apart.
Leaves to others: looking (`drivers.usb_ports`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from assay.model.bench import UsbIdentity
from assay.model.probe_kinds import probe_id

USELESS_SERIAL = re.compile(r"0*|0*1|0123456789(ABCDEF)?|1234567890|n/?a|none|unknown", re.IGNORECASE)
"""Serial numbers that makers of adapters leave in all of them: they tell nothing apart."""


@dataclass(frozen=True)
class SeenPort:
    """A port of this host now; `location` without the interface, which is a number of its own."""

    device: str
    vendor: int | None = None
    product: int | None = None
    serial: str | None = None
    interface: int | None = None
    location: str | None = None
    maker: str = ""
    product_name: str = ""

    @property
    def probe(self) -> str | None:
        """The id of the debug probe that the port is a part of, as on most development boards; None: it is of none."""
        return probe_id(self.vendor, self.product, self.serial, f"{self.maker} {self.product_name}")

    @property
    def is_usb(self) -> bool:
        """True when it says what it is."""
        return self.vendor is not None

    def __str__(self) -> str:
        if not self.is_usb:
            return f"{self.device} (no USB device: it does not say what it is)"
        name = " ".join(word for word in (self.maker, self.product_name) if word)
        words = [f"USB {self.vendor:04x}:{self.product or 0:04x}{' ' + name if name else ''}"]
        words += [f"serial number {self.serial}" if self.serial else "no serial number"]
        words += [f"interface {self.interface}" if self.interface is not None else ""]
        words += [f"in socket {self.location}" if self.location else ""]
        return f"{self.device} ({', '.join(word for word in words if word)})"


@dataclass(frozen=True)
class SeenDevice:
    """A USB device without a port, which a flasher finds: `kind` is `probe`, or the flasher; `id` what a place calls
    it, `location` its socket, `words` what it says of itself.
    """

    kind: str
    id: str
    location: str
    words: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id} ({self.words})"


def matching(identity: UsbIdentity, seen: Sequence[SeenPort]) -> list[SeenPort]:
    """The ports that are what `identity` says."""
    return [port for port in seen if port.is_usb and _is(identity, port)]


def _is(identity: UsbIdentity, port: SeenPort) -> bool:
    wanted = (identity.vendor, identity.product, identity.serial, identity.interface, identity.location)
    found = (port.vendor, port.product, port.serial, port.interface, port.location)
    return all(want is None or want == have for want, have in zip(wanted, found, strict=True))


def identity_of(port: SeenPort, seen: Sequence[SeenPort]) -> UsbIdentity | None:
    """The identity by which `port` is found again, wherever it is plugged in; with the socket where it has to be.

    None for a port that is no USB device.
    """
    if not port.is_usb:
        return None
    serial = port.serial if port.serial and not USELESS_SERIAL.fullmatch(port.serial) else None
    by_unit = UsbIdentity(vendor=port.vendor, product=port.product, serial=serial, interface=port.interface)
    if serial is not None and matching(by_unit, seen) == [port]:
        return by_unit
    return by_unit.model_copy(update={"location": port.location})
