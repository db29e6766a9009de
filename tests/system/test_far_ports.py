# SPDX-License-Identifier: Apache-2.0
"""A unit behind a port server: its line is at a TCP port, plain (`socket://`) or with RFC 2217, and every byte of an
update goes over it. Somebody else's boards behind such addresses: `test_foreign_peer`, `test_foreign_server`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
import serial.rfc2217
from life_site import APP, LifeSite, unit_site

READ_MAX = 65536


class _Answers:
    """What the port manager writes to."""

    def __init__(self, link: socket.socket) -> None:
        self.write = link.sendall


@contextlib.contextmanager
def port_server(tty: Path, scheme: str) -> Iterator[str]:
    """The address of a server in front of the line, as ser2net and racks have it: one client after the other."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener, serial.Serial(str(tty), 115200, timeout=0) as line:

        def serve() -> None:
            while not ended.is_set():
                if select.select([listener], [], [], 0.1)[0]:
                    with listener.accept()[0] as link, contextlib.suppress(OSError):
                        relay(link, line, scheme == "rfc2217", ended)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield "{}://{}:{}".format(scheme, *listener.getsockname())
        finally:
            ended.set()
            thread.join()


def relay(link: socket.socket, line: serial.Serial, rfc2217: bool, ended: threading.Event) -> None:
    """Move bytes both ways until the client has gone."""
    lines = serial.serial_for_url("loop://")  # takes the settings and control lines, which a pseudo-terminal has not
    manager = serial.rfc2217.PortManager(lines, _Answers(link)) if rfc2217 else None
    while not ended.is_set():
        for ready in select.select([link, line], [], [], 0.1)[0]:
            data = link.recv(READ_MAX) if ready is link else line.read(READ_MAX)
            if not data and ready is link:
                return
            if ready is link:
                line.write(b"".join(manager.filter(data)) if manager else data)
            else:
                link.sendall(b"".join(manager.escape(data)) if manager else data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LifeSite]:
    made = unit_site("ast1030-evb", tmp_path_factory.mktemp("far") / "site")
    made.good("twin", "start", "a")
    yield made
    made.good("twin", "stop", "a", "--force")


@pytest.mark.parametrize(("scheme", "verb", "version"), [("rfc2217", "update", "1.1.0"), ("socket", "flash", "1.0.0")])
@pytest.mark.timeout(300)
def test_a_unit_behind_a_port_server(site: LifeSite, tmp_path: Path, scheme: str, verb: str, version: str) -> None:
    bench = tmp_path / "bench.toml"
    with port_server(site.folder / "twins" / "a" / "tty", scheme) as address:
        entry = f'[[places]]\nname = "far"\nboard = "ast1030-evb"\nport = "{address}"\n'
        bench.write_text(f'schema = "assay.bench/1"\n{entry}')
        told = site.within(verb, f"{APP}@{version}", "--place", "far", "--trust", site.trust, "--bench", bench)
    assert (told.status, told.data["outcome"]) == (0, "PASS"), told.said
