# SPDX-License-Identifier: Apache-2.0
"""Certificates, agents, jump hosts and old algorithms, against real sshds and a real ssh-agent."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
from bad_link import StreamLink
from free_ports import free_port
from ssh_server import SshServer, end_with_the_test, make_key, needs_sshd, public_line, sign_key, ssh_server

from assay.drivers.ssh.opening import open_ssh
from assay.errors import AssayError, InfrastructureError, LinkError, Refused, UsageFault
from assay.formats.openssh_key import blob_of, certificate_fault, fingerprint
from assay.model.ssh import SshAddress, SshHop

pytestmark = needs_sshd


@pytest.fixture
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    sock = f"/tmp/assay-agent-{os.getpid()}-{time.monotonic_ns()}"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", sock], stdout=subprocess.DEVNULL, preexec_fn=end_with_the_test)
    while not Path(sock).exists():
        assert process.poll() is None
        time.sleep(0.02)
    monkeypatch.setenv("SSH_AUTH_SOCK", sock)
    yield sock
    process.terminate()
    process.wait()


def add(key: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(key)], check=True)


def works(address: SshAddress) -> bool:
    with open_ssh(address) as host:
        return host.run(["echo", "yes"]).stdout == b"yes\n"


def refusal(address: SshAddress, kind: type[AssayError] = Refused) -> AssayError:
    with pytest.raises(kind) as told:
        open_ssh(address).run(["true"])
    assert told.value.remedy
    return told.value


# Certificates of hosts


def certified(folder: Path, *options: str, authority: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """An authority, and the settings of an sshd whose host key it signed."""
    folder.mkdir(parents=True, exist_ok=True)
    signer = authority or make_key(folder / "authority")
    make_key(folder / "host")
    certificate = sign_key(signer, folder / "host.pub", *options)
    return signer, {"HostCertificate": certificate}


def test_a_host_certificate_by_the_named_authority(tmp_path: Path) -> None:
    authority, settings = certified(tmp_path / "a", "-h", "-n", "module-7,other", "-V", "-1h:+1h")
    with ssh_server(tmp_path / "a", **settings) as server:
        known = {"host_keys": (), "host_authorities": (public_line(authority),)}
        assert works(server.address(**known, known_as="module-7"))
        assert "it is for module-7, other, not for 127.0.0.1" in refusal(server.address(**known)).message


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-h", "-V", "-1h:+1h"), "it is for no name"),
        (("-h", "-n", "127.0.0.1", "-V", "-2h:-1h"), "not valid now"),
        (("-h", "-n", "127.0.0.1", "-V", "+1h:+2h"), "not valid now"),
    ],
)
def test_host_certificates_that_do_not_count(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    authority, settings = certified(tmp_path / "a", *options)
    with ssh_server(tmp_path / "a", **settings) as server:
        told = refusal(server.address(host_keys=(), host_authorities=(public_line(authority),)))
        assert says in told.message


def test_a_host_certificate_by_somebody_else(tmp_path: Path) -> None:
    signer, settings = certified(tmp_path / "a", "-h", "-n", "127.0.0.1")
    other = make_key(tmp_path / "other")
    with ssh_server(tmp_path / "a", **settings) as server:
        told = refusal(server.address(host_keys=(), host_authorities=(public_line(other),))).message
        assert fingerprint(blob_of(public_line(signer))) in told and fingerprint(blob_of(public_line(other))) in told
        assert works(server.address(host_authorities=(public_line(other),)))  # its key is pinned as well


def test_a_host_without_the_certificate_that_is_expected(tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    with ssh_server(tmp_path / "a") as server:
        told = refusal(server.address(host_keys=(), host_authorities=(public_line(other),))).message
        assert "it shows no certificate" in told


def test_certificates_by_hand(tmp_path: Path) -> None:
    """What no sshd would load: certificates of users, by SHA-1, damaged, with a condition."""
    now_s = int(time.time())
    authority, rsa = make_key(tmp_path / "authority"), make_key(tmp_path / "rsa", "rsa", "", "-b", "2048")
    key = make_key(tmp_path / "host")

    def fault(signer: Path, *options: str) -> str | None:
        blob = blob_of(sign_key(signer, Path(f"{key}.pub"), "-n", "here", *options).read_text())
        return certificate_fault(blob, "HERE", (public_line(signer),), now_s)

    assert fault(authority, "-h") is None
    assert fault(rsa, "-h", "-t", "rsa-sha2-512") is None
    assert "a user" in (fault(authority) or "")
    assert "SHA-1" in (fault(rsa, "-h", "-t", "ssh-rsa") or "")
    assert "condition" in (fault(authority, "-h", "-O", "critical:strange=1") or "")
    good = blob_of(sign_key(authority, Path(f"{key}.pub"), "-h", "-n", "here").read_text())
    lines = (public_line(authority),)
    for at in range(0, len(good), 7):
        damaged = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        assert certificate_fault(damaged, "here", lines, now_s) is not None
        assert certificate_fault(good[:at], "here", lines, now_s) is not None
    assert certificate_fault(blob_of(public_line(key)), "here", lines, now_s) is not None


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_every_kind_of_host_key_and_certificate(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    authority = make_key(tmp_path / "authority", kind)
    make_key(folder / "host", kind)
    certificate = sign_key(authority, folder / "host.pub", "-h", "-n", "127.0.0.1")
    with ssh_server(folder, HostCertificate=certificate) as server:
        assert works(server.address())
        assert works(server.address(host_keys=(), host_authorities=(public_line(authority),)))


def test_the_pinned_one_of_several_host_keys_is_asked_for(tmp_path: Path) -> None:
    for kind in ("ed25519", "ecdsa", "rsa"):
        make_key(tmp_path / kind, kind)
    keys = f"{tmp_path / 'ed25519'}\nHostKey {tmp_path / 'ecdsa'}\nHostKey {tmp_path / 'rsa'}"
    with ssh_server(tmp_path / "a", HostKey=keys) as server:
        for kind in ("ed25519", "ecdsa", "rsa"):
            assert works(server.address(host_keys=(public_line(tmp_path / kind),)))


# Who we are


def test_a_user_certificate(tmp_path: Path, no_agent: None) -> None:
    authority, key = make_key(tmp_path / "authority"), make_key(tmp_path / "us")
    with ssh_server(tmp_path / "a", TrustedUserCAKeys=f"{authority}.pub") as server:
        address = server.address(identity=str(key))
        assert "does not take the key" in refusal(address, InfrastructureError).message
        certificate = sign_key(authority, Path(f"{key}.pub"), "-n", getuser())
        assert works(address)  # it lies beside the key
        elsewhere = certificate.rename(tmp_path / "elsewhere.pub")
        refusal(address, InfrastructureError)
        assert works(server.address(identity=str(key), certificate=str(elsewhere)))
        assert "no certificate" in refusal(
            server.address(identity=str(key), certificate=str(tmp_path / "no.pub")), UsageFault
        ).message  # fmt: skip


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_an_agent(tmp_path: Path, agent: str, kind: str) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    make_key(folder / "user", kind)
    with ssh_server(folder) as server:
        assert "the agent has none" in refusal(server.address(identity=None), InfrastructureError).message
        add(make_key(tmp_path / "wrong"))
        assert "does not take the key" in refusal(server.address(identity=None), InfrastructureError).message
        chosen = server.address(identity=str(folder / "user.pub"))
        assert "the agent does not have the key" in refusal(chosen, InfrastructureError).message
        add(folder / "user")
        assert works(server.address(identity=None))
        assert works(chosen)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_certificate_in_the_agent(tmp_path: Path, agent: str, kind: str) -> None:
    authority, key = make_key(tmp_path / "authority"), make_key(tmp_path / "us", kind)
    sign_key(authority, Path(f"{key}.pub"), "-n", getuser())
    add(key)  # with its certificate
    with ssh_server(tmp_path / "a", TrustedUserCAKeys=f"{authority}.pub") as server:
        assert works(server.address(identity=None))


def test_an_agent_with_many_keys_is_a_question(tmp_path: Path, agent: str) -> None:
    for number in range(6):
        add(make_key(tmp_path / f"k{number}"))
    with ssh_server(tmp_path / "a") as server:
        add(server.folder / "user")
        assert "the agent has 7 keys" in refusal(server.address(identity=None), InfrastructureError).message
        assert works(server.address(identity=str(server.folder / "user.pub")))


def test_key_files_that_cannot_be_used(tmp_path: Path, no_agent: None) -> None:
    open_to_all, locked = make_key(tmp_path / "open"), make_key(tmp_path / "locked", "ed25519", "phrase")
    open_to_all.chmod(0o644)
    (tmp_path / "text").write_text("text")
    (tmp_path / "text").chmod(0o600)
    with ssh_server(tmp_path / "a") as server:
        for path, says in (
            (open_to_all, "can be read by others"), (locked, "has a pass phrase"),
            (tmp_path / "text", "no private key"), (tmp_path / "no", "No such file"),
        ):  # fmt: skip
            assert says in refusal(server.address(identity=str(path)), UsageFault).message


def test_a_pass_phrase_is_asked_on_a_terminal(tmp_path: Path, no_agent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    make_key(folder / "user", "ed25519", "right")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    with ssh_server(folder) as server:
        monkeypatch.setattr("getpass.getpass", lambda *_, **__: "right")
        assert works(server.address())
        monkeypatch.setattr("getpass.getpass", lambda *_, **__: "wrong")
        refusal(server.address(), UsageFault)


# Old algorithms


@pytest.mark.parametrize(
    "old",
    [
        {"KexAlgorithms": "diffie-hellman-group14-sha1,diffie-hellman-group1-sha1"},
        {"KexAlgorithms": "diffie-hellman-group14-sha256"},
        {"Ciphers": "aes128-cbc,aes256-cbc,3des-cbc"},
        {"Ciphers": "aes256-ctr", "MACs": "hmac-sha1,hmac-md5"},
        {"HostKeyAlgorithms": "ssh-rsa"},
    ],
)
def test_a_server_with_old_algorithms_only(tmp_path: Path, old: dict[str, str]) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    make_key(folder / "host", "rsa", "", "-b", "2048")
    with ssh_server(folder, **old) as server:
        told = refusal(server.address(), InfrastructureError)
    assert "only algorithms that are not safe any more" in told.message and "update its SSH server" in told.remedy


@pytest.mark.parametrize(
    "settings",
    [
        {"KexAlgorithms": "curve25519-sha256@libssh.org"},
        {"KexAlgorithms": "diffie-hellman-group16-sha512"},
        {"Ciphers": "aes128-gcm@openssh.com"},
        {"Ciphers": "aes256-ctr", "MACs": "hmac-sha2-256-etm@openssh.com"},
        {"Ciphers": "aes128-ctr", "MACs": "hmac-sha2-256"},
    ],
)
def test_what_is_taken(tmp_path: Path, settings: dict[str, str]) -> None:
    with ssh_server(tmp_path / "a", **settings) as server:
        assert works(server.address())


def test_an_rsa_key_that_is_too_short(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    make_key(folder / "host", "rsa", "", "-b", "1024")
    with ssh_server(folder, RequiredRSASize=1024) as server:
        assert "less than 2048" in refusal(server.address()).message


def test_not_an_ssh_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door, ssh_server(tmp_path / "a") as server:

        def answer() -> None:
            near, _ = door.accept()
            near.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            near.close()

        threading.Thread(target=answer, daemon=True).start()
        assert "there is no SSH" in refusal(server.address(port=door.getsockname()[1]), LinkError).message


# Jump hosts


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[SshServer, SshServer]]:
    with ssh_server(tmp_path / "gate") as gate, ssh_server(tmp_path / "inner") as inner:
        yield gate, inner


def hop(server: SshServer, **changes: Any) -> SshHop:
    return SshHop(**server.address(**changes).model_dump(exclude={"jump"}))


def test_over_a_jump_host(two: tuple[SshServer, SshServer], tmp_path: Path) -> None:
    gate, inner = two
    data = os.urandom(300_000)
    with open_ssh(inner.address(jump=(hop(gate),))) as host:
        assert host.run(["echo", "a b"]).stdout == b"a b\n"
        place = tmp_path.resolve() / "x.bin"
        host.put(data, str(place), hashlib.sha256(data).hexdigest())
        assert place.read_bytes() == data
    assert "Accepted publickey" in gate.log and "Accepted publickey" in inner.log


def test_each_host_on_the_way_has_its_own_key(two: tuple[SshServer, SshServer], tmp_path: Path) -> None:
    gate, inner = two
    wrong = (public_line(make_key(tmp_path / "other")),)
    told = refusal(inner.address(jump=(hop(gate, host_keys=wrong),))).message
    assert f":{gate.port}" in told
    told = refusal(inner.address(host_keys=wrong, jump=(hop(gate),))).message
    assert f":{inner.port}" in told
    assert "Accepted publickey" not in inner.log
    refusal(inner.address(host_keys=(public_line(gate.folder / "host"),), jump=(hop(gate),)))


def test_a_jump_host_that_does_not_get_there(two: tuple[SshServer, SshServer], tmp_path: Path) -> None:
    gate, inner = two
    told = refusal(inner.address(port=free_port(), jump=(hop(gate),)), LinkError).message
    assert "does not get to" in told and f":{gate.port}" in told
    with ssh_server(tmp_path / "shut", AllowTcpForwarding="no") as shut:
        assert "does not get to" in refusal(inner.address(jump=(hop(shut),)), LinkError).message


def test_a_broken_link_to_the_jump_host_ends_all(two: tuple[SshServer, SshServer]) -> None:
    gate, inner = two
    link = StreamLink(gate.port)
    with open_ssh(inner.address(jump=(hop(gate, port=link.port),))) as host:
        assert host.run(["true"]).ok
        threading.Timer(0.5, link.hang_up).start()
        began_s = time.monotonic()
        with pytest.raises(LinkError, match=re.escape(f":{link.port} broke")):
            host.run(["sleep", "60"])
        assert time.monotonic() - began_s < 30
        assert host.run(["true"]).ok
    link.close()
