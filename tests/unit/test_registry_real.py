# SPDX-License-Identifier: Apache-2.0
"""A real registry process (Debian's docker-registry) with TLS and a password: push, pull, what lies on its disk."""

from __future__ import annotations

import hashlib
import http.client
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
from free_ports import free_port
from published_release import Published
from tls_certificate import certified

from assay.backends.registries.upload import Uploads
from assay.errors import NotVerified, Refused
from assay.formats import oci_layout
from assay.model.trust import TrustFile
from assay.pipeline.registry_transfer import Registry, pull_release, push_release
from assay.pipeline.site import Site

BOARD = "ast1030-evb"
PROGRAM = shutil.which("docker-registry")
UP_TIMEOUT_S = 100.0

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no docker-registry (apt-get install docker-registry)")


@dataclass(frozen=True)
class Running:
    """A registry that runs: its address, its CA, and the folder that it stores in."""

    address: str
    ca: Path
    storage: Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("registry")
    key, certificate = certified(folder)
    password = bcrypt.hashpw(b"s3cret-w0rd", bcrypt.gensalt(4, prefix=b"2b")).decode().replace("$2b$", "$2y$", 1)
    (folder / "htpasswd").write_text(f"ci:{password}\n")
    port = free_port()
    (folder / "config.yml").write_text(
        f"""\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/storage}}}}
auth: {{htpasswd: {{realm: here, path: {folder}/htpasswd}}}}
http:
  addr: 127.0.0.1:{port}
  tls: {{certificate: {certificate}, key: {key}}}
"""
    )
    log = (folder / "log").open("wb")
    process = subprocess.Popen([PROGRAM or "", "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        wait_for(port, process, folder / "log")
        yield Running(f"127.0.0.1:{port}/site", certificate, folder / "storage")
    finally:
        process.kill()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end_s = time.monotonic() + UP_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end_s, "the registry does not come up"
            time.sleep(0.05)


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("s3cret-w0rd\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSAY_REGISTRY_USER", "ci")
    monkeypatch.setenv("ASSAY_REGISTRY_PASSWORD_FILE", str(file))
    return file


def quiet(_line: str) -> None:
    return


def test_push_and_pull_with_tls_and_a_password(
    published: Published, made_trust: TrustFile, running: Running, tmp_path: Path, password: Path
) -> None:
    """This registry has no referrers API (2.8): the statements are found by the tag for older registries."""
    registry, site = Registry(running.address, running.ca), Site(tmp_path / "other-site")
    release = published.site.store.find("tiny", None, BOARD)
    pushed = push_release(published.site, release, registry, quiet)
    assert pushed.where == f"{running.address}/{BOARD}/tiny:1.0.0"
    assert push_release(published.site, release, registry, quiet).blobs_sent == 0
    done = pull_release(site, "tiny", "1.0.0", BOARD, registry, made_trust, quiet)
    assert (done.release, done.statements) == (release, 2)
    assert site.store.get(release.image.file_sha256) == published.site.store.get(release.image.file_sha256)

    password.write_text("wrong")
    with pytest.raises(Refused, match="does not take the password of ci") as refused:
        pull_release(site, "tiny", "1.0.0", BOARD, registry, made_trust, quiet)
    assert "wrong" not in str(refused.value)
    password.write_text("s3cret-w0rd")
    with pytest.raises(NotVerified, match="does not prove who it is"):
        pull_release(site, "tiny", "1.0.0", BOARD, Registry(running.address), made_trust, quiet)

    damage(running, release.image.file_sha256)
    with pytest.raises(NotVerified, match="gives other bytes"):
        pull_release(Site(tmp_path / "third"), "tiny", "1.0.0", BOARD, registry, made_trust, quiet)


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("where", ["between two pieces", "in the middle of a piece"])
def test_a_push_that_was_killed_goes_on(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """What this registry keeps of a piece that was cut it does not let us go on with: that blob begins anew."""
    monkeypatch.setattr("assay.backends.registries.upload.UPLOAD_BYTES", 100_000)
    data = random.Random(where).randbytes(450_000)
    sha256, pieces = hashlib.sha256(data).hexdigest(), list[int]()
    send = http.client.HTTPConnection.send

    def sending(self: http.client.HTTPConnection, piece: bytes) -> None:
        if len(piece) > 10_000:
            pieces.append(len(piece))
        if len(pieces) == 3 and len(piece) > 10_000:
            send(self, piece[:40_000] if where == "in the middle of a piece" else b"")
            raise Killed
        send(self, piece)

    client = Registry(running.address, running.ca).client("b", "kills")
    known = Uploads(tmp_path / "uploads", client.name)
    with monkeypatch.context() as patch:
        patch.setattr(http.client.HTTPConnection, "send", sending)
        with pytest.raises(Killed):
            client.put_blob(sha256, data, known)
    again = Registry(running.address, running.ca).client("b", "kills")
    had = again.put_blob(sha256, data, Uploads(tmp_path / "uploads", client.name))
    assert had == 200_000 if where == "between two pieces" else had in (0, 240_000)
    again.blob(oci_layout.describe(data, "x/y"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert not list((tmp_path / "uploads").iterdir())


def damage(running: Running, sha256: str) -> None:
    """Change a blob on the registry's disk: it serves it all the same."""
    blob = next(path for path in running.storage.rglob("data") if path.parent.name == sha256)
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_without_a_password_it_is_said_what_is_missing(
    running: Running, made_trust: TrustFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASSAY_REGISTRY_USER")
    site = Site(tmp_path / "other-site")
    with pytest.raises(Refused, match="wants a password"):
        pull_release(site, "tiny", "1.0.0", BOARD, Registry(running.address, running.ca), made_trust, quiet)


def test_passwords_of_docker_and_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.backends.registries.credentials import find_credentials

    monkeypatch.delenv("ASSAY_REGISTRY_USER")
    for name in ("DOCKER_CONFIG", "NETRC", "XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    assert find_credentials("r.example:5000") is None
    (home / ".netrc").write_text("machine r.example login ned password netrc-word\n")
    (home / ".netrc").chmod(0o600)
    found = find_credentials("r.example:5000")
    assert found is not None
    assert (found.user, found.password) == ("ned", "netrc-word")
    (home / ".docker" / "config.json").write_text('{"auths": {"r.example:5000": {"auth": "ZG9jOmRvY2tlci13b3Jk"}}}')
    found = find_credentials("r.example:5000")
    assert found is not None
    assert (found.user, found.password) == ("doc", "docker-word")
    assert "docker-word" not in repr(found)
    monkeypatch.setenv("ASSAY_REGISTRY_USER", "env")
    monkeypatch.delenv("ASSAY_REGISTRY_PASSWORD_FILE")
    monkeypatch.setenv("ASSAY_REGISTRY_PASSWORD", "env-word")
    found = find_credentials("r.example:5000")
    assert found is not None
    assert (found.user, found.password) == ("env", "env-word")
    import os

    assert "ASSAY_REGISTRY_PASSWORD" not in os.environ, "no child inherits it"
