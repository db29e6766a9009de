# SPDX-License-Identifier: Apache-2.0
"""What tests of power switches talk to: programs, a hub's tool, an sshd, a port server; and a walk over a switch."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import serial
import serial.rfc2217
from ssh_server import public_line, ssh_server

from assay.interfaces.power import Power

UHUBCTL = """
state={state}
case "$*" in
  "-l 1-1 -p 2 -a on") echo 1 > $state;;
  "-l 1-1 -p 2 -a off") echo 0 > $state;;
  "-l 1-1 -p 2") ;;
  *) echo "No compatible devices detected!" >&2; exit 1;;
esac
echo "Current status for hub 1-1 [05e3:0608 USB2.0 Hub, USB 2.00, 4 ports, ppps]"
if [ "$(cat $state)" = 1 ]; then echo "  Port 2: 0103 power enable connect [1366:1055 SEGGER J-Link 000683000001]"
else echo "  Port 2: 0000 off"; fi
"""
"""The real program finds no hub here: what it prints where there is one."""


def walk(power: Power) -> None:
    """On, on again, cycle, off, off again, cut: the state is what it was told."""
    for action, state in ((power.on, True), (power.on, True), (power.cycle, True), (power.off, False)):
        action()
        assert power.is_on() is state
    power.off()
    power.on()
    power.cut()
    assert power.is_on() is False


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def file_commands(state: Path) -> dict[str, tuple[str, ...]]:
    """A switch that is a file: on when it is there."""
    return {"on": ("touch", str(state)), "off": ("rm", "-f", str(state)), "status": ("test", "-e", str(state))}


@contextmanager
def sshd(folder: Path) -> Iterator[tuple[str, ...]]:
    """A real sshd on loopback for this user; gives the words for ssh that know its key."""
    with ssh_server(folder) as server:
        (folder / "known").write_text(f"[127.0.0.1]:{server.port} {public_line(folder / 'host')}\n")
        (folder / "ssh_config").write_text(
            f"UserKnownHostsFile {folder / 'known'}\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking no\n"
            "NoHostAuthenticationForLocalhost yes\nIdentitiesOnly yes\n"
        )
        yield "-p", str(server.port), "-i", str(folder / "user"), "-F", str(folder / "ssh_config")


@contextmanager
def rfc2217() -> Iterator[tuple[str, serial.SerialBase]]:
    """A port server on loopback, as ser2net is; behind it pyserial's loop, whose RTS is its own CTS."""
    port = serial.serial_for_url("loop://", timeout=0.05)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(link: socket.socket) -> None:
        with link:
            manager = serial.rfc2217.PortManager(port, _Writer(link))
            with suppress(OSError):
                while data := link.recv(1024):
                    port.write(b"".join(manager.filter(data)))
                    if echoed := port.read(port.in_waiting):
                        link.sendall(b"".join(manager.escape(echoed)))

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"rfc2217://127.0.0.1:{listener.getsockname()[1]}", port
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


class _Writer:
    def __init__(self, link: socket.socket) -> None:
        self._link = link

    def write(self, data: bytes) -> None:
        self._link.sendall(data)
