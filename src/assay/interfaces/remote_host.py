# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of a host that is reached over a network: run a command, bring a file, fetch one.

Guards: a command is a list of words and never a text for a shell; a file is in its place only after its digest was
computed where it lies. Leaves to others: keys, links and retries of the network (`drivers.ssh`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from assay.interfaces.device import Progress

STATUS_UNKNOWN = -1
"""The command ended without an exit status (a signal, a shell that was killed): never a success."""
RUN_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class RemoteResult:
    """How a command ended: its exit status (0 to 255, or `STATUS_UNKNOWN`), and what it said."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        """True for exit status 0."""
        return self.status == 0

    @property
    def words(self) -> str:
        """What it said, for a person: the standard error output, else the standard output."""
        return (self.stderr.strip() or self.stdout.strip()).decode(errors="replace")


@dataclass(frozen=True)
class PutReport:
    """What became of a file that was sent: `resumed_at` bytes were there, `sent` bytes travelled in this call.

    Both are 0 when the file was in its place already.
    """

    remote_path: str
    size: int
    resumed_at: int
    sent: int


class RemoteHost(Protocol):
    """A host. Connects when it is first asked for something, and again after the link broke.

    Every method raises `LinkError` when the link breaks (within seconds of the break), `Refused` when the host is not
    the one that was named, `ToolMissing` when something is not installed here or there.
    """

    @property
    def name(self) -> str:
        """Who it is, for messages: `root@10.0.0.7`."""
        ...

    def run(self, argv: Sequence[str], *, timeout_s: float = RUN_TIMEOUT_S, stdin: bytes = b"") -> RemoteResult:
        """Run a command: `argv` arrives word by word as it is, whatever characters are in it.

        Any exit status is a result, and no exception. Raises `DeviceTimeout` when it has not ended after `timeout_s`
        (it may run on there), `LinkError` when the link broke (it may or may not have been done).
        """
        ...

    def put(
        self, source: Path | bytes, remote_path: str, file_sha256: str, *, progress: Progress | None = None,
        mode: int = 0o644,
    ) -> PutReport:  # fmt: skip
        """Bring `source` to `remote_path` (absolute, no link on the way): there whole and verified, or not at all.

        Goes on where an earlier call stopped, after the digest of what lies there was found right. A file with that
        digest that is there already stays. Raises `NotVerified` when `source` has not the digest `file_sha256` (hex),
        `Refused` for a path that is a link, a folder or something else than a file, `StorageError` (disk full, no
        permission, or what was written is not what was sent).
        """
        ...

    def get(self, remote_path: str, size_max: int) -> bytes:
        """The file at `remote_path`. Raises `StorageError` when it is not there, is no file, or has more bytes."""
        ...

    def sha256_of(self, remote_path: str, *, timeout_s: float = 600.0) -> str:
        """SHA-256 (hex) of the file, computed over there. Raises `StorageError` when it cannot be read."""
        ...

    def wait_up(self, timeout_s: float) -> None:
        """Drop the link and make a new one as soon as the host takes it (after a reboot); at most `timeout_s` seconds.

        Raises `DeviceTimeout` that says what happened last; `Refused` at once when another host answers.
        """
        ...

    def close(self) -> None:
        """Give the link up; a second call does nothing. The next question makes a new one."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
