# SPDX-License-Identifier: Apache-2.0
"""Somebody's SMP server on a port: console framing, buffers of any size and number, with or without the parameters
command; it takes an upload and nothing else. Written from the protocol; the line's rate is that of its own waiting.

    python foreign_server.py BUF_SIZE BUF_COUNT BAUD      BUF_SIZE 0: it does not tell

prints the port, and ends when its standard input does, with the number of upload frames, of bytes on the line, and of
bytes of the image that it has.
"""

from __future__ import annotations

import base64
import binascii
import os
import select
import sys
import time
import tty

import cbor2

ASSUMED_BYTES = 256
"""The buffer of a server that does not tell."""
BITS_PER_BYTE = 10


class Server:
    """Takes one image. Frames that do not fit its buffer are dropped."""

    def __init__(self, port: int, buf_size: int, buf_count: int, baud: int) -> None:
        self.port, self.tells, self.size, self.count = port, buf_size > 0, buf_size or ASSUMED_BYTES, buf_count
        self.byte_s = BITS_PER_BYTE / baud if baud else 0.0
        self.reached, self.length, self.sha = 0, 0, b""
        self.frames, self.on_line = 0, 0
        self._lines: list[bytes] = []
        self._rest = b""  # a line that has not ended

    def take(self, data: bytes) -> None:
        """Bytes from the port, after the time that a line needs for them."""
        self.on_line += len(data)
        time.sleep(len(data) * self.byte_s)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        if line.startswith(b"\x06\x09"):
            self._lines = []
        elif not line.startswith(b"\x04\x14"):
            return
        self._lines.append(base64.b64decode(line[2:]))
        body = b"".join(self._lines)
        length = int.from_bytes(body[:2], "big")
        if len(body) == length + 2 and len(body) <= self.size + 2 and not binascii.crc_hqx(body[2:], 0):
            self._answer(body[2:-2])

    def _answer(self, frame: bytes) -> None:
        group, command = int.from_bytes(frame[4:6], "big"), frame[7]
        answer: dict[str, object] = {"rc": 8}
        if (group, command) == (1, 1):
            answer = self._upload(cbor2.loads(frame[8:]))
        elif (group, command) == (0, 6) and self.tells:
            answer = {"buf_size": self.size, "buf_count": self.count}
        body = cbor2.dumps(answer)
        said = bytes([frame[0] + 1, 0]) + len(body).to_bytes(2, "big") + frame[4:6] + frame[6:8] + body
        whole = (len(said) + 2).to_bytes(2, "big") + said + binascii.crc_hqx(said, 0).to_bytes(2, "big")
        line = b"\x06\x09" + base64.b64encode(whole) + b"\n"
        time.sleep(len(line) * self.byte_s)
        os.write(self.port, line)

    def _upload(self, asked: dict[str, object]) -> dict[str, object]:
        self.frames += 1
        offset, data = asked["off"], asked["data"]
        assert isinstance(data, bytes)
        if offset == 0 and asked.get("sha") != self.sha:
            self.reached, self.length, self.sha = 0, int(str(asked["len"])), bytes(asked.get("sha", b""))  # type: ignore[call-overload]
        if offset == self.reached:
            self.reached += len(data)
        return {"rc": 0, "off": self.reached}


def main(arguments: list[str]) -> None:
    """Serve until standard input ends."""
    port, theirs = os.openpty()
    tty.setraw(theirs)
    server = Server(port, *map(int, arguments))
    print(os.ttyname(theirs), flush=True)
    while True:
        readable, _, _ = select.select([port, sys.stdin], [], [])
        if sys.stdin in readable and not sys.stdin.readline():
            print(server.frames, server.on_line, server.reached, flush=True)
            return
        if port in readable:
            server.take(os.read(port, 4096))


if __name__ == "__main__":
    main(sys.argv[1:])
