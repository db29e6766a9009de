# SPDX-License-Identifier: Apache-2.0
"""Files to a host over SSH: whole and verified in their place, or not there; against a real sshd."""

from __future__ import annotations

import hashlib
import os
import pwd
import resource
import shutil
import subprocess
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path
from random import Random

import pytest
from free_ports import free_port
from ssh_server import SshServer, end_with_the_test, make_key, needs_sshd, ssh_server

from assay.drivers.ssh.opening import open_ssh
from assay.errors import InfrastructureError, LinkError, NotVerified, Refused, StorageError, ToolMissing, UsageFault
from assay.interfaces.remote_host import RemoteHost
from assay.model.ssh import SshAddress

pytestmark = needs_sshd
DATA = Random(11).randbytes(700_001)
OTHER = b"\0"
assert OTHER[0] not in (DATA[0], DATA[500_000])


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


@pytest.mark.parametrize("part", [DATA[:500_000] + OTHER, DATA + b"x", OTHER + DATA[1:], b""])
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


def test_what_the_storage_made_of_it_is_looked_at(host: RemoteHost, there: Path) -> None:
    data = os.urandom(8 << 20)

    def storage_flips_a_bit(done: int, size: int) -> None:
        if done == size:  # the first bytes are long written: no more than SSH's window of 2 MiB is under way
            with (there / "x.bin.part").open("r+b") as file:
                file.write(bytes([data[0] ^ 1]))

    (there / "x.bin").write_bytes(b"old")
    with pytest.raises(StorageError, match="stored of"):
        host.put(data, str(there / "x.bin"), sha256(data), progress=storage_flips_a_bit)
    assert [path.read_bytes() for path in there.iterdir()] == [b"old"]


# Hosts that cannot


def with_mounted(mount: str) -> tuple[str, ...]:
    """Words in front of a command that sees `mount` done, and nobody else does; skips where that cannot be."""
    own = ("unshare", "--mount") if os.geteuid() == 0 else (
        "unshare", "--user", "--map-current-user", "--keep-caps", "--mount",
    )  # fmt: skip
    words = (*own, "sh", "-c", f'{mount} && exec "$@"', "sh")
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no file systems of our own here: {tried.stderr.strip()}")
    return words


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[SshServer, str]]:
    """A host with a file system of 1 MiB, and where it is."""
    disk = tmp_path.resolve() / "disk"
    disk.mkdir()
    words = with_mounted(f"mount -t tmpfs -o size=1m small {disk}")
    with ssh_server(tmp_path / "sshd", before=words) as server:
        yield server, str(disk / "x.bin")


BIG = bytes(2 << 20)


def test_a_file_that_does_not_fit_is_not_begun(small_disk: tuple[SshServer, str]) -> None:
    server, path = small_disk
    with open_ssh(server.address()) as host:
        with pytest.raises(StorageError, match="bytes free, 2097152 are needed"):
            host.put(BIG, path, sha256(BIG))
        assert host.run(["ls", str(Path(path).parent)]).stdout == b""
        host.put(DATA, path, sha256(DATA))


def test_a_disk_that_gets_full(small_disk: tuple[SshServer, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.drivers.ssh.upload.Upload._free", lambda self: None)  # a host without df
    server, path = small_disk
    with open_ssh(server.address()) as host:
        with pytest.raises(StorageError, match="failed") as told:
            host.put(BIG, path, sha256(BIG))
        assert "is it full" in told.value.remedy
        assert host.run(["test", "-e", path]).status == 1
        host.run(["rm", "-f", f"{path}.part"])
        host.put(DATA, path, sha256(DATA))  # the link is good, and goes on


def test_an_sftp_server_that_ends(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    path = str(tmp_path.resolve() / "x.bin")
    with ssh_server(tmp_path / "sshd", limits=limit) as server, open_ssh(server.address()) as host:
        with pytest.raises(StorageError) as told:
            host.put(BIG, path, sha256(BIG))
        assert not isinstance(told.value, LinkError)
        assert not Path(path).exists()
        host.put(DATA, path, sha256(DATA))


def test_a_host_without_sftp(tmp_path: Path) -> None:
    with ssh_server(tmp_path / "sshd", Subsystem="other /bin/true") as server, open_ssh(server.address()) as host:
        with pytest.raises(ToolMissing, match="no SFTP"):
            host.put(DATA, str(tmp_path.resolve() / "x.bin"), sha256(DATA))
        assert host.run(["true"]).ok


def test_a_host_without_sha256sum(tmp_path: Path) -> None:
    few = tmp_path / "bin"
    few.mkdir()
    for name in ("sh", "df", "sync"):
        (few / name).symlink_to(shutil.which(name) or name)
    with (
        ssh_server(tmp_path / "sshd", SetEnv=f"PATH={few} BASH_ENV= ENV=") as server,
        open_ssh(server.address()) as host,
        pytest.raises(ToolMissing, match="no sha256sum"),
    ):
        host.put(DATA, str(tmp_path.resolve() / "x.bin"), sha256(DATA))
    assert not (tmp_path / "x.bin").exists()


@pytest.mark.skipif(shutil.which("dropbear") is None, reason="dropbear-bin is not installed")
def test_dropbear(tmp_path: Path) -> None:
    """What small Linux modules have. It looks for keys in the user's home only, so it sees a home of its own."""
    make_key(tmp_path / "user")
    (tmp_path / "home" / ".ssh").mkdir(parents=True, mode=0o700)
    (tmp_path / "home").chmod(0o700)
    (tmp_path / "home" / ".ssh" / "authorized_keys").write_text((tmp_path / "user.pub").read_text())
    host_key = str(tmp_path / "host")
    subprocess.run(["dropbearkey", "-t", "ed25519", "-f", host_key], check=True, capture_output=True)
    shown = subprocess.run(["dropbearkey", "-y", "-f", host_key], check=True, capture_output=True, text=True).stdout
    key = next(line for line in shown.splitlines() if line.startswith("ssh-ed25519"))
    port, home = free_port(), pwd.getpwuid(os.getuid()).pw_dir
    words = with_mounted(f"mount --bind {tmp_path / 'home'} {home}")
    daemon = ["dropbear", "-F", "-E", "-p", f"127.0.0.1:{port}", "-r", host_key, "-P", str(tmp_path / "pid")]
    address = SshAddress(host="127.0.0.1", port=port, user=getuser(), host_keys=(key,), identity=str(tmp_path / "user"))
    process = subprocess.Popen([*words, *daemon], stderr=subprocess.DEVNULL, preexec_fn=end_with_the_test)
    try:
        with open_ssh(address) as host:
            host.wait_up(100)
            assert host.run(["printf", "%s", "a b'$(id)"]).stdout == b"a b'$(id)"
            assert host.run(["sh", "-c", "kill -9 $$"]).status == -1
            path = tmp_path.resolve() / "x.bin"
            Path(f"{path}.part").write_bytes(DATA[:500_000])
            assert host.put(DATA, str(path), sha256(DATA)).resumed_at == 500_000
            assert path.read_bytes() == DATA == host.get(str(path), len(DATA))
    finally:
        process.terminate()
        process.wait()


def test_a_host_with_one_session_at_a_time(tmp_path: Path) -> None:
    path = tmp_path.resolve() / "x.bin"
    with ssh_server(tmp_path / "sshd", MaxSessions=1) as server, open_ssh(server.address()) as host:
        Path(f"{path}.part").write_bytes(DATA[:500_000])
        assert host.put(DATA, str(path), sha256(DATA)).resumed_at == 500_000
        assert host.put(DATA, str(path), sha256(DATA)).sent == 0


def test_a_host_with_no_session(tmp_path: Path) -> None:
    with (
        ssh_server(tmp_path / "sshd", MaxSessions=0) as server,
        open_ssh(server.address()) as host,
        pytest.raises(InfrastructureError, match="opens no session") as told,
    ):
        host.run(["true"])
    assert not isinstance(told.value, LinkError)
