# SPDX-License-Identifier: Apache-2.0
"""The link to a program on a host over SSH, with a real sshd: as a serial line to it, over restarts of the host."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from ssh_server import SshServer, make_key, needs_sshd, public_line, ssh_server

from assay.drivers.ssh.subsystem import SubsystemTransport
from assay.errors import LinkError, Refused

ECHO = "import os\nwhile data := os.read(0, 65536): os.write(1, data.upper())\n"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "echo.py").write_text(ECHO)
    return {"Subsystem": f"echo {sys.executable} -I -S {tmp_path / 'echo.py'}"}


def ask(link: SubsystemTransport, text: bytes, timeout_s: float = 100.0) -> bytes:
    """What comes back for `text`, sent again each second, as SMP does with a request; later answers are dropped."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        link.write(text)
        if data := link.read(len(text), 1.0):
            quiet(link)
            return data
    raise AssertionError("no answer")


def quiet(link: SubsystemTransport) -> None:
    """Read until nothing comes any more."""
    while link.read(1000, 2.0):
        pass


def opened(server: SshServer, name: str = "echo") -> SubsystemTransport:
    link = SubsystemTransport(server.address(), name)
    link.wait_up(100.0)
    return link


@needs_sshd
def test_bytes_go_and_come_and_silence_is_empty(tmp_path: Path, settings: dict[str, str]) -> None:
    with ssh_server(tmp_path / "a", **settings) as server:
        link = opened(server)
        assert ask(link, b"one") == b"ONE"
        begun_s = time.monotonic()
        assert link.read(100, 0.2) == b""
        assert 0.15 < time.monotonic() - begun_s < 60
        link.write(b"dropped")
        assert link.read(1, 100.0) == b"D"
        link.drop_input()
        assert link.read(100, 0.2) == b""
        link.close()
        link.close()
        with pytest.raises(LinkError, match="is closed"):
            link.read(1, 0.1)


@needs_sshd
def test_the_host_restarts_and_the_link_goes_on(tmp_path: Path, settings: dict[str, str]) -> None:
    with ssh_server(tmp_path / "a", **settings) as server:
        link = opened(server)
        assert ask(link, b"before") == b"BEFORE"
        port = server.port
    link._hang_up()  # sshd's children outlive it; the unit's do not
    assert link.read(10, 0.1) == b""
    link.write(b"lost")
    with ssh_server(tmp_path / "a", port=port, **settings):
        assert ask(link, b"after") == b"AFTER"
        link.close()


@needs_sshd
def test_another_host_on_the_same_address_is_refused(tmp_path: Path, settings: dict[str, str]) -> None:
    with ssh_server(tmp_path / "a", **settings) as server:
        link = opened(server)
        port = server.port
    link._hang_up()
    with ssh_server(tmp_path / "b", port=port, **settings), pytest.raises(Refused, match="another host answers"):
        ask(link, b"anything")
    link.close()


@needs_sshd
def test_a_host_that_is_not_there_or_has_no_such_program_is_told(tmp_path: Path, settings: dict[str, str]) -> None:
    with ssh_server(tmp_path / "a", **settings) as server:
        with pytest.raises(LinkError, match="does not start its subsystem 'nothing'"):
            SubsystemTransport(server.address(), "nothing").wait_up(0.0)
        other = public_line(make_key(tmp_path / "other"))
        with pytest.raises(Refused, match="another host answers"):
            SubsystemTransport(server.address(host_keys=(other,)), "echo").wait_up(100.0)
        address = server.address()
    with pytest.raises(LinkError, match="cannot reach"):
        SubsystemTransport(address, "echo").wait_up(0.5)
