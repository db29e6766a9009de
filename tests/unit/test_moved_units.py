# SPDX-License-Identifier: Apache-2.0
"""A unit that is plugged in anew while somebody waits for its place; a holder that is stopped; a disk without locks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from assay.drivers import usb_ports
from assay.drivers.locks import file_lock
from assay.drivers.locks.file_lock import FileLocks, HeldDoors
from assay.errors import LinkError, StorageError
from assay.model.seen_port import SeenPort
from assay.pipeline import places
from assay.pipeline.place_hold import hold
from assay.pipeline.site import Site

ROOT = Path(__file__).parents[2]
BENCH = """schema = "assay.bench/1"
[[places]]
name = "desk"
board = "rv32-virt"
usb = { vendor = 1, product = 2, serial = "A" }
"""


class Host:
    """USB ports: name of the tty, serial number and socket."""

    def __init__(self, sys_ttys: Path) -> None:
        self.sys_ttys = sys_ttys
        self.ports: list[SeenPort] = []

    def plug(self, *ports: tuple[str, str, str]) -> None:
        self.ports = [SeenPort(f"/dev/{tty}", 1, 2, serial, location=socket) for tty, serial, socket in ports]
        for tty, _, socket in ports:
            link = self.sys_ttys / tty / "device"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../usb1/{socket}/{socket}:1.0")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path / "locks"))
    (tmp_path / "boards").symlink_to(ROOT / "boards")
    (tmp_path / "bench.toml").write_text(BENCH)
    made = Host(tmp_path / "ttys")
    monkeypatch.setattr(file_lock, "SYSTEM_TTYS", made.sys_ttys)
    monkeypatch.setattr(usb_ports, "seen_ports", lambda: made.ports)
    made.plug(("assayACM0", "A", "1-1"))
    return made


def held_port(folder: Path, host: Host, *then: tuple[str, str, str], before: bool = True) -> str:
    """The port that a verb opens when the units are plugged as `then` by the time that the place is its own: `before`
    it took the lock, or at that moment.
    """
    address = places.find_place(Site(folder / ".assay"), "desk", start=folder)
    assert address.port == "/dev/assayACM0"
    taken = FileLocks.acquire_all
    with ExitStack() as held, pytest.MonkeyPatch.context() as patch:

        def acquire_all(locks: FileLocks, *doors: Any, **words: Any) -> HeldDoors:
            if before:
                host.plug(*then)
            lock = taken(locks, *doors, **words)
            host.plug(*then)
            return lock

        patch.setattr(FileLocks, "acquire_all", acquire_all)
        return hold(address, held, verb="test")


def test_a_unit_that_stayed_is_where_it_was(tmp_path: Path, host: Host) -> None:
    assert held_port(tmp_path, host, ("assayACM0", "A", "1-1")) == "/dev/assayACM0"


def test_a_unit_with_another_name_in_its_socket_is_followed(tmp_path: Path, host: Host) -> None:
    """Another unit has its name by now: that one was opened, and flashed."""
    moved = (("assayACM1", "A", "1-1"), ("assayACM0", "B", "1-2"))
    assert held_port(tmp_path, host, *moved, before=False) == "/dev/assayACM1"
    host.plug(("assayACM0", "A", "1-1"))
    with pytest.raises(LinkError, match="desk is at /dev/assayACM1 now"):  # the lock is the other's
        held_port(tmp_path, host, *moved)


@pytest.mark.parametrize("before", [True, False])
def test_a_unit_in_another_socket_is_not_touched_by_the_lock_of_the_first(
    tmp_path: Path, host: Host, before: bool
) -> None:
    with pytest.raises(LinkError, match="desk is at /dev/assayACM1 now, and was at /dev/assayACM0 when this began"):
        held_port(tmp_path, host, ("assayACM1", "A", "1-2"), ("assayACM0", "B", "1-1"), before=before)
    assert FileLocks().holder("/dev/assayACM0") is None


def test_a_unit_that_was_swapped_meanwhile_is_not_there(tmp_path: Path, host: Host) -> None:
    with pytest.raises(LinkError, match="place desk is not connected"):
        held_port(tmp_path, host, ("assayACM0", "B", "1-1"))


HOLDER = """
import sys, time
from assay.drivers.locks.file_lock import FileLocks
with FileLocks().acquire("/dev/assay-none", verb="flash", place="desk"):
    print("held", flush=True)
    time.sleep(1000)
"""


def test_a_holder_that_is_stopped_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-Z at a flash: everybody waits, and nothing happens."""
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path / "locks"))
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            os.kill(holder.pid, signal.SIGSTOP)
            end_s = time.monotonic() + 60.0
            while "T" not in Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0]:
                assert time.monotonic() < end_s, "waited for: the process to stop"
                time.sleep(0.01)
            words = [sys.executable, "-m", "assay", "bench", "who"]
            told = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
            assert f"desk  is used by assay flash (pid {holder.pid}, " in told.stdout
            assert told.stdout.rstrip().endswith("; that process is stopped")
            with pytest.raises(file_lock.PlaceBusy) as busy:
                FileLocks().acquire("/dev/assay-none", verb="test")
            assert busy.value.remedy == (f"that process is stopped: kill -CONT {holder.pid} lets it go on; or end it")
        finally:
            holder.kill()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Some of those in networks: nobody is to go on without a lock."""

    def flock(_file: int, _how: int) -> None:
        raise OSError(number, os.strerror(number))

    locks = FileLocks(tmp_path / "locks")
    monkeypatch.setattr(file_lock.fcntl, "flock", flock)
    said = f"locks cannot be kept in {tmp_path / 'locks'}: its file system has no locks"
    with pytest.raises(StorageError, match=said):
        locks.acquire("/dev/assay-none", verb="test")
    monkeypatch.undo()
    locks.acquire("/dev/assay-none", verb="test").release()
    monkeypatch.setattr(file_lock.fcntl, "flock", flock)
    with pytest.raises(StorageError, match=said):
        locks.holder("/dev/assay-none")
