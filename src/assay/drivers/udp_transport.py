# SPDX-License-Identifier: Apache-2.0
"""SMP over UDP (Zephyr's `smp_udp`): a datagram is a frame. Address: `udp://HOST[:PORT]`, port 1337 by default.

Guards: only datagrams of that host and port come in; every error of the system becomes one of ours.
Leaves to others: lost and repeated datagrams, which are lost and repeated frames (`mcumgr.session`).
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from assay.errors import LinkError, UsageFault
from assay.interfaces.readiness import readable

SMP_PORT = 1337
DATAGRAM_MAX = 65535  # bytes
DROPPED_MAX = 1000  # datagrams thrown away at once; a flood does not end


class UdpTransport:
    """`interfaces.transport.Transport` on a connected UDP socket; it is for raw framing."""

    def __init__(self, address: str, link: socket.socket) -> None:
        self._address = address
        self._link = link
        self._rest = b""  # of a datagram of which less was asked for

    @property
    def address(self) -> str:
        """As the user gave it."""
        return self._address

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """The next datagram, or the rest of one; empty after `timeout_s` of silence. Raises LinkError."""
        try:
            if not self._rest and readable(self._link, timeout_s):
                self._rest = self._link.recv(DATAGRAM_MAX)
        except (OSError, ValueError) as error:
            raise self._broken(error) from error
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return data

    def write(self, data: bytes) -> None:
        """Send `data` as one datagram. Raises LinkError."""
        try:
            self._link.send(data)
        except (OSError, ValueError) as error:
            raise self._broken(error) from error

    def drop_input(self) -> None:
        """Throw away what has been received."""
        for _ in range(DROPPED_MAX):
            if not self.read(DATAGRAM_MAX, 0.0):
                return

    def close(self) -> None:
        """Release the socket; a second call does nothing."""
        self._rest = b""
        self._link.close()

    def _broken(self, error: Exception) -> LinkError:
        what = "nobody listens there" if isinstance(error, ConnectionRefusedError) else str(error)
        return LinkError(
            f"the link to {self._address} broke: {what}", remedy="check the address, the network and the board's power"
        )


def open_udp(address: str, _baud: int) -> UdpTransport:
    """A socket to `udp://HOST[:PORT]` (entry point `assay.transports: udp`). Raises UsageFault, LinkError."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or SMP_PORT
    except ValueError as error:
        raise UsageFault(f"{address!r} is no address: {error}", remedy="write udp://HOST or udp://HOST:PORT") from error
    if not host or parts.path.strip("/"):
        raise UsageFault(f"{address!r} is no address", remedy="write udp://HOST or udp://HOST:PORT")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        link = socket.socket(family, kind, protocol)
        link.connect(where)
    except (OSError, UnicodeError) as error:  # the second: a name that cannot be one
        raise LinkError(f"cannot reach {address}: {error}", remedy="check the name and the network") from error
    return UdpTransport(address, link)
