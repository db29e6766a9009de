# SPDX-License-Identifier: Apache-2.0
"""A registry with the referrers API, go-containerregistry's, and `oras`, somebody's client: as Debian 13 has them.

The registry has TLS and a password. Runs where `nox -s interop` put both (`from_trixie.py`). This registry lists
statements and does not say so when one comes (`OCI-Subject`), lists them as what their config is, and has another
number for a piece of a blob: all against the specification, and none may do harm.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from from_trixie import ORAS, REGISTRY
from published_release import Published
from tls_certificate import certified

from assay.errors import Refused
from assay.formats import oci_layout
from assay.model.artifact import Release
from assay.model.trust import TrustFile
from assay.pipeline.registry_transfer import Pulled, Registry, pull_release, push_release
from assay.pipeline.site import Site
from assay.pipeline.withdrawing import withdraw

BOARD, USER, PASSWORD = "ast1030-evb", "ci", "s3cret-w0rd"

pytestmark = pytest.mark.skipif(
    not REGISTRY.is_file(), reason="nothing of Debian 13 is here: python tests/interop/from_trixie.py"
)


@dataclass(frozen=True)
class Running:
    """A registry that runs, and its CA."""

    address: str
    ca: Path

    def oras(self, verb: str, *words: str, folder: Path, sides: tuple[str, ...] = ("",)) -> str:
        """What `oras` prints, as somebody who has the password; with two `sides` it copies."""
        known = [
            word
            for side in sides
            for word in (f"--{side}ca-file={self.ca}", f"--{side}username={USER}", f"--{side}password={PASSWORD}")
        ]
        command, environment = [ORAS, verb, *known, *words], {**os.environ, "HOME": str(folder)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("go")
    key, certificate = certified(folder)
    command = [str(REGISTRY), str(certificate), str(key), USER, PASSWORD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        yield Running(process.stdout.readline().strip(), certificate)
        process.stdin.close()


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSAY_REGISTRY_USER", USER)
    monkeypatch.setenv("ASSAY_REGISTRY_PASSWORD_FILE", str(tmp_path / "password"))


def quiet(_line: str) -> None:
    return


def registry(running: Running, prefix: str) -> Registry:
    return Registry(f"{running.address}/{prefix}", running.ca)


def push(published: Published, running: Running, prefix: str) -> tuple[Release, str]:
    """The release, and where it is."""
    release = published.site.store.find("tiny", None, BOARD)
    return release, push_release(published.site, release, registry(running, prefix), quiet).where


def pull(running: Running, prefix: str, site: Site, trust: TrustFile) -> Pulled:
    return pull_release(site, "tiny", "1.0.0", BOARD, registry(running, prefix), trust, quiet)


def test_a_copy_by_oras_has_the_list_of_the_registry_alone_and_is_pulled(
    published: Published, made_trust: TrustFile, running: Running, tmp_path: Path
) -> None:
    release, where = push(published, running, "pushed")
    assert pull(running, "pushed", Site(tmp_path / "first"), made_trust).statements == 2
    copy = where.replace("/pushed/", "/copied/")
    api = ("--from-distribution-spec=v1.1-referrers-api", "--to-distribution-spec=v1.1-referrers-api")
    running.oras("cp", "-r", *api, where, copy, folder=tmp_path, sides=("from-", "to-"))
    tags = running.oras("repo", "tags", copy.rpartition(":")[0], folder=tmp_path)
    assert tags.split() == ["1.0.0"], "no tag that lists statements"
    done = pull(running, "copied", Site(tmp_path / "second"), made_trust)
    assert (done.release, done.statements) == (release, 2)


def test_oras_finds_the_statements_and_the_image(published: Published, running: Running, tmp_path: Path) -> None:
    release, where = push(published, running, "seen")
    listed = json.loads(running.oras("discover", "--format=json", where, folder=tmp_path))["manifests"]
    kinds = set()
    for each in listed:
        name = f"{where.rpartition(':')[0]}@{each['digest']}"
        fetched = running.oras("manifest", "fetch", name, folder=tmp_path)
        kinds.add(oci_layout.read_manifest(fetched.encode()).artifactType)
    assert (len(listed), kinds) == (2, {oci_layout.BUNDLE_TYPE})
    running.oras("pull", where, folder=tmp_path)
    (image,) = tmp_path.glob("*.signed.bin")
    assert hashlib.sha256(image.read_bytes()).hexdigest() == release.image.file_sha256


def test_what_strangers_attach_is_left_alone(
    published: Published, made_trust: TrustFile, running: Running, tmp_path: Path
) -> None:
    _, where = push(published, running, "attached")
    (tmp_path / "note.txt").write_text("nice work")
    running.oras("attach", "--artifact-type=text/x-note", where, "note.txt", folder=tmp_path)
    assert len(json.loads(running.oras("discover", "--format=json", where, folder=tmp_path))["manifests"]) == 3
    assert pull(running, "attached", Site(tmp_path / "other-site"), made_trust).statements == 2


def test_a_withdrawal_is_listed_too(
    published: Published, made_trust: TrustFile, running: Running, tmp_path: Path
) -> None:
    push(published, running, "withdrawn")
    withdraw(published.site, "tiny@1.0.0", BOARD, "it overheats")
    push(published, running, "withdrawn")
    site = Site(tmp_path / "other-site")
    with pytest.raises(Refused, match="it overheats"):
        pull(running, "withdrawn", site, made_trust)
    assert site.store.releases() == ()
    published.site.signers.close()  # type: ignore[attr-defined]
