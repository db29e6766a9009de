# SPDX-License-Identifier: Apache-2.0
"""Hosts that live and say nothing: their kernel takes every byte, so no broken link tells of them; against a real sshd
that is stopped (SIGSTOP) in the middle.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from ssh_server import SshServer, needs_sshd, ssh_server

from assay.drivers.ssh import remote_file
from assay.drivers.ssh.opening import open_ssh
from assay.drivers.ssh.subsystem import SubsystemTransport
from assay.errors import DeviceTimeout, LinkError

pytestmark = [needs_sshd, pytest.mark.timeout(120)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    with ssh_server(tmp_path / "sshd") as running:
        yield running


def children(pid: int) -> list[int]:
    """The processes under `pid`, those nearest to it first."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [each for child in map(int, found) for each in (child, *children(child))]


@pytest.fixture
def stopped(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The processes of the session, which are stopped when the session is open, before it is asked for anything."""
    held: list[int] = []

    def stop_first(name: str) -> None:
        asked = getattr(paramiko.Channel, name)

        def ask(channel: paramiko.Channel, words: object) -> None:
            held.extend(children(server.process.pid))
            for each in held:
                os.kill(each, signal.SIGSTOP)
            asked(channel, words)

        monkeypatch.setattr(paramiko.Channel, name, ask)

    for name in ("exec_command", "invoke_subsystem"):
        stop_first(name)
    yield held
    for each in held:
        os.kill(each, signal.SIGKILL)


def test_a_host_that_does_not_begin_a_command(server: SshServer, stopped: list[int]) -> None:
    began_s = time.monotonic()
    with open_ssh(server.address()) as host, pytest.raises(DeviceTimeout, match=r"true on .* did not end within 2 s"):
        host.run(["true"], timeout_s=2.0)
    assert stopped and time.monotonic() - began_s < 60


def test_a_host_that_does_not_begin_sftp(
    server: SshServer, stopped: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_file, "STALL_S", 2.0)
    with open_ssh(server.address()) as host, pytest.raises(LinkError, match=r"nothing came for 2 s, reading /etc/x"):
        host.get("/etc/x", 10)
    assert stopped


def test_a_unit_that_does_not_begin_its_program(server: SshServer, stopped: list[int]) -> None:
    """As a module that froze behind an emulator's network, which takes every byte for it."""
    link = SubsystemTransport(server.address(), "sftp")
    with pytest.raises(LinkError, match=r"does not start its subsystem 'sftp': no answer within 5 s"):
        link.wait_up(0.5)
    link.close()
    assert stopped
