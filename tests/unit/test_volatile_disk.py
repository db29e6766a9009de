# SPDX-License-Identifier: Apache-2.0
"""The disk of a Linux twin: what was flushed stays, what was not is lost as the dice fall, and a client in order loses
nothing. A cut that is ordered comes at its flush.
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
from nbd_client import Client

from assay.drivers.twin import volatile_disk
from assay.drivers.twin.volatile_disk import ORDER, POWER_GONE, SECTOR, CachedFile, Orders, serve

SIZE = 64 * SECTOR
OLD, NEW = b"o" * SECTOR, b"n" * SECTOR


@contextmanager
def disk(path: Path, seed: int, said: list[str], orders: socket.socket | None = None) -> Iterator[Client]:
    """A served disk; the power is cut when the block is left, unless the client has disconnected."""
    file = os.open(path, os.O_RDWR)
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=serve, args=(file, theirs, seed, said.append, Orders(orders)))
    thread.start()
    with ours, theirs:
        try:
            yield Client(ours, SIZE)
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
    assert said == ["power cut: 0 of 0 unflushed sectors lost, seed 1, after 2 flushes"]


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


@pytest.mark.parametrize("through", [False, True], ids=["flush", "write through"])
def test_the_power_goes_at_the_flush_that_was_ordered(medium: Path, through: bool) -> None:
    """Before it is done, and without an answer; what the flush before it kept is kept."""
    results = set()
    for _ in range(2):
        medium.write_bytes(OLD * (SIZE // SECTOR))
        said: list[str] = []
        line, orders = socket.socketpair()
        with line, orders, disk(medium, 1, said, orders) as client:
            client.ask(1, 0, data=NEW * 8)
            client.ask(3)
            line.sendall(ORDER.pack(2, 5))
            client.ask(1, 8 * SECTOR, data=NEW * 8)
            client.ask(3)
            client.ask(1, 16 * SECTOR, data=NEW * 16)
            with pytest.raises(TimeoutError):
                client.end.settimeout(1)
                client.ask(1, 32 * SECTOR, data=NEW * 16, flags=1) if through else client.ask(3)
            assert line.recv(10) == POWER_GONE
        after = sectors(medium)
        assert after[:16] == [NEW] * 16 and OLD in after[16:32] and NEW in after[16:32]
        assert (NEW in after[32:]) == through
        lost, count = after[16:48].count(OLD) - 16 * (not through), 32 if through else 16
        assert said == [f"power cut: {lost} of {count} unflushed sectors lost, seed 5, after 2 flushes"]
        results.add(medium.read_bytes())
    assert len(results) == 1


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
