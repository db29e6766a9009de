# SPDX-License-Identifier: Apache-2.0
"""The USB devices of this host, and the udev line for one that may not be used.

Guards: nothing is opened. Linux only: elsewhere there are none, and no line is given.
Leaves to others: serial ports (`usb_ports`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from assay.errors import LinkError
from assay.formats.visible_text import visible

SYS = Path("/sys/bus/usb/devices")
NODES = Path("/dev/bus/usb")
RULES = "/etc/udev/rules.d/70-assay.rules"


@dataclass(frozen=True)
class UsbDevice:
    """A USB device; `location` is its socket (`1-2.3`), `node` what a driver opens."""

    vendor: int
    product: int
    serial: str | None
    location: str
    node: Path
    name: str

    def __str__(self) -> str:
        serial = f"serial number {self.serial}" if self.serial else "no serial number"
        return f"USB {self.vendor:04x}:{self.product:04x} {self.name}, {serial}, in socket {self.location}"


def usb_devices() -> list[UsbDevice]:
    """What is plugged in, by socket; hubs and interfaces are left out."""
    if not SYS.is_dir():
        return []
    found = [_device(folder) for folder in sorted(SYS.iterdir()) if ":" not in folder.name]
    return [device for device in found if device is not None]


def check_permission(wanted: Callable[[UsbDevice], bool]) -> None:
    """Raises LinkError with the udev line when a device that is `wanted` is there and may not be written."""
    for device in usb_devices():
        if wanted(device) and _is_forbidden(device):
            raise LinkError(f"no permission for {device.node} ({device})", remedy=_rule(device))


def rules_for_probes() -> str:
    """The udev lines for what calls itself a debug probe here and may not be used; empty when there is none."""
    return "\n".join(_rule(device) for device in usb_devices() if _PROBE.search(device.name) and _is_forbidden(device))


_PROBE = re.compile(r"DAP|J-?Link|ST-?Link|debug|probe|JTAG|SWD|FT[24]?232", re.IGNORECASE)


def _is_forbidden(device: UsbDevice) -> bool:
    return device.node.exists() and not os.access(device.node, os.R_OK | os.W_OK)


def same_serial(one: str | None, other: str | None) -> bool:
    """True for one serial number, however it is written: those of J-Link are numbers, which pyOCD writes without the
    zeros that USB has in front.
    """
    return bool(one and other) and (one or "").lower().lstrip("0") == (other or "").lower().lstrip("0")


def _rule(device: UsbDevice) -> str:
    ids = f'ATTRS{{idVendor}}=="{device.vendor:04x}", ATTRS{{idProduct}}=="{device.product:04x}"'
    rights = 'MODE="0660", GROUP="plugdev", TAG+="uaccess"'
    lines = [f"{kind}, {ids}, {rights}" for kind in ('SUBSYSTEM=="usb"', 'KERNEL=="hidraw*"')]
    return "\n".join([f"put these lines into {RULES} and plug it in again:", *lines])


def _device(folder: Path) -> UsbDevice | None:
    try:
        vendor, product = (int(text_of(folder / name), 16) for name in ("idVendor", "idProduct"))
        bus, number = (int(text_of(folder / name)) for name in ("busnum", "devnum"))
    except ValueError:
        return None
    if text_of(folder / "bDeviceClass") == "09":
        return None
    name = " ".join(word for word in (text_of(folder / "manufacturer"), text_of(folder / "product")) if word)
    node = NODES / f"{bus:03d}" / f"{number:03d}"
    return UsbDevice(vendor, product, text_of(folder / "serial") or None, folder.name, node, visible(name))


def text_of(file: Path) -> str:
    """What a file of sysfs says; empty when it is not there."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
