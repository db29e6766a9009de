# SPDX-License-Identifier: Apache-2.0
"""HTTP in front of a witness: `POST /add-checkpoint` (https://c2sp.org/tlog-witness), and nothing else.

Guards: requests are bounded in bytes and in number, and each as a whole in time, however it trickles; whatever is wrong
with one is an HTTP status and no end of the witness.
Leaves to others: what is cosigned (`stages.records.witness`); TLS (a proxy in front, where it is wanted).
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from assay.errors import AssayError, InfrastructureError
from assay.formats.witness_request import REQUEST_BYTES_MAX
from assay.model.witness import BAD_REQUEST, NOT_FOUND, WitnessReply

PATH = "/add-checkpoint"
READ_TIMEOUT_S = 10
"""For a whole request, from the answer to the one before it, and again for an answer."""

CONNECTIONS_MAX = 32
"""Connections at a time; more are closed at once, and their clients ask again."""

TOO_LONG, OUT_OF_ORDER = 413, 500
Ask = Callable[[bytes], WitnessReply]


class WitnessServer:
    """Listens on `host` and `port` (0: any that is free) once it is made; answers in `serve`.

    Raises `InfrastructureError` for an address that cannot be had. `say` gets a line for each request.
    """

    def __init__(self, host: str, port: int, ask: Ask, say: Callable[[str], None]) -> None:
        try:
            self._server = _Server((host, port), _Handler)
        except OSError as error:
            text = f"{host}:{port} cannot be listened on: {error.strerror}"
            raise InfrastructureError(text, remedy="choose another --port") from error
        self._server.ask, self._server.say = ask, say
        self.port: int = self._server.server_address[1]

    def serve(self) -> None:
        """Answer until `close`, or until an exception comes."""
        self._server.serve_forever(0.2)

    def close(self) -> None:
        """Listen no more."""
        self._server.server_close()

    def stop(self) -> None:
        """Have `serve` return, from another thread."""
        self._server.shutdown()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    ask: Ask
    say: Callable[[str], None]

    def __init__(self, *arguments: Any) -> None:
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """A client that went away; nothing of ours."""
        self.say(f"{client_address[0]}: the connection broke")


class _TimedBytes(io.RawIOBase):
    """What comes over `connection` until the moment `until` of the monotonic clock; `TimeoutError` after that. The
    socket's own time-out begins anew with every byte.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.until = time.monotonic() + READ_TIMEOUT_S

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request takes too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    timeout = READ_TIMEOUT_S
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._bytes = _TimedBytes(self.connection)
        self.rfile = io.BufferedReader(self._bytes)

    def handle_one_request(self) -> None:
        self._bytes.until = time.monotonic() + READ_TIMEOUT_S
        super().handle_one_request()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            self._send(WitnessReply(BAD_REQUEST, b"the request has no length\n"), close=True)
        elif len(length) > 9 or int(length) > REQUEST_BYTES_MAX:
            self._send(WitnessReply(TOO_LONG, b"the request is too long\n"), close=True)
        else:
            body = self.rfile.read(int(length))
            self._send(self._reply(body) if self.path == PATH else WitnessReply(NOT_FOUND, b"POST /add-checkpoint\n"))

    def do_GET(self) -> None:
        self._send(WitnessReply(NOT_FOUND, b"POST /add-checkpoint\n"), close=True)

    def _reply(self, body: bytes) -> WitnessReply:
        try:
            return self.server.ask(body)
        except AssayError as error:
            self.server.say(f"NOT COSIGNED: {error}")
            return WitnessReply(OUT_OF_ORDER, b"the witness is out of order\n")

    def _send(self, reply: WitnessReply, *, close: bool = False) -> None:
        self.connection.settimeout(READ_TIMEOUT_S)
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.body)))
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name there)
        self.server.say(f"{self.client_address[0]}: {format % args}")
