# SPDX-License-Identifier: Apache-2.0
"""Who has more than 1,024 files open hears its signer, its tools and its links all the same."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from assay.backends.signers import pin, service
from assay.drivers.flash.tool_program import _Watch
from assay.drivers.udp_transport import UdpTransport
from assay.errors import InfrastructureError
from assay.interfaces.readiness import readable

HIGH = 1500


@pytest.fixture
def high() -> Iterator[Callable[[int], int]]:
    """Moves a descriptor to above 1023."""
    limit, moved = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limit[1]), limit[1]))

    def move(descriptor: int) -> int:
        moved.append(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH))
        os.close(descriptor)
        return moved[-1]

    yield move
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    for descriptor in moved:
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_one_descriptor(high: Callable[[int], int]) -> None:
    reader, writer = os.pipe()
    reader = high(reader)
    begun_s = time.monotonic()
    assert not readable(reader, 0.05)
    assert time.monotonic() - begun_s >= 0.05
    assert not readable(reader, -1.0)  # the time is up: not for ever
    os.write(writer, b"x")
    assert readable(reader, 5.0)
    assert os.read(reader, 1) == b"x"
    os.close(writer)
    assert readable(reader, 5.0) and os.read(reader, 1) == b""  # the other end is gone
    closed = socket.socket()
    closed.close()
    with pytest.raises(ValueError, match="negative"):
        readable(closed, 0.0)


def test_the_signer_process(high: Callable[[int], int]) -> None:
    reader, writer = os.pipe()
    reader = high(reader)
    os.write(writer, b"a line\nand more")
    assert service._read_line(reader, bytearray(), 5.0, "the signer process") == b"a line"
    with pytest.raises(InfrastructureError, match="did not answer within 0 s"):
        service._read_line(reader, bytearray(), 0.01, "the signer process")
    os.close(writer)


def test_a_pin_that_is_typed(high: Callable[[int], int]) -> None:
    ours, theirs = os.openpty()
    theirs = high(theirs)
    os.write(ours, b"5678\n")
    assert pin._typed_line(theirs, "factory") == "5678"
    os.close(ours)


def test_what_a_flash_tool_says(high: Callable[[int], int]) -> None:
    reader, writer = os.pipe()
    with open(high(reader), "rb", buffering=0, closefd=False) as out, open(os.devnull, "wb") as kept:  # noqa: PTH123
        process = subprocess.Popen([sys.executable, "-c", "print('Hash of data verified')"], stdout=writer)
        os.close(writer)
        process.stdout = out
        watch = _Watch(process, kept, None)
        assert watch.until(time.monotonic() + 60)
    assert watch.lines[0] == "Hash of data verified"


def test_a_link_by_datagrams(high: Callable[[int], int]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    link = UdpTransport("udp://unit", socket.socket(fileno=high(ours.detach())))
    theirs.send(b"frame")
    assert link.read(64, 5.0) == b"frame"
    assert link.read(64, 0.01) == b""
    link.close()
    theirs.close()
