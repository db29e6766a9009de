# SPDX-License-Identifier: Apache-2.0
"""One command on a host over SSH.

Guards: words arrive as they are: sshd hands one text to a shell over there, so each word is quoted for it; both outputs
are read while the input is written, so that nobody waits for the other; what is said has a limit, and so has the wait
for an answer (paramiko itself waits for ever when a host that lives says nothing).
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import paramiko

from assay.drivers.ssh.connection import Connection
from assay.errors import DeviceTimeout, InfrastructureError, UsageFault
from assay.interfaces.readiness import readable
from assay.interfaces.remote_host import STATUS_UNKNOWN, RemoteResult

OUTPUT_MAX = 64 << 20  # bytes of both outputs, which are kept in memory
READ_MAX = 1 << 16
INPUT_CHUNK = 1 << 15
LOOK_S = 0.2  # to see that the link broke
FEED_S = 0.005  # while the other side has no room for our input
STRAGGLER_S = 2.0  # of silence after the exit status: somebody that the command left behind keeps its outputs open
COMMAND_SHOWN = 80


def command_text(argv: Sequence[str]) -> str:
    """`argv` as the text that a POSIX shell takes apart into the same words. Raises UsageFault."""
    if isinstance(argv, str) or not argv or not all(isinstance(word, str) for word in argv):
        raise UsageFault(f"{argv!r} is no command", remedy="write its words as a list")
    if any("\0" in word for word in argv):
        raise UsageFault("a word of a command has a zero byte", remedy="leave it out")
    return shlex.join(argv)


def run_command(connection: Connection, argv: Sequence[str], timeout_s: float, stdin: bytes) -> RemoteResult:
    """How `argv` ended. Raises DeviceTimeout, LinkError, UsageFault, InfrastructureError."""
    text = command_text(argv)
    deadline_s = time.monotonic() + timeout_s
    with connection.channel() as channel:
        try:
            channel.settimeout(timeout_s)
            with answered_within(channel, timeout_s):
                channel.exec_command(text.encode("utf-8", "surrogateescape"))
            said = _Said(channel, stdin)
            while said.more():
                if time.monotonic() > deadline_s:
                    raise _too_slow(connection, text, timeout_s)
        except TimeoutError as error:
            raise _too_slow(connection, text, timeout_s) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise connection.broken(error) from error
    if said.bytes > OUTPUT_MAX:
        raise InfrastructureError(
            f"{_shown(text)} on {connection.address} says more than {OUTPUT_MAX >> 20} MiB",
            remedy="let it write into a file",
        )
    if channel.exit_status == STATUS_UNKNOWN and connection.ended():
        raise connection.broken()
    return RemoteResult(channel.exit_status, b"".join(said.out), b"".join(said.err))


@contextmanager
def answered_within(channel: paramiko.Channel, timeout_s: float) -> Iterator[None]:
    """What is asked of the host in here is answered within `timeout_s` seconds. Raises TimeoutError."""
    late = threading.Event()

    def hang_up() -> None:
        late.set()
        channel.close()

    timer = threading.Timer(timeout_s, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (paramiko.SSHException, EOFError) as error:
        if late.is_set():
            raise TimeoutError(f"no answer within {timeout_s:g} s") from error
        raise
    finally:
        timer.cancel()


def _too_slow(connection: Connection, text: str, timeout_s: float) -> DeviceTimeout:
    return DeviceTimeout(
        f"{_shown(text)} on {connection.address} did not end within {timeout_s:g} s",
        remedy="it may still run there: look, and give it more time",
    )


class _Said:
    """What a running command says, and what is still to be told to it."""

    def __init__(self, channel: paramiko.Channel, stdin: bytes) -> None:
        self.out: list[bytes] = []
        self.err: list[bytes] = []
        self.bytes = 0
        self._channel = channel
        self._stdin = memoryview(stdin)
        self._fed = False
        self._last_s = time.monotonic()

    def more(self) -> bool:
        """Move what can be moved, waiting a little when nothing can; False once it is over."""
        over = self._over()
        moved = self._feed() | self._read()  # both, not the first that does
        if self.bytes > OUTPUT_MAX:
            return False
        if moved:
            self._last_s = time.monotonic()
        elif not over:
            self._wait()
        return moved or not over

    def _over(self) -> bool:
        if self._channel.closed:
            return True
        silent = time.monotonic() - self._last_s > STRAGGLER_S
        return self._channel.exit_status_ready() and (bool(self._channel.eof_received) or silent)

    def _feed(self) -> bool:
        if self._fed:
            return False
        try:
            if not self._stdin:
                self._fed = True
                self._channel.shutdown_write()
            elif self._channel.send_ready():
                self._stdin = self._stdin[self._channel.send(self._stdin[:INPUT_CHUNK].tobytes()) :]
                return True
        except (OSError, EOFError):  # it ended, and did not want to hear the rest
            self._fed = True
        return False

    def _read(self) -> bool:
        moved = False
        if self._channel.recv_ready():
            self.out.append(self._channel.recv(READ_MAX))
            self.bytes += len(self.out[-1])
            moved = True
        if self._channel.recv_stderr_ready():
            self.err.append(self._channel.recv_stderr(READ_MAX))
            self.bytes += len(self.err[-1])
            moved = True
        return moved

    def _wait(self) -> None:
        if self._channel.eof_received:  # a select would give at once, and the status is still to come
            time.sleep(LOOK_S / 10)
        elif self._fed:
            readable(self._channel, LOOK_S)
        else:
            time.sleep(FEED_S)


def _shown(text: str) -> str:
    return text if len(text) <= COMMAND_SHOWN else f"{text[:COMMAND_SHOWN]}..."
