# SPDX-License-Identifier: Apache-2.0
"""A disk with a cache that a power cut empties: `start`, or `python -m assay.drivers.twin.volatile_disk FILE FDS SEED`.

QEMU writes to it by the NBD protocol. What the guest did not flush is lost at a cut, sector by sector as the dice fall,
so that writes are torn and come in another order than they were made; what was flushed or written through (FUA) stays.
A process of its own, so that the wire's serial line does not wait for it.

Guards: the file has every write at once, and the cache is what it held before: a server that dies loses nothing that it
acknowledged. A client that disconnects in order (QEMU that was told to end) has lost nothing. A cut that is ordered at
a flush comes before that flush is done, and nobody is told that it was.
Leaves to others: when the power goes (`wire`), what the guest makes of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import secrets
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
CACHE_BYTES_MAX = 32 << 20
"""More than the RAM of any eMMC; what is older has reached the medium."""
REQUEST_BYTES_MAX = 32 << 20  # QEMU's own limit
OPTION_BYTES_MAX = 4096
LOCK_WAIT_S = 10.0  # for the disk of a twin that was killed to write what it has
LOCK_POLL_S = 0.05
ORDER = struct.Struct(">IQ")
"""At which flush from now on the power goes, and the seed of what is lost."""
POWER_GONE = b"!"
"""What the disk says to who has ordered that."""

# https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
NBD_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC = 0x4E42444D41474943, 0x49484156454F5054, 0x3E889045565A9
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
FIXED_NEWSTYLE, NO_ZEROES = 1, 2
OPTION_ABORT, OPTION_GO = 2, 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, 0x80000001
HAS_FLAGS, SEND_FLUSH, SEND_FUA = 1, 4, 8
READ, WRITE, DISCONNECT, FLUSH = range(4)
FUA = 1
INVALID = 22  # EINVAL, as the protocol numbers it


class Gone(Exception):
    """The client is gone without a word: its power was cut."""


class OrderedCut(Exception):
    """The power goes now, as it was ordered."""


class Orders:
    """At which flush the power has to go; `end` is a socket to who orders it, None for nobody."""

    def __init__(self, end: socket.socket | None = None) -> None:
        self._end = end
        self._left = 0
        self.seed: int | None = None

    def flush_comes(self) -> None:
        """Called before each flush. Raises OrderedCut when it is the one."""
        self._look()
        if self._left:
            self._left -= 1
            if not self._left:
                raise OrderedCut

    def tell(self) -> None:
        """The power is gone."""
        if self._end is not None:
            with contextlib.suppress(OSError):
                self._end.sendall(POWER_GONE)

    def _look(self) -> None:
        if self._end is None:
            return
        with contextlib.suppress(OSError):  # none is there
            data = self._end.recv(ORDER.size, socket.MSG_DONTWAIT)
            if len(data) == ORDER.size:
                self._left, self.seed = ORDER.unpack(data)


class CachedFile:
    """The medium, and what the sectors held that were written since the last flush."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._before: dict[int, bytes] = {}
        self.size = os.fstat(file).st_size
        self.flushes = 0

    def read(self, offset: int, length: int) -> bytes:
        """As the guest sees it: with everything that it wrote."""
        return os.pread(self._file, length, offset)

    def write(self, offset: int, data: bytes, *, through: bool) -> None:
        """Into the cache, or (`through`) onto the medium."""
        first, last = offset // SECTOR, (offset + len(data) - 1) // SECTOR
        old = os.pread(self._file, (last - first + 1) * SECTOR, first * SECTOR)
        for at in range(first, last + 1):
            if through:
                self._before.pop(at, None)
            else:
                start = (at - first) * SECTOR
                self._before.setdefault(at, old[start : start + SECTOR])
        os.pwrite(self._file, data, offset)
        while len(self._before) * SECTOR > CACHE_BYTES_MAX:
            del self._before[next(iter(self._before))]

    def flush(self) -> None:
        """All that was written is on the medium."""
        self._before.clear()
        self.flushes += 1

    def lose(self, dice: random.Random) -> tuple[int, int]:
        """The power is gone. How many sectors were lost, and of how many."""
        share = dice.random()  # from nearly none to nearly all
        lost = [at for at in self._before if dice.random() < share]
        for at in lost:
            os.pwrite(self._file, self._before[at], at * SECTOR)
        count = len(self._before)
        self._before.clear()
        return len(lost), count


class NbdServer:
    """One client on one socket, until it ends."""

    def __init__(self, client: socket.socket, medium: CachedFile, orders: Orders) -> None:
        self._client = client
        self._medium = medium
        self._orders = orders

    def serve(self) -> None:
        """Until the client disconnects. Raises Gone when it went without a word, OrderedCut."""
        self._client.sendall(struct.pack(">QQH", NBD_MAGIC, OPTION_MAGIC, FIXED_NEWSTYLE | NO_ZEROES))
        self._take(4)
        if self._options():
            while self._request():
                pass

    def _options(self) -> bool:
        """The haggling: one export, and no extensions. False when the client wants nothing more."""
        flags = HAS_FLAGS | SEND_FLUSH | SEND_FUA
        while True:
            _, option, length = struct.unpack(">QII", self._take(16))
            if length > OPTION_BYTES_MAX:
                raise Gone
            self._take(length)
            if option == OPTION_GO:
                self._reply(option, REPLY_INFO, struct.pack(">HQH", 0, self._medium.size, flags))
                self._reply(option, REPLY_ACK)
                return True
            if option == OPTION_ABORT:
                self._reply(option, REPLY_ACK)
                return False
            self._reply(option, REPLY_UNSUPPORTED)

    def _reply(self, option: int, kind: int, data: bytes = b"") -> None:
        self._client.sendall(struct.pack(">QIII", OPTION_REPLY_MAGIC, option, kind, len(data)) + data)

    def _request(self) -> bool:
        magic, flags, command, handle, offset, length = struct.unpack(">IHHQQI", self._take(28))
        if magic != REQUEST_MAGIC or length > REQUEST_BYTES_MAX:
            raise Gone
        data = self._take(length) if command == WRITE else b""
        if command == DISCONNECT:
            self._medium.flush()
            return False
        error, answer = 0, b""
        if offset + length > self._medium.size or command > FLUSH:
            error = INVALID
        elif command == READ:
            answer = self._medium.read(offset, length)
        elif command == WRITE and data:
            self._write(offset, data, through=bool(flags & FUA))
        elif command == FLUSH:
            self._orders.flush_comes()
            self._medium.flush()
        self._client.sendall(struct.pack(">IIQ", REPLY_MAGIC, error, handle) + answer)
        return True

    def _write(self, offset: int, data: bytes, *, through: bool) -> None:
        """A write that goes through is a flush, too, of itself."""
        if through:
            self._medium.write(offset, data, through=False)
            self._orders.flush_comes()
            self._medium.flushes += 1
        self._medium.write(offset, data, through=through)

    def _take(self, count: int) -> bytes:
        """Exactly so many bytes. Raises Gone."""
        parts, missing = [], count
        while missing:
            part = self._client.recv(min(missing, 1 << 20))
            if not part:
                raise Gone
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def serve(
    file: int, client: socket.socket, seed: int, say: Callable[[str], None], orders: Orders | None = None
) -> None:
    """A disk until its client ends; then what the cut has lost, in words."""
    medium, orders, ordered = CachedFile(file), orders or Orders(), False
    try:
        NbdServer(client, medium, orders).serve()
        return
    except OrderedCut:
        seed, ordered = seed if orders.seed is None else orders.seed, True
    except (Gone, ConnectionError):
        pass
    lost, count = medium.lose(random.Random(seed))  # noqa: S311  # dice
    say(f"power cut: {lost} of {count} unflushed sectors lost, seed {seed}, after {medium.flushes} flushes")
    if not ordered:
        return
    orders.tell()
    with contextlib.suppress(OSError):
        while client.recv(1 << 20):  # a machine that runs on for a moment gets no answer
            pass


@dataclass(frozen=True)
class StartedDisk:
    """A disk that waits for its client, whose end of the socket is `client`. `line` is ours: it says POWER_GONE when
    the power is gone as ordered, and ends with the disk.
    """

    process: subprocess.Popen[bytes]
    client: socket.socket
    line: socket.socket

    def cut_at_flush(self, number: int, seed: int) -> None:
        """Order that the power goes when the client asks for the `number`th flush from now on, before it is done."""
        self.line.sendall(ORDER.pack(number, seed))


def start(file: Path) -> StartedDisk:
    """A disk for one client. It ends with the client; its words go to our stderr.

    No death signal: when the wire is killed, QEMU gets one, and still has to write.
    """
    (client, server), (line, orders) = socket.socketpair(), socket.socketpair()
    with server, orders:
        fds = [server.fileno(), orders.fileno()]
        words = [str(file.absolute()), ",".join(map(str, fds)), str(secrets.randbits(32))]
        command = [sys.executable, "-P", "-m", "assay.drivers.twin.volatile_disk", *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=fds, cwd="/", start_new_session=True)
    return StartedDisk(process, client, line)


def _locked(path: str) -> int:
    """The file, ours alone. Raises OSError when another disk does not let go of it."""
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    deadline_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(LOCK_POLL_S)
        else:
            return file


def main(arguments: list[str]) -> int:
    """0 when the client has ended, in whatever way; 1 and the reason when the file cannot be had."""
    path, fds, seed = arguments
    client, line = (socket.socket(fileno=int(fd)) for fd in fds.split(","))
    with client, line:
        try:
            file = _locked(path)
        except OSError as error:
            print(f"volatile_disk: {path}: {error.strerror}", file=sys.stderr, flush=True)
            return 1
        serve(file, client, int(seed), lambda text: print(text, file=sys.stderr, flush=True), Orders(line))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
