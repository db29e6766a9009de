# SPDX-License-Identifier: Apache-2.0
"""A TCP connection that notices within seconds that nobody is there any more.

Guards: data that is not acknowledged, and a silent link, end the connection by the kernel, whatever the program above
waits for. (paramiko's own time-outs do not: a write that the kernel took is no business of theirs.)
"""

from __future__ import annotations

import socket

from assay.errors import LinkError

CONNECT_TIMEOUT_S = 10.0
UNACKNOWLEDGED_MS_MAX = 5000
KEEPALIVE_IDLE_S, KEEPALIVE_EACH_S, KEEPALIVE_COUNT = 2, 1, 3


def connect_tcp(host: str, port: int, name: str, timeout_s: float = CONNECT_TIMEOUT_S) -> socket.socket:
    """A connection to the first address of `host` that takes one. Raises LinkError with `name` in it."""
    try:
        link = socket.create_connection((host, port), timeout=timeout_s)
        watch(link)
    except (OSError, UnicodeError) as error:  # the second: a name that cannot be one
        where = name if name.endswith(f":{port}") else f"{name}, port {port}"
        raise LinkError(
            f"cannot reach {where}: {error}", remedy="check the name, the network and that its sshd runs"
        ) from error
    return link


def watch(link: socket.socket) -> None:
    """Set what makes the kernel notice; options that this system does not have are left out. Raises OSError."""
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": KEEPALIVE_IDLE_S,
        "TCP_KEEPINTVL": KEEPALIVE_EACH_S,
        "TCP_KEEPCNT": KEEPALIVE_COUNT,
        "TCP_USER_TIMEOUT": UNACKNOWLEDGED_MS_MAX,
    }
    for option, value in options.items():
        if number := getattr(socket, option, None):
            link.setsockopt(socket.IPPROTO_TCP, number, value)
