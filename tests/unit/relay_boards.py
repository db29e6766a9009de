# SPDX-License-Identifier: Apache-2.0
"""Relays to switch: a serial one behind a pseudo-terminal, and web ones behind a real HTTP server."""

from __future__ import annotations

import json
import os
import threading
import tty
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class SerialRelayBoard:
    """An LCUS board: four-byte commands, a state for each channel, feedback if it has that."""

    feedback: bool = True
    stuck: bool = False
    states: dict[int, bool] = field(default_factory=dict)
    received: bytes = b""

    def take(self, data: bytes) -> bytes:
        """What the board answers."""
        self.received += data
        answer, rest = b"", data
        while len(rest) >= 4:
            start, channel, command, checksum = rest[:4]
            if start == 0xA0 and checksum == (start + channel + command) & 0xFF:
                if command in (0, 1) and not self.stuck:
                    self.states[channel] = bool(command)
                if command == 5 and self.feedback:
                    state = int(self.states.get(channel, False))
                    answer += bytes((0xA0, channel, state, (0xA0 + channel + state) & 0xFF))
            rest = rest[4:]
        return answer


@contextmanager
def on_a_port(board: SerialRelayBoard) -> Iterator[str]:
    """The board behind a pseudo-terminal; gives the port's path."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)

    def run() -> None:
        with suppress(OSError):
            while data := os.read(ours, 64):
                os.write(ours, board.take(data))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    name = os.ttyname(theirs)
    try:
        yield name
    finally:
        os.close(theirs)
        thread.join(5)
        os.close(ours)


class WebRelay(ThreadingHTTPServer):
    """Answers as Shelly (both generations) and Tasmota document it; `user` demands a password."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.on = {0: False, 1: False}
        self.asked: list[str] = []
        self.authorization: str | None = None
        self.stuck = False
        self.redirect = ""

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.server_port}"

    def answer(self, path: str, query: dict[str, str]) -> object:
        """The JSON of an answer; None for a page that is not there."""
        if path == "/rpc/Switch.Set":
            was = self._set(int(query["id"]), query["on"] == "true")
            return {"was_on": was}
        if path == "/rpc/Switch.GetStatus":
            return {"id": int(query["id"]), "output": self.on[int(query["id"])], "apower": 0.0}
        if path.startswith("/relay/"):
            channel = int(path.removeprefix("/relay/"))
            if "turn" in query:
                self._set(channel, query["turn"] == "on")
            return {"ison": self.on[channel], "has_timer": False}
        if path == "/cm":
            word, _, state = query["cmnd"].partition(" ")
            if state:
                self._set(int(word.removeprefix("Power")), state == "On")
            return {"POWER": "ON" if self.on[int(word.removeprefix("Power"))] else "OFF"}
        return None

    def _set(self, channel: int, on: bool) -> bool:
        was, self.on[channel] = self.on[channel], self.on[channel] if self.stuck else on
        return was


class _Handler(BaseHTTPRequestHandler):
    server: WebRelay

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        parts = urllib.parse.urlsplit(self.path)
        found = self.server.answer(parts.path, dict(urllib.parse.parse_qsl(parts.query)))
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect)
            self.end_headers()
        elif self.server.authorization not in (None, self.headers["Authorization"]):
            self.send_error(401)
        elif found is None:
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def web_relay() -> Iterator[WebRelay]:
    """A server for the length of a test."""
    server = WebRelay()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
