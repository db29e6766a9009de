# SPDX-License-Identifier: Apache-2.0
"""Addresses of ports as people write them, and the one port that is meant.

Guards: `hwgrep://` that fits several ports is a question, never a guess (pyserial takes the first): two names of one
port become one lock. Leaves to others: opening it (`serial_transport`, `udp_transport`).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from assay.errors import LinkError, UsageFault

HWGREP = "hwgrep://"


def resolved(address: str) -> str:
    """`address`, with `hwgrep://PATTERN` replaced by the one port that it fits. Raises `UsageFault`, `LinkError`."""
    if not address.startswith(HWGREP):
        return address
    from serial.tools import list_ports

    pattern = address.removeprefix(HWGREP).partition("&")[0]
    try:
        found = sorted(list_ports.grep(pattern), key=lambda port: str(port.device))
    except re.error as error:
        raise UsageFault(f"{pattern!r} is no regular expression: {error}", remedy="correct the port") from error
    if len(found) == 1:
        return str(found[0].device)
    if found:
        listed = "; ".join(f"{port.device} ({port.description}, {port.hwid})" for port in found)
        raise UsageFault(f"{address} fits {len(found)} ports: {listed}", remedy="say more, such as the serial number")
    ports = ", ".join(sorted(str(port.device) for port in list_ports.comports())) or "none"
    raise LinkError(f"no port fits {address}", remedy=f"connect the board; ports of this host: {ports}")


def transport_of(address: str, serial: str, offered: Collection[str]) -> str:
    """The driver (group `assay.transports`) for `address`: the one of `offered` that is called like its scheme, else
    `serial`, for all that pyserial opens.
    """
    scheme, found, _ = address.partition("://")
    return scheme if found and scheme in offered else serial
