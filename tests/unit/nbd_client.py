# SPDX-License-Identifier: Apache-2.0
"""A client of the NBD protocol, written from its text: one question at a time."""

from __future__ import annotations

import socket
import struct


class Client:
    """An NBD client on a socket."""

    def __init__(self, end: socket.socket, size: int) -> None:
        self.end = end
        magic, option, flags = struct.unpack(">8sQH", self.take(18))
        assert (magic, option, flags & 1) == (b"NBDMAGIC", 0x49484156454F5054, 1)
        end.sendall(struct.pack(">I", 3))
        assert self.option(8) == [(0x80000001, b"")]  # structured replies: not here
        kinds = self.option(7, struct.pack(">IH", 0, 0))
        assert kinds == [(3, struct.pack(">HQH", 0, size, 1 | 4 | 8)), (1, b"")]

    def option(self, number: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        self.end.sendall(b"IHAVEOPT" + struct.pack(">II", number, len(data)) + data)
        answers: list[tuple[int, bytes]] = []
        while not answers or answers[-1][0] == 3:
            _, _, kind, length = struct.unpack(">QIII", self.take(20))
            answers.append((kind, self.take(length)))
        return answers

    def ask(
        self, command: int, offset: int = 0, length: int = 0, data: bytes = b"", flags: int = 0
    ) -> tuple[int, bytes]:
        self.end.sendall(struct.pack(">IHHQQI", 0x25609513, flags, command, 77, offset, length or len(data)) + data)
        magic, error, handle = struct.unpack(">IIQ", self.take(16))
        assert (magic, handle) == (0x67446698, 77)
        return error, self.take(length) if command == 0 and not error else b""

    def take(self, count: int) -> bytes:
        data = self.end.recv(count, socket.MSG_WAITALL) if count else b""
        assert len(data) == count
        return data
