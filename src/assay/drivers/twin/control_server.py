# SPDX-License-Identifier: Apache-2.0
"""The wire's control socket: one JSON object a line in, one a line out.

Guards: a client that says nonsense, says too much or hangs up harms only itself.
Leaves to others: what the requests do (a function of the wire's).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assay.errors import AssayError, InfrastructureError, UsageFault

LINE_MAX = 16384  # bytes; a request has under 100, a wire with a long list of faults some thousands
CLIENTS_MAX = 32  # a wire serves one person and one run; more are a mistake
SEND_TIMEOUT_S = 1.0  # a client that asks and does not read is dropped after this

Handler = Callable[[dict[str, Any]], dict[str, Any]]


@contextlib.contextmanager
def short_path(path: Path) -> Any:
    """A path to `path` of at most 108 bytes, however deep its folder lies: the limit of a Unix socket's address."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class ControlServer:
    """Listens on `path`, which is replaced: the wire's lock says that no other wire lives."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._clients: dict[socket.socket, bytearray] = {}
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        mask = os.umask(0o177)  # whoever may write here may cut the power
        try:
            with short_path(path) as short:
                self._listener.bind(short)
        finally:
            os.umask(mask)
        self._listener.listen(CLIENTS_MAX)

    def sockets(self) -> list[socket.socket]:
        """For select: what `ready` wants to hear of."""
        return [self._listener, *self._clients]

    def ready(self, end: socket.socket) -> None:
        """Serve a socket that is readable."""
        if end is self._listener:
            self._accept()
        elif end in self._clients:
            self._serve(end)

    def close(self) -> None:
        """Hang up on everybody, remove the socket."""
        for end in list(self._clients):
            self._drop(end)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            if len(self._clients) >= CLIENTS_MAX:
                client.close()
                return
            client.settimeout(SEND_TIMEOUT_S)
            self._clients[client] = bytearray()

    def _serve(self, client: socket.socket) -> None:
        received = self._clients[client]
        try:
            data = client.recv(LINE_MAX)
        except OSError:
            data = b""
        received += data
        if not data or len(received) > LINE_MAX:
            self._drop(client)
            return
        while client in self._clients and b"\n" in received:
            line, _, rest = bytes(received).partition(b"\n")
            received[:] = rest
            self._answer(client, line)

    def _answer(self, client: socket.socket, line: bytes) -> None:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise UsageFault("a request that is no object", remedy='send {"do": "status"}')
            answer = {"ok": True, **self._handler(request)}
        except ValueError:
            answer = _no(UsageFault("a request that is no JSON", remedy='send {"do": "status"}'))
        except AssayError as error:
            answer = _no(error)
        except OSError as error:
            answer = _no(InfrastructureError(f"the wire failed: {error}", remedy="see wire.log in the twin's folder"))
        try:
            client.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:
            self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        self._clients.pop(client, None)
        client.close()


def _no(error: AssayError) -> dict[str, Any]:
    return {"ok": False, "kind": type(error).__name__, "error": error.message, "remedy": error.remedy}
