# SPDX-License-Identifier: Apache-2.0
"""A host over SSH: who it has to be, who we are, and commands that arrive as they left; against a real sshd."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from free_ports import free_port
from ssh_server import SshServer, make_key, needs_sshd, public_line, ssh_server

from assay.drivers.ssh.opening import open_ssh
from assay.errors import DeviceTimeout, ExitStatus, InfrastructureError, LinkError, Refused, UsageFault
from assay.formats.openssh_key import blob_of, fingerprint
from assay.interfaces.remote_host import RemoteHost

pytestmark = needs_sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def host(server: SshServer) -> Iterator[RemoteHost]:
    with open_ssh(server.address()) as opened:
        yield opened


# Commands


WORDS = (
    "a b", "", "$(touch /tmp/x)", "`id`", "'", '"', "x\ny", "\\", "*", "~", ";", "&&", "-n", "é", "!", "$HOME", "\t",
    "#",
)  # fmt: skip


def test_words_arrive_as_they_left(host: RemoteHost) -> None:
    said = host.run(["printf", "%s\\0", *WORDS])
    assert said.status == 0
    assert said.stdout.decode().split("\0")[:-1] == list(WORDS)


def test_bytes_that_are_no_text_arrive_too(host: RemoteHost) -> None:
    assert host.run(["printf", "%s", os.fsdecode(b"\xff\xfe")]).stdout == b"\xff\xfe"


def test_outputs_and_status_are_told_apart(host: RemoteHost) -> None:
    said = host.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (said.status, said.stdout, said.stderr, said.ok) == (3, b"out\n", b"err\n", False)


def test_a_command_that_was_killed_is_no_success(host: RemoteHost) -> None:
    said = host.run(["sh", "-c", "echo out; kill -9 $$"])
    assert (said.status, said.stdout, said.ok) == (-1, b"out\n", False)


def test_much_output_on_both_while_much_is_told(host: RemoteHost) -> None:
    given = os.urandom(3 << 20)
    said = host.run(["sh", "-c", "head -c 2000000 /dev/zero >&2; cat"], stdin=given)
    assert said.status == 0
    assert said.stdout == given
    assert len(said.stderr) == 2000000


def test_a_command_that_does_not_listen(host: RemoteHost) -> None:
    assert host.run(["true"], stdin=bytes(3 << 20)).status == 0


def test_a_command_that_does_not_end_is_named(host: RemoteHost) -> None:
    with pytest.raises(DeviceTimeout, match="sleep 60"):
        host.run(["sleep", "60"], timeout_s=1.0)
    assert host.run(["true"]).ok


def test_what_a_command_leaves_behind_keeps_nobody_waiting(host: RemoteHost) -> None:
    began_s = time.monotonic()
    said = host.run(["sh", "-c", "sleep 60 & echo started"], timeout_s=50.0)
    assert said.ok and said.stdout == b"started\n"
    assert time.monotonic() - began_s < 30


@pytest.mark.parametrize("words", [[], "ls", ["a\0b"], ["ls", 1]])
def test_what_is_no_command(host: RemoteHost, words: list[str]) -> None:
    with pytest.raises(UsageFault):
        host.run(words)


# The host's key


def test_another_key_is_refused_with_both_fingerprints(server: SshServer, tmp_path: Path) -> None:
    other = public_line(make_key(tmp_path / "other"))
    logins = server.log.count("Accepted publickey")
    with pytest.raises(Refused) as told:
        open_ssh(server.address(host_keys=(other,))).run(["true"])
    assert told.value.status is ExitStatus.REFUSED
    assert fingerprint(blob_of(other)) in told.value.message
    assert fingerprint(blob_of(public_line(server.folder / "host"))) in told.value.message
    assert server.log.count("Accepted publickey") == logins


def test_one_of_several_keys_is_enough(server: SshServer, tmp_path: Path) -> None:
    keys = (public_line(make_key(tmp_path / "other")), public_line(server.folder / "host"))
    with open_ssh(server.address(host_keys=keys)) as host:
        assert host.run(["true"]).ok


# Who we are


def test_a_key_that_is_not_allowed(server: SshServer, tmp_path: Path) -> None:
    wrong = make_key(tmp_path / "wrong")
    with pytest.raises(InfrastructureError, match="does not take the key SHA256:") as told:
        open_ssh(server.address(identity=str(wrong))).run(["true"])
    assert "authorized_keys" in told.value.remedy


def test_nobody_listens(server: SshServer) -> None:
    with pytest.raises(LinkError, match=r"cannot reach \S+:1: "):
        open_ssh(server.address(port=1)).run(["true"])


# A host that restarts


def test_a_host_that_comes_up_again(tmp_path: Path) -> None:
    port = free_port()
    with ssh_server(tmp_path / "sshd", port=port) as server, open_ssh(server.address()) as host:
        assert host.run(["true"]).ok
    with pytest.raises(DeviceTimeout, match=r"did not come up within 1 s: .*cannot reach"):
        host.wait_up(1.0)

    def later() -> None:
        time.sleep(1.0)
        with ssh_server(tmp_path / "sshd", port=port):
            done.wait(200)

    done = threading.Event()
    restarted = threading.Thread(target=later)
    restarted.start()
    try:
        host.wait_up(100)
        assert host.run(["echo", "back"]).stdout == b"back\n"
    finally:
        host.close()
        done.set()
        restarted.join()


def test_a_host_that_comes_up_as_another(server: SshServer, tmp_path: Path) -> None:
    other = public_line(make_key(tmp_path / "other"))
    began_s = time.monotonic()
    with pytest.raises(Refused):
        open_ssh(server.address(host_keys=(other,))).wait_up(60)
    assert time.monotonic() - began_s < 30
