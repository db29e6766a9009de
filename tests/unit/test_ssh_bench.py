# SPDX-License-Identifier: Apache-2.0
"""Hosts in the bench file, the keys that a host shows, and flashing by SFTP; against a real sshd."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path

import pytest
from click.testing import CliRunner
from flash_project import FlashProject
from ssh_server import SshServer, make_key, needs_sshd, public_line, ssh_server

from assay.cli.bench import command as bench
from assay.drivers.ssh.host import SshHost
from assay.drivers.ssh.sftp_flasher import open_sftp
from assay.errors import DeviceTimeout, InfrastructureError, LinkError, ManifestFault, Refused, UnitFailed, UsageFault
from assay.formats.openssh_key import blob_of, fingerprint
from assay.interfaces.flasher import Part
from assay.model.ssh import SshAddress
from assay.pipeline.driver_doors import open_transport
from assay.pipeline.manifest_files import load_bench
from assay.pipeline.remote_places import open_host
from assay.pipeline.site import Site

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGlb3l2yMDQ2RhIQ0gX9a8W7hVf3vV5mJtYyRV2w3xFd"


def nothing(_done: int, _all: int) -> None:
    """No progress is shown."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    with ssh_server(tmp_path / "sshd") as running:
        yield running


def place_of(server: SshServer) -> str:
    key = public_line(server.folder / "host")
    return (
        f'ssh = {{ host = "127.0.0.1", port = {server.port}, user = "{getuser()}", host_keys = ["{key}"], '
        f'identity = "{server.folder / "user"}" }}'
    )


# The bench file


def bench_file(folder: Path, ssh: str) -> Path:
    path = folder / "bench.toml"
    path.write_text(f'schema = "assay.bench/1"\n[[places]]\nname = "module"\nboard = "theirs"\n{ssh}\n')
    return path


@pytest.mark.parametrize(
    ("ssh", "line", "says"),
    [
        ('ssh = { host = "h", user = "u" }', 5, "no host_keys: assay bench host-key h"),
        ('ssh = { host = "h", user = "u", host_keys = ["ssh-ed25519"] }', 5, "a public key is written"),
        ('ssh = { host = "h", user = "u", host_keys = ["ssh-dss AAAA"] }', 5, "a public key is written"),
        ('ssh = { host = "h", user = "u", host_keys = ["ssh-ed25519 A!"] }', 5, "no base64"),
        (f'ssh = {{ host = "h", user = "u", host_keys = ["ssh-rsa {KEY.split()[1]}"] }}', 5, "no ssh-rsa key"),
        (f'ssh = {{ host = "-oProxyCommand=x", user = "u", host_keys = ["{KEY}"] }}', 5, "host"),
        (f'ssh = {{ host = "h", user = "-l", host_keys = ["{KEY}"] }}', 5, "user"),
        (f'ssh = {{ host = "h", user = "u", host_keys = ["{KEY}"], identity = "key" }}', 5, "identity"),
        (f'ssh = {{ host = "h", user = "u", host_keys = ["{KEY}"], certificate = "/c" }}', 5, "needs its identity"),
        (f'ssh = {{ host = "h", user = "u", host_keys = ["{KEY}"], password = "x" }}', 5, "password"),
        (f'[places.ssh]\nhost = "h"\nuser = "u"\nhost_keys = ["{KEY}"]\njump = [{{ host = "j", user = "u" }}]', 9,
         "no host_keys: assay bench host-key j"),
    ],
)  # fmt: skip
def test_a_fault_in_the_bench_file_has_its_line(tmp_path: Path, ssh: str, line: int, says: str) -> None:
    with pytest.raises(ManifestFault) as told:
        load_bench(bench_file(tmp_path, ssh))
    assert (told.value.line, says in told.value.message) == (line, True), told.value.message


def test_a_host_over_hosts(tmp_path: Path) -> None:
    hop = f'{{ host = "gate", user = "u", host_keys = ["{KEY} comment"] }}'
    path = bench_file(
        tmp_path, f'ssh = {{ host = "h", port = 222, user = "u", host_authorities = ["{KEY}"], jump = [{hop}] }}'
    )
    address = load_bench(path).places[0].ssh
    assert address is not None and [str(each) for each in address.way] == ["u@gate", "u@h:222"]
    assert address.jump[0].host_keys == (KEY,)


@needs_sshd
def test_a_place_is_ours_while_its_host_is_used(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FlashProject(tmp_path, FLASHER.format(path="/x", more=""), place_of(server))
    monkeypatch.chdir(tmp_path)
    site = Site(tmp_path / ".assay")
    with open_host(site, "desk", verb="test") as host:
        assert host.run(["echo", "a b"]).stdout == b"a b\n"
        held = CliRunner().invoke(bench, ["who", "desk", "--json"])
        assert json.loads(held.stdout)["holder"]["verb"] == "test", held.output
    with pytest.raises(UsageFault, match="no port, only a host"):
        open_transport(f"ssh://127.0.0.1:{server.port}", 115200)


# The keys that a host shows


@needs_sshd
def test_keys_are_shown_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("ed25519", "ecdsa", "rsa"):
        make_key(tmp_path / kind, kind)
    keys = f"{tmp_path / 'ed25519'}\nHostKey {tmp_path / 'ecdsa'}\nHostKey {tmp_path / 'rsa'}"
    monkeypatch.chdir(tmp_path)
    with ssh_server(tmp_path / "a", HostKey=keys) as server:
        before = sorted(tmp_path.iterdir())
        said = CliRunner().invoke(bench, ["host-key", "127.0.0.1", "--port", str(server.port)])
        told = json.loads(
            CliRunner().invoke(bench, ["host-key", "127.0.0.1", "--port", str(server.port), "--json"]).stdout
        )
        assert sorted(tmp_path.iterdir()) == before
        assert "Accepted" not in server.log
    assert said.exit_code == 0 and "nobody has verified" in said.output
    assert f'host_keys = ["{public_line(tmp_path / "ed25519")}"]' in said.output
    lines = {public_line(tmp_path / kind) for kind in ("ed25519", "ecdsa", "rsa")}
    assert {key["line"] for key in told["keys"]} == lines and told["verified"] is False
    assert {key["fingerprint"] for key in told["keys"]} == {fingerprint(blob_of(line)) for line in lines}


@needs_sshd
def test_no_keys_of_a_host_that_is_not_there_or_too_old(tmp_path: Path) -> None:
    assert CliRunner().invoke(bench, ["host-key", "127.0.0.1", "--port", "1"]).exit_code == 3
    with ssh_server(tmp_path / "a", Ciphers="aes128-cbc") as server:
        said = CliRunner().invoke(bench, ["host-key", "127.0.0.1", "--port", str(server.port)])
    assert said.exit_code == 3 and "not safe any more" in said.output


# Flashing


FLASHER = """
[[flashers]]
driver = "sftp"
addresses = {{ app = "{path}" }}
{more}
"""


def install(folder: Path) -> list[str]:
    """A program of the unit that uses a file: it copies it, and writes down what it was called with."""
    script = folder / "install"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {folder}/called\ncp "$1" {folder}/installed\necho done\n')
    script.chmod(0o755)
    return [str(script), "{path}", "{sha256}", "a b $(id)"]


@needs_sshd
def test_a_file_is_put_verified_used_and_told(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = (tmp_path / "unit").resolve()
    unit.mkdir()
    words = json.dumps(install(unit))
    digest, says = json.dumps(["sha256sum", str(unit / "installed")]), json.dumps(["echo", "version 1.2.3"])
    kind = '["echo", "Demo module 7"]'
    more = f'kind = "demo module"\noptions = {{ use = {words}, digest = {digest}, says = {says}, kind = {kind} }}'
    theirs = FlashProject(tmp_path, FLASHER.format(path=unit / "x.bin", more=more), place_of(server))
    monkeypatch.chdir(tmp_path)
    data = os.urandom(300_000)
    sha256 = hashlib.sha256(data).hexdigest()
    status, done = theirs.flash("--image", theirs.file("app.bin", data), "--dry-run")
    assert status == 0 and not (unit / "x.bin").exists(), done
    status, done = theirs.flash("--image", theirs.file("app.bin", data))
    assert (status, done["outcome"]) == (0, "PASS"), done
    assert (unit / "x.bin").read_bytes() == data == (unit / "installed").read_bytes()
    assert (unit / "called").read_text().splitlines() == [str(unit / "x.bin"), sha256, "a b $(id)"]
    record = theirs.record(done)
    assert record["found"]["kind"] == "Demo module 7"
    assert record["found"]["facts"]["host key"] == fingerprint(blob_of(public_line(server.folder / "host")))
    read = record["read_back"][0]
    assert (read["by"], read["sha256"]) == ("device", sha256) and "version 1.2.3" in read["detail"]
    assert theirs.log_verifies()


@needs_sshd
def test_another_host_gets_nothing(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = place_of(server).replace(public_line(server.folder / "host"), public_line(make_key(tmp_path / "other")))
    theirs = FlashProject(tmp_path, FLASHER.format(path=tmp_path.resolve() / "x.bin", more=""), other)
    status, told = theirs.flash("--image", theirs.file("app.bin", b"app"))
    assert status == 4 and "another host answers" in told["error"]
    assert not list(tmp_path.glob("x.bin*"))


@needs_sshd
def test_another_kind_of_board_gets_nothing(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    more = 'kind = "demo"\noptions = { kind = ["echo", "another"] }'
    theirs = FlashProject(tmp_path, FLASHER.format(path=tmp_path.resolve() / "x.bin", more=more), place_of(server))
    status, told = theirs.flash("--image", theirs.file("app.bin", b"app"))
    assert status == 4 and "'another'" in told["error"]
    assert not list(tmp_path.glob("x.bin*"))


@needs_sshd
def test_what_is_not_verified_is_not_used(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = tmp_path.resolve()
    monkeypatch.setattr("assay.drivers.ssh.upload.Upload._digest", lambda self, path: "0" * 64)
    flasher = open_sftp(ssh=server.address(), use=install(unit))
    plan = flasher.plan([Part("app", str(unit / "x.bin"), b"app")])
    with pytest.raises(InfrastructureError, match="stored of"):
        flasher.write(plan, nothing)
    assert not (unit / "called").exists() and not (unit / "x.bin").exists()
    flasher.close()


@needs_sshd
def test_what_the_unit_says_is_heard(server: SshServer, tmp_path: Path) -> None:
    part = Part("app", str(tmp_path.resolve() / "x.bin"), b"app")

    def flashed(**options: list[str]) -> None:
        flasher = open_sftp(ssh=server.address(), **options)  # type: ignore[arg-type]
        try:
            plan = flasher.plan([part])
            flasher.write(plan, nothing)
            flasher.read_back(plan, nothing)
        finally:
            flasher.close()

    flashed()
    with pytest.raises(UnitFailed, match="no space for it"):
        flashed(use=["sh", "-c", "echo no space for it >&2; exit 1"])
    with pytest.raises(InfrastructureError, match="was killed") as told:
        flashed(use=["sh", "-c", "kill -9 $$"])
    assert not isinstance(told.value, UnitFailed)
    with pytest.raises(UnitFailed, match="with the SHA-256 0000"):
        flashed(digest=["echo", "0" * 64])
    with pytest.raises(UnitFailed, match="digest"):
        flashed(digest=["echo", "none"])
    with pytest.raises(UnitFailed):
        flashed(use=["sh", "-c", f"echo changed > {part.where}"])


@needs_sshd
def test_a_restart_is_another_boot(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    boots = [b"one", b"one", b"two"]
    monkeypatch.setattr(SshHost, "get", lambda self, path, size_max: boots.pop(0))
    flasher = open_sftp(ssh=server.address(), reset=["true"], up_s=30.0)
    flasher.reset()
    assert not boots
    monkeypatch.setattr(SshHost, "get", lambda self, path, size_max: b"one")
    flasher = open_sftp(ssh=server.address(), reset=["true"], up_s=1.0)
    with pytest.raises(DeviceTimeout, match="did not restart"):
        flasher.reset()
    open_sftp(ssh=server.address(), reset=["true"], reboots=False).reset()
    with pytest.raises(UnitFailed, match="reset"):
        open_sftp(ssh=server.address(), reset=["false"], reboots=False).reset()


def test_a_restart_that_nobody_was_asked_for_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that is down before the command is sent is not one that the command brought down."""
    looks = iter([LinkError("the link to h is down", remedy="plug it in"), None, None])

    def wait_up(_host: SshHost, _timeout_s: float) -> None:
        if error := next(looks):
            raise error

    def run(*_: object, **__: object) -> None:
        raise LinkError("the link to h is down", remedy="plug it in")

    monkeypatch.setattr(SshHost, "wait_up", wait_up)
    monkeypatch.setattr(SshHost, "run", run)
    address = SshAddress(host="h", user="u", host_keys=(KEY,))
    with pytest.raises(LinkError, match="is down"):
        open_sftp(ssh=address, reset=["restart"], reboots=False).reset()


def test_what_the_flasher_cannot_do() -> None:
    address = SshAddress(host="h", user="u", host_keys=(KEY,))
    with pytest.raises(UsageFault, match="the place's host"):
        open_sftp(ssh=None)
    with pytest.raises(UsageFault, match="is no command"):
        open_sftp(ssh=address, use="install {path}")
    flasher = open_sftp(ssh=address)
    for where in (None, 0x1000, "x.bin", "/a/../x.bin"):
        with pytest.raises((UsageFault, Refused)):
            flasher.plan([Part("app", where, b"app")])


WITHOUT = """
import sys
sys.modules["paramiko"] = None
from click.testing import CliRunner
from assay.cli.bench import command
from assay.errors import ToolMissing
from assay.model.ssh import SshAddress
from assay.pipeline import driver_doors
address = SshAddress(host="h", user="u", host_keys=(sys.argv[1],))
for opened in (lambda: driver_doors.open_host(address),
               lambda: driver_doors.open_flasher("sftp", "", {}, folder=None, ssh=address)):
    try:
        opened()
    except ToolMissing as error:
        print(error.remedy)
said = CliRunner().invoke(command, ["host-key", "127.0.0.1"])
print(said.exit_code, said.output)
"""


def test_without_paramiko_the_extra_is_named() -> None:
    said = subprocess.run([sys.executable, "-c", WITHOUT, KEY], capture_output=True, text=True, check=True).stdout
    assert said.count("assay[ssh]") == 3 and "\n3 " in said, said
