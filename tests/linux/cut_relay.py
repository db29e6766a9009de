# SPDX-License-Identifier: Apache-2.0
"""A way to a unit's SSH port that can be cut when so many bytes have gone to the unit."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CutRelay:
    """Listens on a port of its own and hands on to `port`; `cuts`: bytes after which all is hung up, once each."""

    def __init__(self, port: int, cuts: tuple[int, ...]) -> None:
        self._to = port
        self._cuts = list(cuts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sent = 0
        self._ends: list[socket.socket] = []
        self._back_s = 0.0
        self.cut = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def serve(self) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if time.monotonic() < self._back_s:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [near, far]
                for ends in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def cut_now(self, for_s: float = 0.0) -> None:
        """Whatever goes over it; for so long nothing else does."""
        self._back_s = time.monotonic() + for_s
        self.cut += 1
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """No more connections."""
        self._listener.close()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
                self._sent += len(data) if counted else 0
                if self._cuts and self._sent >= self._cuts[0]:
                    self._cuts.pop(0)
                    self.cut += 1
                    break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def cut_relay(port: int, cuts: tuple[int, ...]) -> Iterator[CutRelay]:
    """A relay that runs in threads of this process."""
    relay = CutRelay(port, cuts)
    threading.Thread(target=relay.serve, daemon=True).start()
    try:
        yield relay
    finally:
        relay.close()
