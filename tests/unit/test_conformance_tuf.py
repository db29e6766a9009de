# SPDX-License-Identifier: Apache-2.0
"""The contract of the public conformance suite for TUF clients, as `python -m assay.conformance.tuf` keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from file_server import FileServer
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from assay.conformance.tuf import main

TOP = ("root", "timestamp", "snapshot", "targets")


class Simulated:
    """Any TUF repository, not one of assay: one key for all, other hashes, other names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signer = CryptoSigner.generate_ecdsa()
        self.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        self.root = Root(expires=self.expires)
        for role in TOP:
            self.root.add_key(self.signer.public_key, role)
        self.timestamp, self.snapshot = Timestamp(expires=self.expires), Snapshot(expires=self.expires)
        self.targets = Targets(expires=self.expires)
        self.delegated: dict[str, Targets] = {}
        (folder / "metadata").mkdir(parents=True)
        (folder / "targets").mkdir()
        self.put("1.root.json", self.root)

    def put(self, name: str, signed: Any, *, by: CryptoSigner | None = None) -> None:
        metadata = Metadata(signed)
        metadata.sign(by or self.signer)
        metadata.to_file(str(self.folder / "metadata" / name))

    def publish(self) -> None:
        """All of it, each with its version."""
        self.snapshot.meta = {"targets.json": MetaFile(self.targets.version)}
        for name, signed in self.delegated.items():
            self.snapshot.meta[f"{name}.json"] = MetaFile(signed.version)
            from urllib.parse import quote

            self.put(f"{signed.version}.{quote(name, '')}.json", signed)
        self.put(f"{self.targets.version}.targets.json", self.targets)
        self.put(f"{self.snapshot.version}.snapshot.json", self.snapshot)
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        self.put("timestamp.json", self.timestamp)

    def next(self) -> None:
        self.snapshot.version += 1
        self.timestamp.version += 1
        self.publish()

    def artifact(self, name: str, data: bytes, algorithm: str = "sha256") -> None:
        target = TargetFile.from_data(name, data, [algorithm])
        self.targets.targets[name] = target
        folder, _, last = name.rpartition("/")
        (self.folder / "targets" / folder).mkdir(parents=True, exist_ok=True)
        (self.folder / "targets" / folder / f"{target.hashes[algorithm]}.{last}").write_bytes(data)


class Client:
    """The client under test, as the suite runs it."""

    def __init__(self, server: FileServer, folder: Path) -> None:
        self.server, self.metadata, self.targets = server, folder / "metadata", folder / "targets"
        self.metadata.mkdir()
        self.targets.mkdir()

    def init(self, root: Path) -> int:
        return main(["--metadata-dir", str(self.metadata), "init", str(root)])

    def refresh(self) -> int:
        return main(["--metadata-dir", str(self.metadata), "--metadata-url", f"{self.server.url}/metadata", "refresh"])

    def download(self, *names: str) -> int:
        words = ["--metadata-url", f"{self.server.url}/metadata", "--metadata-dir", str(self.metadata)]
        for name in names:
            words += ["--target-name", name]
        words += ["--target-dir", str(self.targets), "--target-base-url", f"{self.server.url}/targets", "download"]
        return main(words)

    def versions(self) -> dict[str, int]:
        files = sorted(self.metadata.glob("*.json"))
        return {file.stem: json.loads(file.read_bytes())["signed"]["version"] for file in files}

    def asked(self) -> list[str]:
        found, self.server.asked = [path.split("/")[-1] for path in self.server.asked], []
        return found


@pytest.fixture
def repository(tmp_path: Path) -> Simulated:
    found = Simulated(tmp_path / "repository")
    found.publish()
    return found


@pytest.fixture
def client(repository: Simulated, tmp_path: Path) -> Iterator[Client]:
    with FileServer(repository.folder).running() as server:
        made = Client(server, tmp_path)
        assert made.init(repository.folder / "metadata" / "1.root.json") == 0
        assert made.asked() == []
        yield made


def test_refresh_asks_in_the_order_of_the_workflow(client: Client) -> None:
    assert client.refresh() == 0
    assert client.asked() == ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]
    assert client.versions() == dict.fromkeys(TOP, 1)
    assert client.refresh() == 0
    assert client.asked() == ["2.root.json", "timestamp.json"]


def test_an_initial_root_that_is_none_leads_to_no_request(client: Client, repository: Simulated) -> None:
    path = repository.folder / "metadata" / "1.root.json"
    document = json.loads(path.read_bytes())
    document["signatures"][0]["sig"] = "00" * 70
    (client.metadata / "root.json").write_text(json.dumps(document))
    assert client.refresh() == 1
    assert client.asked() == []


def test_a_download_refreshes_first(client: Client, repository: Simulated) -> None:
    assert client.download("nothing") == 1
    assert client.versions() == dict.fromkeys(TOP, 1)
    for name, algorithm in (("a/b/c.txt", "sha256"), ("d.txt", "sha512")):
        repository.artifact(name, name.encode(), algorithm)
    repository.targets.version += 1
    repository.next()
    assert client.download("a/b/c.txt", "d.txt") == 0
    assert sorted(path.read_bytes() for path in client.targets.iterdir()) == [b"a/b/c.txt", b"d.txt"]


def test_a_repository_without_consistent_snapshots(client: Client, repository: Simulated) -> None:
    """Nothing but roots has its version in its name then, and no target its digest."""
    repository.artifact("a/b.txt", b"plain")
    repository.root.consistent_snapshot, repository.root.version = False, 2
    repository.put("2.root.json", repository.root)
    repository.publish()
    for role in ("snapshot", "targets"):
        (repository.folder / "metadata" / f"1.{role}.json").rename(repository.folder / "metadata" / f"{role}.json")
    folder = repository.folder / "targets" / "a"
    next(folder.iterdir()).rename(folder / "b.txt")
    assert client.download("a/b.txt") == 0
    expected = ["2.root.json", "3.root.json", "timestamp.json", "snapshot.json", "targets.json", "b.txt"]
    assert client.asked() == expected
    assert [path.read_bytes() for path in client.targets.iterdir()] == [b"plain"]


def test_what_is_there_is_not_fetched_again(client: Client, repository: Simulated) -> None:
    repository.artifact("one", b"first")
    repository.targets.version += 1
    repository.next()
    assert client.download("one") == 0
    client.asked()
    assert client.download("one") == 0
    assert client.asked() == ["2.root.json", "timestamp.json"]
    repository.artifact("one", b"second")
    repository.targets.version += 1
    repository.next()
    assert client.download("one") == 0
    assert [path.read_bytes() for path in client.targets.iterdir()] == [b"second"]


def test_it_stops_at_the_first_failure_and_keeps_no_wrong_bytes(client: Client, repository: Simulated) -> None:
    for name in ("one", "two", "three"):
        repository.artifact(name, name.encode())
    repository.targets.version += 1
    repository.next()
    wrong = repository.targets.targets["two"].hashes["sha256"]
    (repository.folder / "targets" / f"{wrong}.two").write_bytes(b"owt")
    assert client.download("one", "two", "three") == 1
    assert [path.read_bytes() for path in client.targets.iterdir()] == [b"one"]


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_rollback(client: Client, repository: Simulated, role: str) -> None:
    repository.targets.version = 2
    repository.next()
    assert client.refresh() == 0
    getattr(repository, role).version -= 1
    if role == "targets":
        repository.next()
    elif role == "snapshot":
        repository.timestamp.version += 1
        repository.publish()
    else:
        repository.publish()
    assert client.refresh() == 1
    assert client.versions()[role] == 2


def test_keys_that_were_rotated_end_a_fast_forward(client: Client, repository: Simulated) -> None:
    repository.snapshot.version = repository.timestamp.version = 999_999
    repository.publish()
    assert client.refresh() == 0
    other = CryptoSigner.generate_ed25519()
    for role in ("timestamp", "snapshot"):
        repository.root.roles[role].keyids = []
        repository.root.add_key(other.public_key, role)
    repository.root.version = 2
    repository.put("2.root.json", repository.root)
    repository.snapshot.version = repository.timestamp.version = 1
    repository.timestamp.snapshot_meta = MetaFile(1)
    repository.put("1.snapshot.json", repository.snapshot, by=other)
    repository.put("timestamp.json", repository.timestamp, by=other)
    assert client.refresh() == 0
    assert client.versions() == {"root": 2, "timestamp": 1, "snapshot": 1, "targets": 1}


@pytest.mark.parametrize("role", ["?", "#", "/delegated", "../delegated"])
def test_role_names_that_need_quotes(client: Client, repository: Simulated, role: str) -> None:
    key = repository.signer.public_key
    roles = {role: DelegatedRole(role, [key.keyid], 1, False, ["*"])}
    repository.targets.delegations = Delegations({key.keyid: key}, roles)
    repository.delegated[role] = Targets(expires=repository.expires)
    repository.targets.version += 1
    repository.next()
    assert client.download("nothing") == 1
    from urllib.parse import quote

    assert client.asked()[-1] == f"1.{quote(role, '')}.json"
    assert len(client.versions()) == 5
    assert len(list(client.metadata.parent.rglob("*delegated*"))) <= 2  # below the repository and in the folder


def test_an_expired_repository(client: Client, repository: Simulated) -> None:
    repository.timestamp.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    repository.next()
    assert client.refresh() == 1


def test_the_cache_is_emptied_and_the_floor_holds(client: Client, repository: Simulated) -> None:
    old = (repository.folder / "metadata" / "timestamp.json").read_bytes()
    repository.next()
    assert client.refresh() == 0
    for path in client.metadata.glob("*.json"):
        if path.name != "root.json":
            path.write_bytes(b"")
    (repository.folder / "metadata" / "timestamp.json").write_bytes(old)
    assert client.refresh() == 1


def test_custom_fields_are_signed_too(client: Client, repository: Simulated) -> None:
    assert client.refresh() == 0
    repository.root.unrecognized_fields["custom"] = {"a": 1}
    repository.root.version = 2
    repository.put("2.root.json", repository.root)
    assert client.refresh() == 0
    assert client.versions()["root"] == 2
