# SPDX-License-Identifier: Apache-2.0
"""Files to a host over SSH: whole and verified in their place, or not there; against a real sshd."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_server import SshServer, needs_sshd, ssh_server

from assay.drivers.ssh.opening import open_ssh
from assay.errors import NotVerified, Refused, StorageError, UsageFault
from assay.interfaces.remote_host import RemoteHost

pytestmark = needs_sshd
DATA = os.urandom(700_001)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def host(server: SshServer) -> Iterator[RemoteHost]:
    with open_ssh(server.address()) as opened:
        yield opened


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Where the host keeps its files: the same machine, so that a test can look."""
    return tmp_path.resolve()


def test_a_file_is_in_its_place(host: RemoteHost, there: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = host.put(DATA, str(there / "x.bin"), sha256(DATA), progress=lambda *now: seen.append(now), mode=0o640)
    assert (report.size, report.resumed_at, report.sent) == (len(DATA), 0, len(DATA))
    assert (there / "x.bin").read_bytes() == DATA
    assert (there / "x.bin").stat().st_mode & 0o777 == 0o640
    assert seen[-1] == (len(DATA), len(DATA))
    assert [path.name for path in there.iterdir()] == ["x.bin"]


def test_an_empty_file(host: RemoteHost, there: Path) -> None:
    host.put(b"", str(there / "x.bin"), sha256(b""))
    assert (there / "x.bin").read_bytes() == b""


def test_what_is_there_already_is_not_sent(host: RemoteHost, there: Path) -> None:
    (there / "x.bin").write_bytes(DATA)
    report = host.put(DATA, str(there / "x.bin"), sha256(DATA))
    assert (report.resumed_at, report.sent) == (0, 0)


def test_an_older_file_of_the_same_size_is_replaced(host: RemoteHost, there: Path) -> None:
    (there / "x.bin").write_bytes(bytes(len(DATA)))
    host.put(DATA, str(there / "x.bin"), sha256(DATA))
    assert (there / "x.bin").read_bytes() == DATA


def test_it_goes_on_behind_a_good_part(host: RemoteHost, there: Path) -> None:
    (there / "x.bin.part").write_bytes(DATA[:500_000])
    report = host.put(DATA, str(there / "x.bin"), sha256(DATA))
    assert (report.resumed_at, report.sent) == (500_000, len(DATA) - 500_000)
    assert (there / "x.bin").read_bytes() == DATA


@pytest.mark.parametrize("part", [DATA[:500_000] + b"\0", DATA + b"x", b"\0" + DATA[1:], b""])
def test_a_part_that_is_not_ours_counts_for_nothing(host: RemoteHost, there: Path, part: bytes) -> None:
    (there / "x.bin.part").write_bytes(part)
    report = host.put(DATA, str(there / "x.bin"), sha256(DATA))
    assert (report.resumed_at, report.sent) == (0, len(DATA))
    assert (there / "x.bin").read_bytes() == DATA


def test_a_source_with_another_digest_is_not_sent(host: RemoteHost, there: Path) -> None:
    with pytest.raises(NotVerified):
        host.put(DATA, str(there / "x.bin"), sha256(b"other"))
    assert not list(there.iterdir())


def test_links_and_folders_are_refused(host: RemoteHost, there: Path) -> None:
    (there / "other").write_bytes(b"other")
    (there / "link").symlink_to(there / "other")
    (there / "part").mkdir()
    (there / "x.bin.part").symlink_to(there / "other")
    (there / "way").symlink_to(there / "part")
    for name in ("link", "part", "x.bin", "way/x.bin"):
        with pytest.raises(Refused):
            host.put(DATA, str(there / name), sha256(DATA))
    assert (there / "other").read_bytes() == b"other"


@pytest.mark.parametrize("path", ["x.bin", "/tmp/../x", "/", "", "/tmp//x", "/tmp/x\0"])
def test_what_is_no_path(host: RemoteHost, path: str) -> None:
    with pytest.raises(UsageFault):
        host.put(DATA, path, sha256(DATA))


def test_a_folder_that_is_not_there(host: RemoteHost, there: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        host.put(DATA, str(there / "no" / "x.bin"), sha256(DATA))


def test_files_come_back(host: RemoteHost, there: Path) -> None:
    (there / "x.bin").write_bytes(DATA)
    assert host.get(str(there / "x.bin"), len(DATA)) == DATA
    assert host.sha256_of(str(there / "x.bin")) == sha256(DATA)
    with pytest.raises(StorageError, match="more than"):
        host.get(str(there / "x.bin"), len(DATA) - 1)
    with pytest.raises(StorageError, match="No such file"):
        host.get(str(there / "y.bin"), 10)
    with pytest.raises(StorageError, match="cannot tell the digest"):
        host.sha256_of(str(there / "y.bin"))


def test_a_file_of_proc_has_no_size_and_bytes(host: RemoteHost) -> None:
    assert host.get("/proc/sys/kernel/ostype", 100) == b"Linux\n"
