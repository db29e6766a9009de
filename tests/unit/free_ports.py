# SPDX-License-Identifier: Apache-2.0
"""TCP ports for servers that a test starts, which take a number and not an open socket.

A number is not from the range that the kernel gives to whoever asks for any port, so that no connection has it before
the server does; and no other process of the tests has it while this one lives.
"""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
PORTS = 10_000

_taken: list[socket.socket] = []


def free_port() -> int:
    """One on loopback that nobody listens at; it is this process's until that ends."""
    least = int(RANGE.read_text().split()[0]) if RANGE.exists() else 32768
    ports = range(max(1024, least - PORTS), least)
    for port in random.sample(ports, len(ports)):
        with contextlib.suppress(OSError), contextlib.ExitStack() as mark:
            name = mark.enter_context(socket.socket(socket.AF_UNIX))
            name.bind(f"\0assay-tests-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
            mark.pop_all()
            _taken.append(name)
            return port
    raise AssertionError("no port is free")
