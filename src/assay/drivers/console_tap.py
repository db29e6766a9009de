# SPDX-License-Identifier: Apache-2.0
"""Listening to a port that somebody else uses: who has it open sends a copy of what it reads to whoever listens.

Guards: a listener disturbs nothing: it never has the port, and a slow or dead one costs its sender a look, never a
wait; what was lost on the way is counted and told. Leaves to others: making lines of it (`pipeline.console_watch`).

A listener is a datagram socket in a folder of this host, named after the place and its process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from assay.drivers.locks.file_lock import lock_folder, place_digest
from assay.drivers.twin.control_server import short_path
from assay.errors import StorageError
from assay.interfaces.transport import Transport

TAP_DIR_VARIABLE = "ASSAY_TAP_DIR"
DIR_MODE = 0o1777  # every user of the host may listen, none may remove another's socket
SOCKET_MODE = 0o666
LOOK_EACH_S = 0.2
COUNT_BYTES = 4  # before the data: how many bytes were lost since the last datagram
LOST_MAX = 2 ** (8 * COUNT_BYTES) - 1
DATAGRAM_MAX = 8192
BUFFER_BYTES = 1024 * 1024  # asked of the kernel, which gives what it allows


def tap_folder() -> Path:
    """`ASSAY_TAP_DIR`, else `taps` beside the locks."""
    return Path(os.environ.get(TAP_DIR_VARIABLE) or lock_folder() / "taps")


class TappedTransport:
    """A transport whose received bytes can be listened to; in everything else it is the one below."""

    def __init__(self, below: Transport, port: str) -> None:
        self._below = below
        self._feed = TapFeed(port)

    @property
    def address(self) -> str:
        """As the user gave it."""
        return self._below.address

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """As below. Raises LinkError."""
        data = self._below.read(max_bytes, timeout_s)
        self._feed.send(data)
        return data

    def write(self, data: bytes) -> None:
        """As below. Raises LinkError."""
        self._below.write(data)

    def drop_input(self) -> None:
        """As below. Raises LinkError."""
        self._below.drop_input()

    def close(self) -> None:
        """Release link and listeners; a second call does nothing."""
        self._feed.close()
        self._below.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


class TapFeed:
    """The sending side, for who has the port open."""

    def __init__(self, port: str) -> None:
        self._digest = place_digest(port)
        self._looked_s = -LOOK_EACH_S
        self._listeners: dict[Path, int] = {}
        self._socket: socket.socket | None = None

    def send(self, data: bytes) -> None:
        """To everybody who listens now; nobody, nothing. Raises nothing."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_EACH_S:
            self._looked_s = now_s
            self._look()
        if data and self._listeners:
            for path in self._listeners:
                with contextlib.suppress(OSError), short_path(path) as short:  # one that is gone: the others hear it
                    self._send_to(path, short, data)

    def close(self) -> None:
        """A second call does nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._listeners.clear()
        self._digest = ""

    def _look(self) -> None:
        folder = tap_folder()
        try:
            found = [path for path in folder.iterdir() if self._digest and path.name.startswith(self._digest)]
        except OSError:
            found = []
        self._listeners = {path: self._listeners.get(path, 0) for path in found}

    def _send_to(self, path: Path, short: str, data: bytes) -> None:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        for start in range(0, len(data), DATAGRAM_MAX):
            part = data[start : start + DATAGRAM_MAX]
            try:
                self._socket.sendto(self._listeners[path].to_bytes(COUNT_BYTES, "big") + part, short)
                self._listeners[path] = 0
            except OSError as error:
                self._listeners[path] = min(self._listeners[path] + len(part), LOST_MAX)
                if error.errno == errno.ECONNREFUSED:  # a listener that was killed
                    with contextlib.suppress(OSError):
                        path.unlink()


class Tap:
    """The listening side."""

    def __init__(self, port: str) -> None:
        folder = make_tap_folder()
        self._path = folder / f"{place_digest(port)}.{os.getpid()}-{secrets.token_hex(4)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            with short_path(self._path) as short:
                self._socket.bind(short)
            self._path.chmod(SOCKET_MODE)
        except OSError as error:
            self._socket.close()
            raise _cannot(folder, error) from error

    def read(self, timeout_s: float) -> tuple[int, bytes]:
        """How many bytes were lost before, and the next ones; none after `timeout_s` seconds of silence."""
        self._socket.settimeout(timeout_s)
        try:
            datagram = self._socket.recv(DATAGRAM_MAX + COUNT_BYTES)
        except TimeoutError:
            return 0, b""
        return int.from_bytes(datagram[:COUNT_BYTES], "big"), datagram[COUNT_BYTES:]

    def close(self) -> None:
        """A second call does nothing."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def make_tap_folder() -> Path:
    """The folder, made if missing; never through a link that somebody laid there. Raises StorageError."""
    folder = tap_folder()
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            folder.chmod(DIR_MODE)
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        raise _cannot(folder, error) from error
    return folder


def _cannot(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"nobody can be listened to in {folder}: {error.strerror}",
        remedy=f"set {TAP_DIR_VARIABLE} to a folder that you may write",
    )
