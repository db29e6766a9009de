# SPDX-License-Identifier: Apache-2.0
"""Real SSH servers on loopback, for this user, with keys made for the test: OpenSSH's sshd as anybody may start it."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
from free_ports import free_port

from assay.model.ssh import SshAddress

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")
START_S = 100.0
PR_SET_PDEATHSIG = 1

needs_sshd = pytest.mark.skipif(not Path(SSHD).exists(), reason="openssh-server is not installed")


def sftp_server() -> str:
    return next((path for path in SFTP_SERVERS if Path(path).exists()), "internal-sftp")


def make_key(path: Path, kind: str = "ed25519", phrase: str = "", *more: str) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *more, "-N", phrase, "-C", path.name, "-f", str(path)], check=True)
    return path


def sign_key(authority: Path, public: Path, *options: str) -> Path:
    """The certificate, `NAME-cert.pub` beside the key."""
    subprocess.run(["ssh-keygen", "-q", "-s", str(authority), "-I", "test", *options, str(public)], check=True)
    return public.with_name(public.name.removesuffix(".pub") + "-cert.pub")


def public_line(key: Path) -> str:
    """A key's public half as it stands in a bench file."""
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])


def end_with_the_test() -> None:
    """In a process that a test starts: it gets SIGTERM when the test's process is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class SshServer:
    """A running sshd: its folder has `host`, `user` and `authorized`."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.folder / "sshd.log").read_text(errors="replace")

    def address(self, **changes: Any) -> SshAddress:
        """How it is reached; `changes` are fields of the address."""
        fields = {
            "host": "127.0.0.1", "port": self.port, "user": getuser(),
            "host_keys": (public_line(self.folder / "host"),), "identity": str(self.folder / "user"),
        }  # fmt: skip
        return SshAddress(**{**fields, **changes})


@contextmanager
def ssh_server(
    folder: Path, *, limits: Callable[[], None] | None = None, before: tuple[str, ...] = (), port: int | None = None,
    listen: str = "127.0.0.1", wait: bool = True, **settings: Any,
) -> Iterator[SshServer]:  # fmt: skip
    """An sshd whose `settings` are those of sshd_config; `limits` runs in it first, `before` are words in front."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host", "user"):
        if not (folder / name).exists():
            make_key(folder / name)
    (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
    port = port or free_port()
    config = {
        "Port": port, "ListenAddress": listen, "HostKey": folder / "host", "PidFile": folder / "pid",
        "AuthorizedKeysFile": folder / "authorized", "StrictModes": "no", "UsePAM": "no",
        "PasswordAuthentication": "no", "PermitRootLogin": "prohibit-password",
        "ClientAliveInterval": 3, "ClientAliveCountMax": 3,  # so that a cut session does not outlive the test
        "Subsystem": f"sftp {sftp_server()}", **settings,
    }  # fmt: skip
    (folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd shuts its unprivileged part in

    def prepare() -> None:
        end_with_the_test()
        if limits is not None:
            limits()

    with (folder / "sshd.log").open("wb") as log:
        words = [*before, SSHD, "-D", "-e", "-f", str(folder / "sshd_config")]
        process = subprocess.Popen(words, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=prepare)
    server = SshServer(folder, port, process)
    try:
        if wait and listen == "127.0.0.1":
            _wait(server)
        yield server
    finally:
        process.terminate()
        process.wait()


def _wait(server: SshServer) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.port)) == 0:
                return
        assert server.process.poll() is None, server.log
        time.sleep(0.05)
    raise AssertionError(f"sshd does not listen: {server.log}")
