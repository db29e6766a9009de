# SPDX-License-Identifier: Apache-2.0
"""A pseudo board in real time: on a pseudo-terminal, a TCP socket, a port server or a UDP port, while a block lasts."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import serial
import serial.rfc2217
from free_ports import free_port
from pseudo_board import PseudoBoard

POLL_S = 0.01
READ_MAX = 65536


@contextmanager
def _pumping(board: PseudoBoard, read: Callable[[], bytes], write: Callable[[bytes], object]) -> Iterator[None]:
    """Move bytes between `board` and its port in a thread of its own."""
    ended = threading.Event()

    def pump() -> None:
        while not ended.is_set():
            data = read()
            board.now_s = time.monotonic()
            if data:
                board.take(data)
            if said := board.give():
                write(said)

    board.now_s = time.monotonic()
    thread = threading.Thread(target=pump, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def on_pty(board: PseudoBoard) -> Iterator[str]:
    """The path of a pseudo-terminal."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)

    def read() -> bytes:
        return os.read(ours, READ_MAX) if select.select([ours], [], [], POLL_S)[0] else b""

    try:
        with _pumping(board, read, lambda data: os.write(ours, data)):
            yield os.ttyname(theirs)
    finally:
        os.close(ours)
        os.close(theirs)


@contextmanager
def on_udp(board: PseudoBoard) -> Iterator[str]:
    """An address `udp://...`; a datagram is a frame."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        peer: list[tuple[str, int]] = []

        def read() -> bytes:
            if not select.select([link], [], [], POLL_S)[0]:
                return b""
            data, where = link.recvfrom(READ_MAX)
            peer[:] = [where]
            return data

        with _pumping(board, read, lambda data: link.sendto(data, peer[0])):
            yield f"udp://127.0.0.1:{link.getsockname()[1]}"


AWAY_S = 3.0  # longer than nothing is asked after a reset


def resets_of(board: PseudoBoard) -> int:
    """How many resets the board was asked for."""
    return sum(each.startswith("reset") for each in board.asked)


Times = Callable[[PseudoBoard], int]
"""How often a port has gone away by now."""


@contextmanager
def on_usb(board: PseudoBoard, link: Path, times: Times = resets_of) -> Iterator[str]:
    """A port at `link` that is gone for `AWAY_S` with each reset, as that of a chip with USB of its own is."""
    ends: list[int] = []
    gone, back_s = 0, 0.0

    def plug_in() -> None:
        ends[:] = os.openpty()
        tty.setraw(ends[1])
        link.symlink_to(os.ttyname(ends[1]))

    def pull() -> None:
        link.unlink(missing_ok=True)
        while ends:
            os.close(ends.pop())

    def read() -> bytes:
        nonlocal gone, back_s
        if times(board) > gone:
            gone, back_s = times(board), time.monotonic() + AWAY_S
            pull()
        if not ends and time.monotonic() >= back_s:
            plug_in()
        if not ends:
            time.sleep(POLL_S)
            return b""
        return os.read(ends[0], READ_MAX) if select.select([ends[0]], [], [], POLL_S)[0] else b""

    plug_in()
    try:
        with _pumping(board, read, lambda data: os.write(ends[0], data) if ends else None):
            yield str(link)
    finally:
        pull()


@contextmanager
def on_restarting_udp(board: PseudoBoard, _link: Path, times: Times = resets_of) -> Iterator[str]:
    """An address `udp://...` where nobody listens for `AWAY_S` with each reset: the host there says so."""
    links: list[socket.socket] = []
    gone, back_s, where, peer = 0, 0.0, ("127.0.0.1", free_port()), ("", 0)

    def listen() -> None:
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.bind(where)
        links.append(link)

    def read() -> bytes:
        nonlocal gone, back_s, peer
        if times(board) > gone:
            gone, back_s = times(board), time.monotonic() + AWAY_S
            links.pop().close()
        if not links and time.monotonic() >= back_s:
            listen()
        if not links or not select.select(links, [], [], POLL_S)[0]:
            time.sleep(POLL_S)
            return b""
        data, peer = links[0].recvfrom(READ_MAX)
        return data

    listen()
    with _pumping(board, read, lambda data: links[0].sendto(data, peer) if links else None):
        yield f"udp://127.0.0.1:{where[1]}"
    while links:
        links.pop().close()


@contextmanager
def on_tcp(board: PseudoBoard) -> Iterator[str]:
    """An address `socket://...`, as a serial server in a rack has it; one user after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peers: list[socket.socket] = []

        def read() -> bytes:
            readable = select.select([listener, *peers], [], [], POLL_S)[0]
            if listener in readable:
                peers[:] = [listener.accept()[0]]
            elif readable:
                data = peers[0].recv(READ_MAX)
                if not data:
                    peers.clear()
                return data
            return b""

        def write(data: bytes) -> None:
            if peers:
                peers[0].sendall(data)

        with _pumping(board, read, write):
            yield "socket://{}:{}".format(*listener.getsockname())
        for peer in peers:
            peer.close()


@contextmanager
def on_rfc2217(board: PseudoBoard) -> Iterator[str]:
    """An address `rfc2217://...`, as ser2net has it: pyserial's own server in front of the board's socket."""
    far = serial.serial_for_url("loop://")  # takes the settings and control lines
    with on_tcp(board) as plain, socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = plain.removeprefix("socket://").split(":")

        def serve() -> None:
            with suppress(OSError):
                while True:
                    with listener.accept()[0] as link, socket.create_connection((host, int(port))) as line:
                        _relay(serial.rfc2217.PortManager(far, _Writer(link.sendall)), link, line)

        threading.Thread(target=serve, daemon=True).start()
        yield "rfc2217://{}:{}".format(*listener.getsockname())
        listener.shutdown(socket.SHUT_RDWR)


def _relay(manager: serial.rfc2217.PortManager, link: socket.socket, line: socket.socket) -> None:
    while True:
        for ready in select.select([link, line], [], [])[0]:
            data = ready.recv(READ_MAX)
            if not data:
                return
            if ready is link:
                line.sendall(b"".join(manager.filter(data)))
            else:
                link.sendall(b"".join(manager.escape(data)))


class _Writer:
    """What the port manager writes to."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.write = write
