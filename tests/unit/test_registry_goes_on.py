# SPDX-License-Identifier: Apache-2.0
"""Transfers with a registry that are stopped, or run at once: the next one goes on, and nothing piles up."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from byte_killer import NEVER, Killed, Killer, killer
from mock_registry import MockRegistry, Request
from published_release import Published

from assay.backends.registries import download_folder
from assay.backends.registries.client import RegistryClient
from assay.backends.registries.connection import RegistryConnection
from assay.backends.registries.download_folder import DownloadFolder
from assay.backends.registries.upload import KEPT_S, Uploads
from assay.errors import InfrastructureError, StorageError
from assay.formats import oci_layout
from assay.formats.oci_layout import Descriptor
from assay.formats.registry_address import parse_address
from assay.model.trust import TrustFile
from assay.pipeline.registry_transfer import Registry, pull_release, push_release
from assay.pipeline.site import Site

__all__ = ["killer"]

BOARD = "ast1030-evb"
KILLS = 4
"""Points of each kind of transfer, drawn by seed; `nox -s soak` is for more."""


@pytest.fixture(autouse=True)
def no_passwords(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("ASSAY_REGISTRY_USER", "DOCKER_CONFIG", "NETRC", "XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mock() -> Iterator[MockRegistry]:
    registry = MockRegistry()
    yield registry
    registry.close()


@pytest.fixture
def tagging() -> Iterator[MockRegistry]:
    """An older registry: statements are found by a tag."""
    registry = MockRegistry(referrers=False)
    yield registry
    registry.close()


def quiet(_line: str) -> None:
    return


def push(published: Published, mock: MockRegistry) -> None:
    push_release(published.site, published.site.store.find("tiny", None, BOARD), Registry(mock.url), quiet)


def pull(site: Site, mock: MockRegistry, trust: TrustFile) -> int:
    return pull_release(site, "tiny", "1.0.0", BOARD, Registry(mock.url), trust, quiet).statements


def client(mock: MockRegistry) -> RegistryClient:
    return RegistryClient(RegistryConnection(parse_address(mock.url).origin, None, timeout_s=5.0), "site/x")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def statement(number: int, subject: Descriptor) -> tuple[Descriptor, bytes]:
    document = {"mediaType": oci_layout.MANIFEST_TYPE, "artifactType": "x/y", "n": number,
                "subject": {"digest": subject.digest}}  # fmt: skip
    data = json.dumps(document).encode()
    return oci_layout.describe(data, oci_layout.MANIFEST_TYPE, artifactType="x/y"), data


SUBJECT = oci_layout.describe(b"release", oci_layout.MANIFEST_TYPE, artifactType="x/z")
TAG = SUBJECT.digest.replace(":", "-")


@pytest.mark.parametrize("late", [1, 2, 3])
def test_an_entry_that_another_push_overwrites_is_put_back(tagging: MockRegistry, late: int) -> None:
    """Somebody read the tag before our write, and writes after our `late`th look at it: ours is not in theirs.

    After the third we are gone, as the page on registries says: then the same push again puts it back.
    """
    theirs = statement(9, SUBJECT)[0]
    looks = 0

    def another(request: Request) -> bool:
        nonlocal looks
        if request.command == "GET" and request.path.endswith(TAG):
            looks += 1
            tagging.get(request)
            if looks == late:
                data = oci_layout.Index(manifests=(theirs,)).model_dump_json(exclude_none=True).encode()
                tagging.manifests["theirs"], tagging.tags[TAG] = data, "theirs"
            return True
        return False

    tagging.twist = another
    ours = [statement(number, SUBJECT) for number in range(3)]
    client(tagging).put_referrers(ours, SUBJECT, lambda _seconds: None)
    assert looks == {1: 3, 2: 5, 3: 3}[late]
    if late == 3:
        client(tagging).put_referrers(ours, SUBJECT, lambda _seconds: None)
    found = {each.digest for each in client(tagging).referrers(SUBJECT)}
    assert found >= {each.digest for each, _ in ours}
    assert theirs.digest in found or late == 1, "theirs was there when we read it"


def test_pushes_at_once_lose_nobodys_entry(tagging: MockRegistry) -> None:
    ours = [[statement(10 * who + number, SUBJECT) for number in range(2)] for who in range(4)]
    failures: list[BaseException] = []

    def run(mine: list[tuple[Descriptor, bytes]]) -> None:
        try:
            client(tagging).put_referrers(mine, SUBJECT)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(mine,)) for mine in ours]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    found = {each.digest for each in client(tagging).referrers(SUBJECT)}
    assert found == {each.digest for mine in ours for each, _ in mine}


def test_who_cannot_write_the_tag_says_so(tagging: MockRegistry) -> None:
    def lost(request: Request) -> bool:
        if request.command == "PUT" and request.path.endswith(TAG):
            request.answer(201)
            return True
        return False

    tagging.twist = lost
    with pytest.raises(InfrastructureError, match="others keep writing"):
        client(tagging).put_referrers([statement(1, SUBJECT)], SUBJECT, lambda _seconds: None)


def test_a_pull_that_is_killed_at_any_byte_goes_on(
    published: Published, made_trust: TrustFile, mock: MockRegistry, tmp_path: Path, killer: Killer
) -> None:
    """No whole blob comes twice, and of a part only the rest."""
    push(published, mock)
    killer.left = NEVER
    pull(Site(tmp_path / "whole"), mock, made_trust)
    total = NEVER - killer.left
    dice = random.Random(6)
    for turn in range(KILLS):
        site = Site(tmp_path / f"site-{turn}")
        sent: dict[str, int] = {}
        mock.twist = lambda request, sent=sent: _counted(request, mock, sent)  # type: ignore[misc]
        at = sorted(dice.randrange(total) for _ in range(3))
        for begin, end in zip([0, *at], at, strict=False):
            killer.left = end - begin
            try:
                pull(site, mock, made_trust)
            except Killed:
                continue
        killer.left = NEVER
        assert pull(site, mock, made_trust) == 2
        assert not files(site.cache_dir / "downloads")
        again = {name: count for name, count in sent.items() if count > len(mock.blobs[name]) + 3 * 65536}
        assert not again, "what came is not asked for again, but for what was under way"


def _counted(request: Request, mock: MockRegistry, sent: dict[str, int]) -> bool:
    name = request.path.rpartition(":")[2]
    if request.command == "GET" and name in mock.blobs:
        begin = int((request.headers.get("Range") or "bytes=0-")[6:-1])
        sent[name] = sent.get(name, 0) + len(mock.blobs[name]) - begin
    return False


def test_whole_blobs_of_a_pull_that_was_killed_are_not_fetched_again(
    published: Published, made_trust: TrustFile, mock: MockRegistry, tmp_path: Path
) -> None:
    push(published, mock)
    site, asked, dead = Site(tmp_path / "other-site"), list[str](), [False]

    def twist(request: Request) -> bool:
        if request.command == "GET" and "/blobs/" in request.path:
            asked.append(request.path)
        if len(asked) == 4 and not dead[0]:
            dead[0] = True
            raise ConnectionAbortedError
        return False

    mock.twist = twist
    real = RegistryClient.blob
    count = iter(range(100))

    def blob(self: RegistryClient, descriptor: Descriptor, file: Path) -> None:
        if next(count) == 3:
            raise Killed
        real(self, descriptor, file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RegistryClient, "blob", blob)
        with pytest.raises(Killed):
            pull(site, mock, made_trust)
    assert len(files(site.cache_dir / "downloads")) == 3
    assert pull(site, mock, made_trust) == 2
    assert len(asked) == len(set(asked)) + 1, "the one that was cut by the server, and no other"
    assert not files(site.cache_dir / "downloads")


def test_a_push_that_is_killed_at_any_byte_goes_on(
    published: Published, made_trust: TrustFile, tmp_path: Path, killer: Killer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A blob of which the registry has pieces is gone on with, by the upload that the first run began."""
    monkeypatch.setattr("assay.backends.registries.upload.UPLOAD_BYTES", 700)
    dice = random.Random(7)
    for turn in range(KILLS):
        mock = MockRegistry()
        for _ in range(3):
            killer.left = dice.randrange(2000, 30_000)
            try:
                push(published, mock)
            except Killed:
                continue
        killer.left = NEVER
        push(published, mock)
        begun = [path for method, path, _ in mock.seen if method == "POST"]
        # One more for each kill: between a registry's answer and our note of it.
        assert len(begun) <= len(mock.blobs) + 3, f"turn {turn}"
        assert not files(published.site.cache_dir / "uploads")
        assert pull(Site(tmp_path / f"site-{turn}"), mock, made_trust) == 2
        mock.close()


def test_the_next_push_sends_only_what_the_registry_lacks(published: Published, mock: MockRegistry) -> None:
    folder, data = published.site.cache_dir / "uploads", random.Random(8).randbytes(5000)
    uploads = Uploads(folder, "x")
    sha256 = oci_layout.describe(data, "x/y").sha256
    pieces: list[str] = []

    def twist(request: Request) -> bool:
        if request.command == "PATCH":
            pieces.append(request.headers["Content-Range"])
        return False

    mock.twist = twist
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assay.backends.registries.upload.UPLOAD_BYTES", 1000)
        real = Uploads.note

        def note(self: Uploads, digest: str, location: str) -> None:
            real(self, digest, location)
            if len(pieces) == 3:
                raise Killed

        patch.setattr(Uploads, "note", note)
        with pytest.raises(Killed):
            client(mock).put_blob(sha256, data, uploads)
        pieces.append("killed")
        assert client(mock).put_blob(sha256, data, uploads) == 3000
    assert pieces == ["0-999", "1000-1999", "2000-2999", "killed", "3000-3999", "4000-4999"]
    assert mock.blobs[sha256] == data
    assert not files(folder)


@pytest.mark.parametrize("why", ["forgotten", "other bytes", "too long", "torn note"])
def test_an_upload_that_cannot_be_gone_on_with_begins_anew(tmp_path: Path, mock: MockRegistry, why: str) -> None:
    data = random.Random(9).randbytes(5000)
    sha256 = oci_layout.describe(data, "x/y").sha256
    known = Uploads(tmp_path, client(mock).name)
    known.note(sha256, "/v2/site/x/blobs/uploads/old")
    if why == "torn note":
        (tmp_path / files(tmp_path)[0]).write_bytes(b'{"loc')
    elif why != "forgotten":
        mock._uploads["/v2/site/x/blobs/uploads/old"] = bytes(1000 if why == "other bytes" else 9000)
    mock.checks_digests = True
    assert client(mock).put_blob(sha256, data, known) == 0
    assert mock.blobs[sha256] == data
    assert not files(tmp_path)


def test_what_nobody_comes_back_for_is_removed(tmp_path: Path) -> None:
    """Sizes in a manifest are anybody's: what they leave is bounded, in bytes and in days."""
    (tmp_path / "a").write_bytes(bytes(40))
    (tmp_path / "b.part").write_bytes(bytes(40))
    (tmp_path / "c.part").write_bytes(bytes(40))
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    now_s = 1_800_000_000.0
    for age_s, name in enumerate(("c.part", "b.part", "a")):
        os.utime(tmp_path / name, (now_s - age_s, now_s - age_s))
    os.utime(tmp_path / "link", (now_s - 10 * KEPT_S, now_s - 10 * KEPT_S), follow_symlinks=False)
    DownloadFolder(tmp_path, 100).tidy(now_s)
    assert files(tmp_path) == ["b.part", "c.part"]
    assert not (tmp_path / "link").is_symlink()
    DownloadFolder(tmp_path, 100).tidy(now_s + download_folder.KEPT_S)
    assert files(tmp_path) == ["c.part"]
    DownloadFolder(tmp_path, 100).tidy(now_s + download_folder.KEPT_S + 1)
    assert not files(tmp_path)
    known = Uploads(tmp_path, "x")
    known.note("0" * 64, "/x")
    known.tidy(now_s + 100 * KEPT_S)
    assert not files(tmp_path)


def test_leftovers_of_other_pulls_go_with_the_next_one(
    published: Published, made_trust: TrustFile, mock: MockRegistry, tmp_path: Path
) -> None:
    push(published, mock)
    site = Site(tmp_path / "other-site")
    downloads = site.cache_dir / "downloads"
    downloads.mkdir(parents=True)
    (downloads / f"{'0' * 64}.part").write_bytes(b"x")
    os.utime(downloads / f"{'0' * 64}.part", (0, 0))
    pull(site, mock, made_trust)
    assert not files(downloads)


def test_a_blob_for_which_there_is_no_room_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk:
        free = 100_000_000

    monkeypatch.setattr(download_folder.shutil, "disk_usage", lambda _path: Disk)
    folder = DownloadFolder(tmp_path, 10**10)
    folder.place("0" * 64, 1_000_000)
    with pytest.raises(StorageError, match="100000000 are free"):
        folder.place("1" * 64, 40_000_000)
