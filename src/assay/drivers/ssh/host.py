# SPDX-License-Identifier: Apache-2.0
"""`interfaces.remote_host.RemoteHost` over paramiko: one connection, made when needed, and anew after it broke."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from assay.drivers.ssh.command import run_command
from assay.drivers.ssh.connection import Connection
from assay.drivers.ssh.remote_file import fetched, remote_sha256
from assay.drivers.ssh.upload import Upload
from assay.errors import DeviceTimeout, LinkError
from assay.formats.openssh_key import fingerprint
from assay.interfaces.device import Progress
from assay.interfaces.remote_host import RUN_TIMEOUT_S, PutReport, RemoteResult
from assay.model.ssh import SshAddress

HASH_TIMEOUT_S = 600.0
UP_EACH_S = 0.5  # between two tries
UP_TRY_S = 3.0  # for one try to connect


class SshHost:
    """A host at an address of the bench file."""

    def __init__(self, address: SshAddress) -> None:
        self._address = address
        self._connection: Connection | None = None

    @property
    def address(self) -> SshAddress:
        """As the bench file has it."""
        return self._address

    @property
    def name(self) -> str:
        """user@host, and the port if it is not 22."""
        return str(self._address)

    def host_key(self) -> str:
        """The fingerprint of the key that the host has shown, and proved to have. Raises LinkError, Refused."""
        return fingerprint(self._connected().transport.get_remote_server_key().asbytes())

    def run(self, argv: Sequence[str], *, timeout_s: float = RUN_TIMEOUT_S, stdin: bytes = b"") -> RemoteResult:
        """Run a command, word by word."""
        return run_command(self._connected(), argv, timeout_s, stdin)

    def put(
        self, source: Path | bytes, remote_path: str, file_sha256: str, *, progress: Progress | None = None,
        mode: int = 0o644,
    ) -> PutReport:  # fmt: skip
        """Bring a file; whole and verified, or not at all."""
        return Upload(self._connected(), remote_path, file_sha256, mode).run(source, progress)

    def get(self, remote_path: str, size_max: int) -> bytes:
        """The file at `remote_path`, of at most `size_max` bytes."""
        return fetched(self._connected(), remote_path, size_max)

    def sha256_of(self, remote_path: str, *, timeout_s: float = HASH_TIMEOUT_S) -> str:
        """SHA-256 (hex), computed over there."""
        return remote_sha256(self._connected(), remote_path, timeout_s)

    def wait_up(self, timeout_s: float) -> None:
        """A new connection, as soon as the host takes one."""
        self.close()
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                self._connection = Connection(self._address, timeout_s=UP_TRY_S)
                return
            except LinkError as error:
                if time.monotonic() + UP_EACH_S > deadline_s:
                    raise DeviceTimeout(
                        f"{self.name} did not come up within {timeout_s:g} s: {error.message}", remedy=error.remedy
                    ) from error
            time.sleep(UP_EACH_S)

    def close(self) -> None:
        """Hang up; a second call does nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.alive:
            self.close()
        if self._connection is None:
            self._connection = Connection(self._address)
        return self._connection
