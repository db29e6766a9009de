# SPDX-License-Identifier: Apache-2.0
"""The serial ports of this host with what their USB devices say of themselves, and the port that an identity means now.

Guards: a port is never chosen by luck: none or several that fit is an error with the list of what there is; a name that
the kernel keeps for a UART that was never there is no port.
Leaves to others: opening it (`drivers.serial_transport`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.errors import LinkError, UsageFault
from assay.formats.visible_text import visible
from assay.model.seen_port import SeenPort, matching

if TYPE_CHECKING:
    from assay.model.bench import UsbIdentity


SYSTEM_TTYS = Path("/sys/class/tty")
NO_UART = "0"
"""PORT_UNKNOWN of linux/serial_core.h: a kernel has names for UARTs that a board might have, most often 4 or 32, and
since 6.5 pyserial lists them all.
"""


def seen_ports() -> list[SeenPort]:
    """The ports of this host, sorted by device."""
    return [port for port in _listed() if not _is_a_name_alone(port)]


def names_without_a_port() -> list[str]:
    """Devices that look like serial ports, and of which the kernel itself says that nothing is behind them."""
    return [port.device for port in _listed() if _is_a_name_alone(port)]


def _listed() -> list[SeenPort]:
    from serial.tools import list_ports

    return sorted((_seen(port) for port in list_ports.comports()), key=lambda port: port.device)


def _is_a_name_alone(port: SeenPort) -> bool:
    """Read from /sys: a port is not opened for it."""
    try:
        return not port.is_usb and (SYSTEM_TTYS / Path(port.device).name / "type").read_text().strip() == NO_UART
    except (OSError, UnicodeDecodeError):
        return False


def _seen(port: Any) -> SeenPort:
    # pyserial appends the interface to the location where a device has several: `1-2.3:1.0`.
    location, _, interface = (port.location or "").partition(":")
    number = interface.rpartition(".")[2]
    return SeenPort(
        device=os.fspath(port.device),
        vendor=port.vid,
        product=port.pid,
        serial=port.serial_number if port.serial_number and port.serial_number.isprintable() else None,
        interface=int(number) if number.isdecimal() else None,
        location=location or None,
        maker=visible(port.manufacturer or ""),
        product_name=visible(port.product or ""),
    )


def port_of(place: str, identity: UsbIdentity, seen: Sequence[SeenPort] | None = None) -> str:
    """The device of the one port that is `identity`.

    Raises LinkError when it is not there, saying what is; UsageFault listing the candidates when there are several.
    """
    there = seen_ports() if seen is None else seen
    found = matching(identity, there)
    if len(found) == 1:
        return found[0].device
    if found:
        listed = "; ".join(map(str, found))
        raise UsageFault(f"{len(found)} ports can be {place} ({identity}): {listed}", remedy=_what_tells_apart(found))
    raise LinkError(f"{place} is not connected ({identity}){_instead(identity, there)}", remedy=_remedy(there))


def _what_tells_apart(found: list[SeenPort]) -> str:
    """What to add to the place, so that one port is left."""
    for word, reason in (
        ("serial", "their serial numbers differ"),
        ("interface", "they are ports of one device"),
        ("location", "only their sockets differ, so leave them plugged in where they are"),
    ):
        values = [getattr(port, word) for port in found]
        if None not in values and len(set(values)) == len(values):
            return f"add {word} to the place's usb in bench.toml: {reason}"
    return "unplug all but one"


def _instead(identity: UsbIdentity, there: Sequence[SeenPort]) -> str:
    """What is in its socket, or of its kind, instead: a board that was swapped."""
    in_socket = [port for port in there if identity.location and port.location == identity.location]
    alike = [
        port for port in there if port.is_usb and (port.vendor, port.product) == (identity.vendor, identity.product)
    ]
    if in_socket:
        return f"; in its socket is {'; '.join(map(str, in_socket))}"
    return f"; of its kind there is {'; '.join(map(str, alike))}" if alike else ""


def _remedy(there: Sequence[SeenPort]) -> str:
    listed = "; ".join(map(str, there)) or "none"
    return f"plug it in; if another unit took its place: assay bench scan. Ports of this host: {listed}"
