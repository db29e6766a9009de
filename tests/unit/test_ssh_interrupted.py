# SPDX-License-Identifier: Apache-2.0
"""What a host is found with after something was cut short: a file whose rename was not made durable, a host that is on
its way down or up; against a real sshd.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_server import SshServer, needs_sshd, ssh_server

from assay.drivers.ssh.host import SshHost
from assay.drivers.ssh.opening import open_ssh
from assay.drivers.ssh.sftp_flasher import open_sftp
from assay.drivers.ssh.upload import Upload
from assay.errors import AssayError, DeviceTimeout, InfrastructureError, Refused, StorageError

pytestmark = needs_sshd
DATA = os.urandom(10_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    with ssh_server(tmp_path / "sshd") as running:
        yield running


def test_a_file_that_is_there_is_made_durable_before_it_counts(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call renamed it, and the link broke before the folder was synced."""
    path, synced = tmp_path.resolve() / "x.bin", []
    real = Upload._sync

    def sync(self: Upload, what: str) -> None:
        synced.append(what)
        real(self, what)

    monkeypatch.setattr(Upload, "_sync", sync)
    path.write_bytes(DATA)
    with open_ssh(server.address()) as host:
        assert host.put(DATA, str(path), SHA256).sent == 0
    assert synced == [str(path), str(path.parent)]


def test_a_host_without_df_finds_out_by_writing(tmp_path: Path) -> None:
    few = tmp_path / "bin"
    few.mkdir()
    for name in ("sh", "sha256sum", "sync"):
        (few / name).symlink_to(shutil.which(name) or name)
    path = tmp_path.resolve() / "x.bin"
    words = f"PATH={few} BASH_ENV= ENV="
    with ssh_server(tmp_path / "sshd", SetEnv=words) as server, open_ssh(server.address()) as host:
        assert host.run(["df"]).status == 127
        assert host.put(DATA, str(path), SHA256).sent == len(DATA)
    assert path.read_bytes() == DATA


def boots(monkeypatch: pytest.MonkeyPatch, *says: bytes | AssayError) -> list[bytes | AssayError]:
    """What the unit answers when it is asked which boot it is in, one after the other; the last one for ever."""
    left = list(says)

    def get(_host: SshHost, _path: str, _size_max: int) -> bytes:
        now = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(now, AssayError):
            raise now
        return now

    monkeypatch.setattr(SshHost, "get", get)
    return left


def test_a_host_that_goes_down_step_by_step_is_waited_for(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = StorageError("its SFTP server ended", remedy="look")
    early = InfrastructureError("it does not let us in: no logins yet", remedy="look")
    left = boots(monkeypatch, b"one", gone, early, b"two")
    open_sftp(ssh=server.address(), reset=["true"], up_s=60.0).reset()
    assert left == [b"two"]


def test_what_was_last_seen_of_a_host_that_stays_away_is_told(
    server: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    boots(monkeypatch, b"one", StorageError("its SFTP server ended", remedy="look"))
    with pytest.raises(DeviceTimeout, match=r"did not restart within 1 s: its SFTP server ended"):
        open_sftp(ssh=server.address(), reset=["true"], up_s=1.0).reset()


def test_another_host_is_not_waited_for(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    boots(monkeypatch, b"one", Refused("another host answers", remedy="find out why"))
    with pytest.raises(Refused):
        open_sftp(ssh=server.address(), reset=["true"], up_s=60.0).reset()
