# SPDX-License-Identifier: Apache-2.0
"""Locks on places: who has it, who waits, who shares it, and that a dead holder holds nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from assay.drivers.locks import ancestors, file_lock
from assay.drivers.locks.file_lock import FileLocks, lock_folder, place_key
from assay.drivers.locks.waiting_line import SIGN_S, WaitingLine
from assay.errors import PlaceBusy, StorageError

PORT = "/dev/assay-no-such-port"
HOLD = """
import sys, time
from assay.drivers.locks.file_lock import FileLocks
lock = FileLocks().acquire_all(sys.argv[3:], verb=sys.argv[1], place="bench-1")
print("held", flush=True)
time.sleep(60)
"""
TRY = """
import sys
from assay.drivers.locks.file_lock import FileLocks
from assay.errors import PlaceBusy
try:
    print("got", FileLocks().acquire(sys.argv[1], verb="flash").holder.verb)
except PlaceBusy as busy:
    print("busy", busy.message)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path / "locks"))
    return tmp_path / "locks"


@pytest.fixture
def holder() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a process that is no relative's lender: below this one, holding a port until it is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(verb: str = "provision", ports: Sequence[str] = (PORT,)) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", HOLD, verb, "SECRET", *ports], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def child_says() -> str:
    return subprocess.run([sys.executable, "-c", TRY, PORT], capture_output=True, text=True, check=True).stdout.strip()


def test_the_second_is_told_who_the_first_is(holder: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = holder()
    with pytest.raises(PlaceBusy) as caught:
        FileLocks().acquire(PORT, verb="flash", place="bench-1")
    assert f"bench-1 is used by assay provision (pid {process.pid}, user " in caught.value.message
    assert "SECRET" not in str(caught.value)
    seen = FileLocks().holder(PORT)
    assert seen is not None and (seen.pid, seen.verb, seen.place) == (process.pid, "provision", "bench-1")


def test_a_killed_holder_holds_nothing(holder: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = holder()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert FileLocks().holder(PORT) is None
    FileLocks().acquire(PORT, verb="flash").release()


def test_waiting_ends_when_the_holder_does(holder: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = holder()
    begun_s = time.monotonic()
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {process.pid}"])
    with FileLocks().acquire(PORT, verb="flash", wait_s=200):
        assert 0.3 <= time.monotonic() - begun_s < 100
    killer.wait()


def test_waiting_has_an_end(holder: Callable[..., subprocess.Popen[bytes]]) -> None:
    holder()
    begun_s = time.monotonic()
    with pytest.raises(PlaceBusy):
        FileLocks().acquire(PORT, verb="flash", wait_s=0.3)
    assert 0.3 <= time.monotonic() - begun_s < 60


def test_a_child_shares_its_parents_place_and_nobody_else_does(
    holder: Callable[..., subprocess.Popen[bytes]],
) -> None:
    with FileLocks().acquire(PORT, verb="test"):
        assert child_says() == "got test"
        process = holder("flash")  # a child that uses the place: its sibling has to wait
        assert child_says().startswith(f"busy {PORT} is used by assay flash (pid {process.pid}")
    # The parent has gone, its child still works: the place is not free.
    assert FileLocks().holder(PORT) is not None
    with pytest.raises(PlaceBusy, match=f"pid {process.pid}"):
        FileLocks().acquire(PORT, verb="flash")


BELOW = """
import os, sys, time
from assay.drivers.locks.file_lock import FileLocks
lock = FileLocks().acquire(sys.argv[1], verb=f"level {sys.argv[2]}")
if sys.argv[2] != "2" and os.fork() == 0:
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[3], sys.argv[1], str(int(sys.argv[2]) + 1), sys.argv[3]])
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_who_works_two_levels_below_the_killed_ones_has_the_place() -> None:
    top = subprocess.Popen([sys.executable, "-c", BELOW, PORT, "0", BELOW], stdout=subprocess.PIPE)
    assert top.stdout is not None
    pids = [int(top.stdout.readline()) for _ in range(3)]
    try:
        for pid in pids[:2]:
            os.kill(pid, signal.SIGKILL)
        top.wait()
        with pytest.raises(PlaceBusy, match=f"assay level 2 .pid {pids[2]}"):
            FileLocks().acquire(PORT, verb="flash")
        seen = FileLocks().holder(PORT)
        assert seen is not None and seen.pid == pids[2]
    finally:
        os.kill(pids[2], signal.SIGKILL)
        top.stdout.close()


def test_the_same_process_may_take_it_twice() -> None:
    with FileLocks().acquire(PORT, verb="run"), FileLocks().acquire(PORT, verb="flash") as inner:
        assert inner.holder.verb == "run"
    assert FileLocks().holder(PORT) is None


def test_a_reused_process_id_is_no_ancestor() -> None:
    began = ancestors.started(os.getpid())
    assert began is not None
    assert ancestors.is_self_or_ancestor(os.getpid(), began)
    assert not ancestors.is_self_or_ancestor(os.getpid(), began - 1)
    assert not ancestors.is_self_or_ancestor(1, ancestors.started(1) or 0)
    parent = os.getppid()
    assert ancestors.is_self_or_ancestor(parent, ancestors.started(parent) or 0)


def test_names_of_one_port_meet(tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    by_id = tmp_path / "by-id"
    by_id.symlink_to(port)
    assert place_key(str(by_id)) == place_key(str(port)) == place_key(f"{tmp_path}/../{tmp_path.name}/ttyUSB0")
    assert place_key("SOCKET://Host:1") == "socket://host:1"
    assert place_key(str(port)) != place_key(str(tmp_path / "ttyUSB1"))


def test_a_unit_without_a_port_has_one_lock_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two checkouts that name one probe must meet."""
    keys = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        keys.append([place_key("probe:E66"), place_key("flash:1-2.3"), place_key("ssh://10.0.0.7:22")])
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 3
    assert place_key("probe:000683000001") == place_key("flash:683000001") != place_key("probe:683000002")


def test_places_that_differ_in_case_alone_are_two() -> None:
    assert place_key("labgrid://Host:20408/Desk") != place_key("labgrid://host:20408/desk")
    assert place_key("labgrid://Host:20408/Desk") == place_key("LABGRID://host:20408/Desk")
    assert place_key("socket://Ann@Host:1") != place_key("socket://ann@host:1")


def test_units_meet_at_their_probe(holder: Callable[..., subprocess.Popen[bytes]]) -> None:
    """One place has port and probe, another only the probe: it is one unit."""
    process = holder(ports=(PORT, "probe:E66"))
    with pytest.raises(PlaceBusy, match=rf"bare is used by assay provision \(pid {process.pid}"):
        FileLocks().acquire_all(("probe:e66",), verb="flash", place="bare")
    assert [seen.place for seen in FileLocks().held()] == ["bench-1"]
    assert FileLocks().holder_of(("/dev/another", "flash:E66")) == FileLocks().holder(PORT) is not None
    process.kill()
    process.wait()
    assert FileLocks().held() == []


def test_who_gets_one_door_and_not_the_other_holds_none(holder: Callable[..., subprocess.Popen[bytes]]) -> None:
    holder()
    with pytest.raises(PlaceBusy, match="two is used by assay provision"):
        FileLocks().acquire_all(("probe:E66", PORT), verb="flash", place="two")
    assert [seen.place for seen in FileLocks().held()] == ["bench-1"]


@contextlib.contextmanager
def asked_meanwhile(free: Callable[[], bool]) -> Iterator[None]:
    """As who waits has to, since who is silent is passed."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(SIGN_S):
            free()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_who_waits_for_either_of_two_is_before_who_comes_later(holder: Callable[..., subprocess.Popen[bytes]]) -> None:
    first, second = holder(), holder(ports=("probe:E66",))
    locks = FileLocks()
    with (
        locks.in_line((PORT,), verb="test", place="a") as a_free,
        locks.in_line(("probe:E66",), verb="test", place="b"),
    ):
        assert not a_free()
        first.kill()
        first.wait()
        with asked_meanwhile(a_free):
            assert child_says().startswith("busy")  # it is free, and our turn
        time.sleep(SIGN_S)
        assert a_free()
        locks.acquire(PORT, verb="test").release()
        assert second.poll() is None
    assert child_says() == "got flash" and not locks.waiting(PORT)


def test_a_record_does_not_outlive_its_lock(folder: Path) -> None:
    """Between the next one's lock and its record, the record of the one before would name the wrong holder."""
    FileLocks().acquire(PORT, verb="flash").release()
    assert [path.read_bytes() for path in folder.glob("*.0.lock")] == [b""]


def test_a_twins_port_is_its_lasting_path(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (tmp_path / "other").symlink_to(site)
    tty = site / "tty"
    before = place_key(str(tty))
    for device in ("/dev/pts/999998", "/dev/pts/999999"):
        tty.unlink(missing_ok=True)
        tty.symlink_to(device)
        assert place_key(str(tty)) == place_key(str(tmp_path / "other" / "tty")) == before


def test_a_looker_never_makes_a_lock_fail(folder: Path) -> None:
    look = f"from assay.drivers.locks.file_lock import FileLocks as L\nwhile True: L().holder({PORT!r})"
    looker = subprocess.Popen([sys.executable, "-c", look])
    try:
        end_s = time.monotonic() + 1.0
        while time.monotonic() < end_s:
            FileLocks().acquire(PORT, verb="flash").release()
    finally:
        looker.kill()
        looker.wait()


def test_the_folder_is_for_all_users_and_none_may_remove_anothers(folder: Path) -> None:
    FileLocks().acquire(PORT, verb="flash").release()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()] == [0o666]


@pytest.mark.parametrize("trap", ["link", "file", "open"])
def test_a_folder_laid_by_somebody_is_refused(folder: Path, tmp_path: Path, trap: str) -> None:
    if trap == "link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    elif trap == "file":
        folder.touch()
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(StorageError, match="locks cannot be kept") as caught:
        FileLocks().acquire(PORT, verb="flash")
    assert "ASSAY_LOCK_DIR" in caught.value.remedy


def test_a_link_laid_for_a_lock_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    FileLocks().acquire(PORT, verb="flash").release()
    (file,) = folder.iterdir()
    file.unlink()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file.symlink_to(victim)
    with pytest.raises(StorageError):
        FileLocks().acquire(PORT, verb="flash")
    assert victim.read_text() == "precious"


def test_nonsense_in_a_lock_file_names_nobody_and_breaks_nothing(folder: Path) -> None:
    FileLocks().acquire(PORT, verb="flash").release()
    (file,) = folder.iterdir()
    file.write_bytes(b"\x00{")
    with FileLocks().acquire(PORT, verb="flash"):
        file.write_bytes(b"nonsense")
        seen = FileLocks().holder(PORT)
        assert seen is not None and seen.user == "unknown"
        with pytest.raises(PlaceBusy, match="did not say who it is"):
            FileLocks().acquire(PORT, verb="flash")


def test_the_folder_without_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_LOCK_DIR")
    assert lock_folder().parts[:2] in {("/", "run"), ("/", "tmp")}


def test_a_lock_folder_of_root_alone_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /run/lock is on Fedora; once somebody who may has made assay's folder there, all use that."""
    monkeypatch.delenv("ASSAY_LOCK_DIR")
    system = tmp_path / "lock" / "assay"
    system.parent.mkdir()
    monkeypatch.setattr(file_lock, "SYSTEM_LOCK_DIR", system)
    assert lock_folder() == system
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    assert lock_folder() == Path(tempfile.gettempdir()) / "assay-lock"
    system.mkdir()
    assert lock_folder() == system


def test_a_line_that_is_being_written_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    """Who looks at it in that moment would pass all who wait."""
    path = tmp_path / "line"
    line = WaitingLine(path, lambda path: os.open(path, os.O_RDWR | os.O_CREAT))
    stop = threading.Event()

    def write() -> None:
        with line.number("me") as called:
            while not stop.is_set():
                line._shown_s = 0.0  # as if its time to show itself had come
                called()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not line.waiters():
            time.sleep(0.01)
        assert all(len(line.waiters()) == 1 for _ in range(2000))
    finally:
        stop.set()
        writer.join()
