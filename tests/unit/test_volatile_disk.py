# SPDX-License-Identifier: Apache-2.0
"""The disk of a Linux twin: what was flushed stays, what was not is lost as the dice fall, and a client in order loses
nothing. The client here is written from the protocol.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assay.drivers.twin import volatile_disk
from assay.drivers.twin.volatile_disk import SECTOR, CachedFile, serve

SIZE = 64 * SECTOR
OLD, NEW = b"o" * SECTOR, b"n" * SECTOR


class Client:
    """An NBD client on a socket."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        magic, option, flags = struct.unpack(">8sQH", self.take(18))
        assert (magic, option, flags & 1) == (b"NBDMAGIC", 0x49484156454F5054, 1)
        end.sendall(struct.pack(">I", 3))
        assert self.option(8) == [(0x80000001, b"")]  # structured replies: not here
        kinds = self.option(7, struct.pack(">IH", 0, 0))
        assert kinds == [(3, struct.pack(">HQH", 0, SIZE, 1 | 4 | 8)), (1, b"")]

    def option(self, number: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        self.end.sendall(b"IHAVEOPT" + struct.pack(">II", number, len(data)) + data)
        answers: list[tuple[int, bytes]] = []
        while not answers or answers[-1][0] == 3:
            _, _, kind, length = struct.unpack(">QIII", self.take(20))
            answers.append((kind, self.take(length)))
        return answers

    def ask(
        self, command: int, offset: int = 0, length: int = 0, data: bytes = b"", flags: int = 0
    ) -> tuple[int, bytes]:
        self.end.sendall(struct.pack(">IHHQQI", 0x25609513, flags, command, 77, offset, length or len(data)) + data)
        magic, error, handle = struct.unpack(">IIQ", self.take(16))
        assert (magic, handle) == (0x67446698, 77)
        return error, self.take(length) if command == 0 and not error else b""

    def take(self, count: int) -> bytes:
        data = self.end.recv(count, socket.MSG_WAITALL) if count else b""
        assert len(data) == count
        return data


@contextmanager
def disk(path: Path, seed: int, said: list[str]) -> Iterator[Client]:
    """A served disk; the power is cut when the block is left, unless the client has disconnected."""
    file = os.open(path, os.O_RDWR)
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=serve, args=(file, theirs, seed, said.append))
    thread.start()
    with ours, theirs:
        try:
            yield Client(ours)
        finally:
            ours.close()
            thread.join(10)
            os.close(file)


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(OLD * (SIZE // SECTOR))
    return path


def sectors(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return [data[at : at + SECTOR] for at in range(0, len(data), SECTOR)]


def test_what_was_flushed_or_written_through_stays(medium: Path) -> None:
    said: list[str] = []
    with disk(medium, 1, said) as client:
        assert client.ask(1, 0, data=NEW * 4) == (0, b"")
        assert client.ask(3) == (0, b"")
        assert client.ask(1, 8 * SECTOR, data=NEW, flags=1) == (0, b"")
    assert sectors(medium)[:9] == [NEW] * 4 + [OLD] * 4 + [NEW]
    assert said == ["power cut: 0 of 0 unflushed sectors lost, seed 1"]


def test_what_was_not_flushed_is_lost_in_part_and_reads_as_written_until_then(medium: Path) -> None:
    seen = set()
    for seed in range(12):
        medium.write_bytes(OLD * (SIZE // SECTOR))
        with disk(medium, seed, []) as client:
            client.ask(1, 0, data=NEW * 32)
            client.ask(1, 0, data=b"x" * SECTOR)  # twice in one cache: it falls back to what was flushed
            assert client.ask(0, 0, 2 * SECTOR) == (0, b"x" * SECTOR + NEW)
        after = sectors(medium)
        assert set(after[1:32]) <= {OLD, NEW} and after[0] in (OLD, b"x" * SECTOR) and set(after[32:]) == {OLD}
        seen.add(after[:32].count(OLD))
    assert len(seen) > 6 and min(seen) < 8 and max(seen) > 24


def test_the_same_seed_loses_the_same(medium: Path) -> None:
    results = []
    for _ in range(2):
        medium.write_bytes(OLD * (SIZE // SECTOR))
        with disk(medium, 7, []) as client:
            client.ask(1, 100, data=b"z" * 5000)  # no sector's bound: the rest of a sector stays with it
        results.append(medium.read_bytes())
    assert results[0] == results[1] != OLD * (SIZE // SECTOR)


def test_a_client_that_ends_in_order_loses_nothing(medium: Path) -> None:
    said: list[str] = []
    with disk(medium, 1, said) as client:
        client.ask(1, 0, data=NEW * 8)
        client.end.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 2, 77, 0, 0))
    assert sectors(medium)[:8] == [NEW] * 8
    assert said == []


@pytest.mark.parametrize("command", [0, 1, 9], ids=["read", "write", "unknown"])
def test_what_is_not_on_the_disk_is_refused(medium: Path, command: int) -> None:
    with disk(medium, 1, []) as client:
        data = NEW if command == 1 else b""
        assert client.ask(command, SIZE - 10, 0 if data else 512, data)[0] == volatile_disk.INVALID
        assert client.ask(0, 0, SECTOR) == (0, OLD)
    assert sectors(medium) == [OLD] * (SIZE // SECTOR)


def test_what_is_old_has_reached_the_medium(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volatile_disk, "CACHE_BYTES_MAX", 4 * SECTOR)
    file = os.open(medium, os.O_RDWR)
    cached = CachedFile(file)
    for at in range(10):
        cached.write(at * SECTOR, NEW, through=False)
    assert cached.lose(random.Random(3))[1] == 4
    os.close(file)
    assert sectors(medium)[:6] == [NEW] * 6
