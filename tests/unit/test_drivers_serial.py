# SPDX-License-Identifier: Apache-2.0
"""The serial transport on pseudo-terminals: one user at a time, and an error that helps for all that can go wrong."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import subprocess
import sys
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.drivers import serial_transport
from assay.drivers.locks.file_lock import FileLocks
from assay.drivers.serial_transport import open_serial
from assay.errors import AssayError, ExitStatus, LinkError, PlaceBusy, UsageFault

OPEN = """
import sys, time
from assay.drivers.serial_transport import open_serial
port = open_serial(sys.argv[1])
print("open", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_LOCK_DIR", str(tmp_path / "locks"))


class Pair:
    """A pseudo-terminal: `port` is its name, `far` our end."""

    def __init__(self) -> None:
        self.far, self.near = os.openpty()
        tty.setraw(self.near)
        self.port = os.ttyname(self.near)

    def says(self, data: bytes) -> None:
        """Until it has arrived at the port: the kernel brings it there at a time of its own."""
        os.write(self.far, data)
        assert select.select([self.near], [], [], 60)[0]

    def close(self) -> None:
        os.close(self.near)
        os.close(self.far)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    with contextlib.suppress(OSError):
        made.close()


def test_bytes_both_ways(pair: Pair) -> None:
    link = open_serial(pair.port)
    every = bytes(range(256))
    link.write(every)
    got = b""
    while len(got) < 256:
        got += os.read(pair.far, 1000)
    assert got == every
    os.write(pair.far, every)
    got = b""
    while len(got) < 256:
        got += link.read(100, 1.0)
    assert got == every
    link.close()
    link.close()


def test_silence_ends_after_the_timeout(pair: Pair) -> None:
    link = open_serial(pair.port)
    begun_s = time.monotonic()
    assert link.read(10, 0.2) == b""
    assert 0.19 < time.monotonic() - begun_s < 20


def test_input_from_before_is_not_read(pair: Pair) -> None:
    pair.says(b"stale")
    link = open_serial(pair.port)
    assert link.read(10, 0.05) == b""
    pair.says(b"stale")
    link.drop_input()
    os.write(pair.far, b"new")
    assert link.read(10, 1.0) == b"new"


def test_two_processes_on_one_port(pair: Pair) -> None:
    first = subprocess.Popen([sys.executable, "-c", OPEN, pair.port], stdout=subprocess.PIPE)
    try:
        assert first.stdout is not None and first.stdout.readline() == b"open\n"
        with pytest.raises(PlaceBusy, match=rf"is used by python[\d.]* \(pid {first.pid}\)") as caught:
            open_serial(pair.port)
        assert caught.value.status is ExitStatus.ERROR and caught.value.remedy
    finally:
        first.kill()
        first.communicate()
    open_serial(pair.port).close()


def test_a_busy_port_names_the_holder_of_the_lock(pair: Pair) -> None:
    code = OPEN.replace("port =", "from assay.drivers.locks.file_lock import FileLocks as L\n"
                        "lock = L().acquire(sys.argv[1], verb='provision')\nport =")  # fmt: skip
    first = subprocess.Popen([sys.executable, "-c", code, pair.port], stdout=subprocess.PIPE)
    try:
        assert first.stdout is not None and first.stdout.readline() == b"open\n"
        with pytest.raises(PlaceBusy, match=f"used by assay provision .pid {first.pid}, user"):
            open_serial(pair.port)
        assert FileLocks().holder(pair.port) is not None
    finally:
        first.kill()
        first.communicate()


def test_a_missing_port_lists_those_that_exist() -> None:
    with pytest.raises(LinkError, match="there is no port /dev/ttyNONE") as caught:
        open_serial("/dev/ttyNONE")
    assert "ports of this host" in caught.value.remedy


def test_a_port_of_windows_says_how_it_is_reached() -> None:
    with pytest.raises(LinkError, match="there is no port COM3") as told:
        open_serial("COM3")
    assert "rfc2217://" in told.value.remedy


def test_no_permission_says_which_group(monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may open anything, so the refusal is the system's, put in by hand.
    error = OSError(errno.EACCES, "Permission denied")
    told = serial_transport._cannot_open("/dev/ttyUSB0", error)
    assert isinstance(told, LinkError) and "dialout" in told.remedy


def test_what_is_no_port(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(LinkError, match="cannot open"):
        open_serial(str(file))
    with pytest.raises(UsageFault, match="is no port"):
        open_serial("nosuch://x")


@pytest.mark.parametrize(
    ("address", "kind", "said", "remedy"),
    [
        ("socket://127.0.0.1", UsageFault, "names no host and port", "write socket://HOST:PORT"),
        ("socket://127.0.0.1:70000", UsageFault, "names no host and port", "write socket://HOST:PORT"),
        ("rfc2217://:4000", UsageFault, "names no host and port", "write rfc2217://HOST:PORT"),
        ("rfc2217://127.0.0.1:1?speed=9", UsageFault, "is no address: unknown option: 'speed'", "correct it"),
        ("socket://127.0.0.1:1", LinkError, "cannot open socket://127.0.0.1:1: .*refused", "that the port server runs"),
        ("rfc2217://127.0.0.1:1", LinkError, "cannot open rfc2217://127.0.0.1:1: .*refused", "the port server runs"),
    ],
)
def test_an_address_of_a_port_server(address: str, kind: type[AssayError], said: str, remedy: str) -> None:
    """The ports of this host, and what pyserial was comparing, are no help with somebody else's host."""
    with pytest.raises(kind, match=said) as told:
        open_serial(address)
    assert remedy in told.value.remedy and "/dev/" not in told.value.remedy
    assert told.value.message.count(address) == 1


def test_a_port_that_goes_away_is_a_broken_link(pair: Pair) -> None:
    link = open_serial(pair.port)
    pair.close()
    with pytest.raises(LinkError, match="broke"):
        link.read(10, 1.0)
    with pytest.raises(LinkError, match="broke"):
        link.write(b"x")


def test_a_closed_link_says_so(pair: Pair) -> None:
    link = open_serial(pair.port)
    link.close()
    for action in (lambda: link.read(1, 0.0), lambda: link.write(b"x"), link.drop_input):
        with pytest.raises(LinkError):
            action()


def test_a_link_that_points_to_somebodys_window_is_not_opened(pair: Pair, tmp_path: Path) -> None:
    link = tmp_path / "tty"
    link.symlink_to(pair.port)
    open_serial(str(link)).close()
    os.utime(link, (1, 1), follow_symlinks=False)  # the link is older than the terminal: of another one's life
    with pytest.raises(LinkError, match="not its own any more"):
        open_serial(str(link))


def test_a_port_without_permission_comes_with_the_udev_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from serial.tools import list_ports
    from serial.tools.list_ports_common import ListPortInfo

    port = ListPortInfo("/dev/ttyACM7")
    port.vid, port.pid = 0x1366, 0x1055
    monkeypatch.setattr(list_ports, "comports", lambda include_links=False: [port])
    error = serial_transport._cannot_open("/dev/ttyACM7", PermissionError(errno.EACCES, "denied"))
    assert isinstance(error, LinkError) and "no permission for /dev/ttyACM7" in error.message
    assert "usermod -aG dialout" in error.remedy
    assert 'ATTRS{idVendor}=="1366", ATTRS{idProduct}=="1055"' in error.remedy
    assert "udev" not in serial_transport._cannot_open("/dev/ttyS3", PermissionError(errno.EACCES, "denied")).remedy
