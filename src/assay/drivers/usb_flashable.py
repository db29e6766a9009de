# SPDX-License-Identifier: Apache-2.0
"""USB devices without a serial port that flashers can find: debug probes, and devices that are in DFU mode.

Guards: nothing is opened, and no board guessed from them. Leaves to others: serial ports, whose device may be a probe
too (`usb_ports`), UF2 volumes (`drivers.flash.uf2_volume`).
"""

from __future__ import annotations

from collections.abc import Sequence

from assay.drivers import usb_devices
from assay.drivers.usb_devices import UsbDevice
from assay.model.probe_kinds import probe_id
from assay.model.seen_port import USELESS_SERIAL, SeenDevice, SeenPort

DFU_MODE = ("fe", "01", "02")
"""Class, subclass and protocol of an interface in DFU mode (USB DFU 1.1, table 4.4); 01 would be an app that can."""
DFU_UTIL = "dfu-util"


def seen_devices(ports: Sequence[SeenPort]) -> list[SeenDevice]:
    """Those of this host, by socket; a device that is one of `ports` is left out."""
    with_ports = {port.location for port in ports}
    found = [_seen(device) for device in usb_devices.usb_devices() if device.location not in with_ports]
    return [each for each in found if each is not None]


def _seen(device: UsbDevice) -> SeenDevice | None:
    probe = probe_id(device.vendor, device.product, device.serial, device.name)
    if probe is not None:
        return SeenDevice("probe", probe, device.location, str(device))
    if not _is_in_dfu_mode(device):
        return None
    own = device.serial if device.serial and not USELESS_SERIAL.fullmatch(device.serial) else None
    return SeenDevice(DFU_UTIL, own or device.location, device.location, str(device))


def _is_in_dfu_mode(device: UsbDevice) -> bool:
    names = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
    interfaces = usb_devices.SYS.glob(f"{device.location}:*")
    return any(tuple(usb_devices.text_of(each / name) for name in names) == DFU_MODE for each in interfaces)
