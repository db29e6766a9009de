#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands in for QEMU where a test is about the wire and not about a machine: same sockets, same monitor words.

UART 0 prints `BOOT n` (n counts the runs by a byte in the flash file) and echoes; `!exit` ends it, `!entropy N S` asks
the entropy port for N bytes and prints how many came, within S seconds; the monitor knows qmp_capabilities and stop.
With a disk behind a socket, `!keep` writes a sector and flushes, and prints `kept`.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import sys
from pathlib import Path

from nbd_client import Client

DISK_BYTES = 0x10500000
"""Of boards/linux-arm64.toml."""


def fd_of(name: str) -> socket.socket:
    wanted = f"socket,id={name},fd="
    return socket.socket(fileno=int(next(a for a in sys.argv if a.startswith(wanted)).removeprefix(wanted)))


def disk_of(drive: str) -> Client | None:
    fd = drive.partition("file.server.str=")[2]
    return Client(socket.socket(fileno=int(fd)), DISK_BYTES) if fd else None


def count_run(drive: str) -> int:
    flash = Path(next(part for part in drive.split(",") if part.startswith("file=")).removeprefix("file="))
    content = bytearray(flash.read_bytes())
    content[0] = (content[0] + 1) & 0xFF
    flash.write_bytes(content)
    return content[0]


def received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except ConnectionResetError:
        return b""


def on_uart(data: bytes, uart: socket.socket, entropy: socket.socket, disk: Client | None) -> None:
    if data.startswith(b"!exit"):
        sys.exit("qemu: fatal: Lockup")
    if disk is not None and data.startswith(b"!keep"):
        disk.ask(1, 0, data=b"k" * 512)
        disk.ask(3)
        uart.sendall(b"kept\r\n")
        return
    if not data.startswith(b"!entropy"):
        uart.sendall(data)
        return
    count, within_s = data.split()[1:]
    entropy.sendall(bytes([int(count)]))
    entropy.settimeout(float(within_s))
    try:
        uart.sendall(b"%d bytes\r\n" % len(entropy.recv(300)))
    except TimeoutError:
        uart.sendall(b"silence\r\n")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    drive = next(a for a in sys.argv if a.startswith("if="))
    if drive.endswith("aio=io_uring") and "-no-io-uring" in sys.argv:
        sys.exit("qemu: aio=io_uring was specified, but is not supported in this build.")
    if "-crash" in sys.argv:
        sys.exit("qemu: could not load the ROM")
    uart, entropy, monitor = fd_of("uart0"), fd_of("entropy"), fd_of("monitor")
    monitor.sendall(b'{"QMP": {}}\n')
    disk = disk_of(drive)
    uart.sendall(b"BOOT %d\r\n" % (0 if disk else count_run(drive)))
    ends = [uart, monitor]
    while True:
        for source in select.select(ends, [], [])[0]:
            data = received(source)
            if not data:
                ends.remove(source)  # QEMU lives on when nobody is at the other end: only a signal ends it
            elif source is uart:
                while data.startswith(b"!") and not data.endswith(b"\n"):
                    data += received(uart)
                on_uart(data, uart, entropy, disk)
            for line in data.splitlines() if source is monitor else []:
                json.loads(line)
                monitor.sendall(b'{"event": "STOP"}\n{"return": {}}\n')


if __name__ == "__main__":
    main()
