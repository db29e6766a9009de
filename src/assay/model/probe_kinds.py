# SPDX-License-Identifier: Apache-2.0
"""Debug probes by what a USB device says of itself, and the ids that pyOCD and OpenOCD know them by.

Guards: a device that is not known to be a probe is none. Leaves to others: looking (`drivers.usb_ports`,
`drivers.usb_flashable`).
"""

from __future__ import annotations

SEGGER = 0x1366
ST = 0x0483
ST_LINKS = frozenset({0x374A, 0x374B, 0x374D, 0x374E, 0x374F, 0x3752, 0x3753, 0x3754, 0x3755, 0x3757})
"""ST-Link V2-1 and V3. V2 (3748) is not here: what it gives as its serial number is not text."""
CMSIS_DAP = "CMSIS-DAP"
"""The standard asks for these letters in the product's name, and tools look for them."""


def probe_id(vendor: int | None, product: int | None, serial: str | None, name: str) -> str | None:
    """The probe's id for its tools; None for a device that is no probe, or has no serial number."""
    if not serial:
        return None
    if vendor == SEGGER:  # a number, which USB shows with zeros in front and the tools without
        return serial.lstrip("0") or None if serial.isdecimal() else None
    if (vendor == ST and product in ST_LINKS) or CMSIS_DAP in name:
        return serial
    return None
