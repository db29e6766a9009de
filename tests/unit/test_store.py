# SPDX-License-Identifier: Apache-2.0
"""The store: content-addressed, checked when read, whole after every crash, one image under one name."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import pytest

from assay.backends.stores.oci_layout import OciLayoutStore
from assay.errors import NotVerified, Refused, StorageError, UsageFault
from assay.interfaces.store import Store
from assay.model.artifact import Artifact, Release, SignedImage, SourceState

BUNDLES = {"https://slsa.dev/provenance/v1": b'{"bundle":1}', "https://cyclonedx.org/bom": b'{"bundle":2}'}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def release_of(image: bytes, version: str = "1.0.0", board: str = "ast1030-evb", name: str = "demo-sensor") -> Release:
    digest = sha256(b"payload")
    artifact = Artifact(
        module=name,
        kind="app",
        version=version,
        board=board,
        min_revision=1,
        security_counter=1,
        payload_sha256=digest,
        payload_size=7,
        files={"payload.bin": digest},
        sbom_sha256=digest,
        source=SourceState(digest=digest),
        tools=(),
        parameters={},
        builder="host",
        builds_compared=2,
        variations=(),
    )
    signed = SignedImage(
        file_sha256=sha256(image), image_hash=digest, size=len(image), payload_sha256=digest, keyid=digest
    )
    return Release(
        name=name,
        kind="app",
        version=version,
        board=board,
        min_revision=1,
        security_counter=1,
        image=signed,
        artifact=artifact,
        attestations={kind: sha256(data) for kind, data in BUNDLES.items()},
    )


def publish(store: Store, image: bytes, version: str = "1.0.0", board: str = "ast1030-evb") -> str:
    for data in (image, *BUNDLES.values()):
        store.put(data)
    return store.publish(release_of(image, version, board))


@pytest.fixture
def store(tmp_path: Path) -> OciLayoutStore:
    return OciLayoutStore(tmp_path / "store")


def test_what_was_published_is_found(store: OciLayoutStore) -> None:
    for version in ("1.9.0", "1.10.0", "1.2.0"):
        publish(store, version.encode(), version)
    publish(store, b"other board", "3.0.0", "rv32-virt")
    assert store.find("demo-sensor", "1.9.0", "ast1030-evb") == release_of(b"1.9.0", "1.9.0")
    assert store.find("demo-sensor", None, "ast1030-evb").version == "1.10.0"
    assert [release.version for release in store.releases()] == ["1.2.0", "1.9.0", "1.10.0", "3.0.0"]
    assert store.get(release_of(b"1.9.0", "1.9.0").image.file_sha256) == b"1.9.0"


def test_an_empty_store_says_so(store: OciLayoutStore) -> None:
    assert store.releases() == ()
    with pytest.raises(UsageFault, match="it is empty"):
        store.find("demo-sensor", None, "ast1030-evb")


def test_what_is_there_is_listed_when_something_else_was_asked_for(store: OciLayoutStore) -> None:
    publish(store, b"image")
    with pytest.raises(UsageFault, match=r"in the store: demo-sensor@1\.0\.0 for ast1030-evb"):
        store.find("demo-sensor", "2.0.0", "ast1030-evb")


def test_the_same_again_is_fine_and_another_image_is_refused(store: OciLayoutStore, tmp_path: Path) -> None:
    first = publish(store, b"image")
    index = (tmp_path / "store" / "index.json").read_bytes()
    assert publish(store, b"image") == first
    assert (tmp_path / "store" / "index.json").read_bytes() == index
    with pytest.raises(Refused, match="is published with another image"):
        publish(store, b"another image")
    assert publish(store, b"another image", "1.0.1") != first


def test_a_release_whose_parts_are_not_there_is_not_published(store: OciLayoutStore) -> None:
    with pytest.raises(StorageError, match="lacks the blob"):
        store.publish(release_of(b"image"))
    assert store.releases() == ()


def test_the_folder_is_an_oci_image_layout(store: OciLayoutStore, tmp_path: Path) -> None:
    digest = publish(store, b"image")
    root = tmp_path / "store"
    assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((root / "index.json").read_text())
    for descriptor in index["manifests"]:
        data = (root / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
        assert (len(data), "sha256:" + sha256(data)) == (descriptor["size"], descriptor["digest"])
        manifest = json.loads(data)
        assert manifest["mediaType"] == descriptor["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
        assert manifest["artifactType"] == descriptor["artifactType"]
        for part in (manifest["config"], *manifest["layers"]):
            blob = (root / "blobs" / "sha256" / part["digest"].removeprefix("sha256:")).read_bytes()
            assert (len(blob), "sha256:" + sha256(blob)) == (part["size"], part["digest"])
    referring = [json.loads(store.get(each["digest"][7:])) for each in index["manifests"][1:]]
    assert {each["subject"]["digest"] for each in referring} == {"sha256:" + digest}
    assert {each["annotations"]["dev.sigstore.bundle.predicateType"] for each in referring} == set(BUNDLES)


def test_every_changed_byte_of_every_file_is_noticed(store: OciLayoutStore, tmp_path: Path) -> None:
    publish(store, b"image")
    release = store.releases()[0]
    for path in sorted((tmp_path / "store" / "blobs" / "sha256").iterdir()):
        whole = path.read_bytes()
        for offset in range(len(whole)):
            path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
            with pytest.raises(NotVerified):
                store.get(path.name)
        path.write_bytes(whole)
    index = tmp_path / "store" / "index.json"
    whole = index.read_bytes()
    for offset in range(len(whole)):
        index.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        try:
            assert all(found == release for found in store.releases())
        except (NotVerified, StorageError):
            continue


def test_a_blob_that_was_damaged_is_mended_by_putting_it_again(store: OciLayoutStore, tmp_path: Path) -> None:
    digest = store.put(b"image")
    (tmp_path / "store" / "blobs" / "sha256" / digest).write_bytes(b"imagx")
    with pytest.raises(NotVerified, match="was changed"):
        store.get(digest)
    store.put(b"image")
    assert store.get(digest) == b"image"


@pytest.mark.parametrize("linked", ["blob", "sha256", "blobs", "index.json"])
def test_links_in_the_store_are_refused(store: OciLayoutStore, tmp_path: Path, linked: str) -> None:
    publish(store, b"image")
    root = tmp_path / "store"
    digest = sha256(b"image")
    path = {
        "blob": root / "blobs" / "sha256" / digest,
        "sha256": root / "blobs" / "sha256",
        "blobs": root / "blobs",
        "index.json": root / "index.json",
    }[linked]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotVerified, match="symbolic link"):
        if linked == "index.json":
            store.releases()
        else:
            store.get(digest)


def test_an_index_that_gives_a_release_another_name_is_refused(store: OciLayoutStore, tmp_path: Path) -> None:
    publish(store, b"image")
    index = tmp_path / "store" / "index.json"
    index.write_text(index.read_text().replace(":1.0.0", ":9.0.0"))
    with pytest.raises(NotVerified, match=r"gives demo-sensor@1\.0\.0 another name"):
        store.releases()


def test_the_name_behind_the_colon_is_a_tag_that_a_registry_takes(store: OciLayoutStore, tmp_path: Path) -> None:
    """OCI distribution specification 1.1, section "Pulling manifests": no `+` in a tag."""
    publish(store, b"image", "1.0.0+12")
    index = json.loads((tmp_path / "store" / "index.json").read_text())
    name = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
    assert name == "ast1030-evb/demo-sensor:1.0.0_12"
    assert re.fullmatch(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", name.partition(":")[2])
    assert [each.version for each in store.releases()] == ["1.0.0+12"]


def test_a_store_with_names_from_before_is_read_and_goes_on(store: OciLayoutStore, tmp_path: Path) -> None:
    publish(store, b"image", "1.0.0+12")
    path = tmp_path / "store" / "index.json"
    path.write_text(path.read_text().replace(":1.0.0_12", ":1.0.0+12"))
    old = path.read_text()
    assert store.find("demo-sensor", "1.0.0+12", "ast1030-evb").version == "1.0.0+12"
    publish(store, b"image", "1.0.0+12")
    assert path.read_text() == old, "the same release is there already"
    with pytest.raises(Refused):
        publish(store, b"another image", "1.0.0+12")


def test_a_release_that_is_not_whole_is_named(store: OciLayoutStore, tmp_path: Path) -> None:
    publish(store, b"image")
    row = json.loads((tmp_path / "store" / "index.json").read_text())["manifests"][0]
    (tmp_path / "store" / "blobs" / "sha256" / row["digest"][7:]).unlink()
    with pytest.raises(StorageError, match=r"demo-sensor:1\.0\.0 is not whole: the store lacks"):
        store.releases()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written"):
        OciLayoutStore(tmp_path / "store").put(b"x")


def test_a_store_whose_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("x")
    with pytest.raises(StorageError, match="cannot be"):
        OciLayoutStore(tmp_path / "store").put(b"x")


def _publish_many(root: Path, first: int, count: int) -> None:
    store = OciLayoutStore(root)
    for number in range(first, first + count):
        publish(store, f"image {number % 12}".encode(), f"1.0.{number % 12}")


def test_publishers_at_once_lose_nothing(store: OciLayoutStore, tmp_path: Path) -> None:
    workers = [
        multiprocessing.get_context("fork").Process(target=_publish_many, args=(tmp_path / "store", first, 8))
        for first in (0, 3, 6, 9)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(250)
        assert worker.exitcode == 0
    assert [release.version for release in store.releases()] == [f"1.0.{number}" for number in range(12)]


def test_killed_at_any_moment_the_store_is_whole(store: OciLayoutStore, tmp_path: Path) -> None:
    root = tmp_path / "store"
    complete = attempt = 0
    while attempt < 25 or (complete == 0 and attempt < 500):
        attempt += 1
        worker = multiprocessing.get_context("fork").Process(target=_publish_many, args=(root, attempt, 40))
        worker.start()
        time.sleep(0.002 * attempt)
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        for release in store.releases():
            assert store.get(release.image.file_sha256) == f"image {release.version.rpartition('.')[2]}".encode()
            complete += 1
    assert complete > 0
    publish(store, b"image 0", "1.0.0")
    assert not [path for path in root.rglob("*") if "tmp" in path.name]
    assert publish(store, b"image 0", "1.0.0")
