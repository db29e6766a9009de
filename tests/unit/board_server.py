# SPDX-License-Identifier: Apache-2.0
"""A pseudo board in real time: on a pseudo-terminal, a TCP socket or a UDP port, for as long as a block lasts."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
