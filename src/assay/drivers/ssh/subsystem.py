# SPDX-License-Identifier: Apache-2.0
"""A byte link to a program on a host: an SSH subsystem, as if it were a serial line to it.

Guards: the host is the pinned one each time that the link is made; a link that broke once it stood (the unit restarted,
a cable was pulled) is silence until the host takes it again, as on a serial line; another host is an error at once,
and so is a login that is not taken the first time.
Leaves to others: what is spoken on it, and for how long silence is borne.
"""

from __future__ import annotations

import time

import paramiko

from assay.drivers.ssh.command import answered_within
from assay.drivers.ssh.connection import Connection
from assay.drivers.ssh.opening import need_paramiko
from assay.errors import InfrastructureError, LinkError
from assay.model.ssh import SshAddress

RETRY_S = 0.3
"""Seconds between two attempts to reach a host that does not listen."""
CONNECT_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 20.0
"""For a host that takes nothing: its program hangs. A link that is dead is noticed by the kernel before that."""
DROPPED_MAX = 1000


class SubsystemTransport:
    """`interfaces.transport.MendingTransport` on the subsystem `name` of the host at `where`."""

    def __init__(self, where: SshAddress, name: str) -> None:
        """Nothing is connected yet; see `wait_up`."""
        need_paramiko()
        self._where = where
        self._name = name
        self._connection: Connection | None = None
        self._channel: paramiko.Channel | None = None
        self._tried_s = float("-inf")
        self._closed = False
        self._stood = False
        self._breaks = 0
        self._away = "nobody has connected yet"

    @property
    def breaks(self) -> int:
        """How often it broke once it stood."""
        return self._breaks

    @property
    def away(self) -> str:
        """Why it does not stand at this moment; empty while it does."""
        return self._away

    @property
    def address(self) -> str:
        """`ssh://host:port`."""
        return self._where.url

    def wait_up(self, timeout_s: float) -> None:
        """Connect within `timeout_s` seconds. Raises LinkError with the last reason, `Refused` for another host."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                self._connect()
            except LinkError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(RETRY_S)
            else:
                return

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """What came; empty after `timeout_s` of silence, or while the host does not take the link.

        Raises LinkError after `close`, `Refused` when another host answers.
        """
        channel = self._open()
        if channel is None:
            time.sleep(min(timeout_s, RETRY_S))
            return b""
        try:
            channel.settimeout(max(timeout_s, 0.001))
            data = channel.recv(max_bytes)
        except TimeoutError:
            return b""
        except (OSError, EOFError, paramiko.SSHException):
            data = b""
        if not data:
            self._broke()
        return data

    def write(self, data: bytes) -> None:
        """Send `data`; while the host does not take the link it is lost, as on a line with nobody at its end."""
        channel = self._open()
        if channel is None:
            return
        try:
            channel.settimeout(WRITE_TIMEOUT_S)
            channel.sendall(data)
        except (OSError, EOFError, paramiko.SSHException):
            self._broke()

    def drop_input(self) -> None:
        """Throw away what has been received."""
        for _ in range(DROPPED_MAX):
            if self._channel is None or not self._channel.recv_ready():
                return
            self.read(65536, 0.0)

    def close(self) -> None:
        """Hang up for good; a second call does nothing."""
        self._closed = True
        self._hang_up()

    def _open(self) -> paramiko.Channel | None:
        """The channel, made anew if it broke; None while the host does not take it."""
        if self._closed:
            raise LinkError(f"the link to {self._where} is closed", remedy="open the place again")
        if self._channel is not None and not self._channel.closed:
            return self._channel
        if time.monotonic() - self._tried_s < RETRY_S:
            return None
        # A host that goes down in the middle of a login looks as if it did not take the key, which it took before.
        try:
            self._connect()
        except InfrastructureError as error:
            self._away = error.message
            if not self._stood and not isinstance(error, LinkError):
                raise
        return self._channel

    def _connect(self) -> None:
        self._hang_up()
        try:
            self._connection = Connection(self._where, CONNECT_TIMEOUT_S)
            channel = self._connection.transport.open_session(timeout=CONNECT_TIMEOUT_S)
            with answered_within(channel, CONNECT_TIMEOUT_S):
                channel.invoke_subsystem(self._name)
            self._channel, self._stood, self._away = channel, True, ""
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._hang_up()
            raise LinkError(
                f"{self._where} does not start its subsystem '{self._name}': {error}",
                remedy="check that the unit runs the agent (docs/reference/linux-twin)",
            ) from error
        finally:
            self._tried_s = time.monotonic()

    def _broke(self) -> None:
        self._breaks += 1
        self._away = "it broke"
        self._hang_up()

    def _hang_up(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.close()
