# SPDX-License-Identifier: Apache-2.0
"""Any TUF repository, not one of assay, and the client under test as the public conformance suite runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

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


def days(number: int) -> datetime:
    """So many days from now."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=number)


class Simulated:
    """A repository in `folder`. One key for all, until `by` names others for a role; `hashes`: whether the time stamp
    and the snapshot say digests and lengths, too. What is changed counts when it is published.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.hashes = folder, False
        self.signer = CryptoSigner.generate_ecdsa()
        self.by: dict[str, list[CryptoSigner]] = {}
        self.expires = days(30)
        self.root = Root(expires=self.expires)
        for role in TOP:
            self.root.add_key(self.signer.public_key, role)
        self.timestamp, self.snapshot = Timestamp(expires=self.expires), Snapshot(expires=self.expires)
        self.targets = Targets(expires=self.expires)
        self.delegated: dict[str, Targets] = {}
        (folder / "metadata").mkdir(parents=True)
        (folder / "targets").mkdir()
        self.put("1.root.json", self.root)

    def put(self, name: str, signed: Any, *, by: Sequence[CryptoSigner] = ()) -> bytes:
        """The file of a role, signed by its keys or those in `by`."""
        metadata = Metadata(signed)
        role = name.removesuffix(".json").rpartition(".")[2]
        for signer in by or self.by.get(role, [self.signer]):
            metadata.sign(signer, append=True)
        (self.folder / "metadata" / name).write_bytes(data := metadata.to_bytes())
        return data

    def publish(self) -> None:
        """All of it but the root, as it is."""
        self.snapshot.meta = {}
        for name, signed in self.delegated.items():
            self.snapshot.meta[f"{name}.json"] = self._file(f"{signed.version}.{quote(name, '')}.json", signed)
        self.snapshot.meta["targets.json"] = self._file(f"{self.targets.version}.targets.json", self.targets)
        self.timestamp.snapshot_meta = self._file(f"{self.snapshot.version}.snapshot.json", self.snapshot)
        self.put("timestamp.json", self.timestamp)

    def next(self) -> None:
        """As `publish`, under a new snapshot and a new time stamp."""
        self.snapshot.version += 1
        self.timestamp.version += 1
        self.publish()

    def next_root(self) -> None:
        """A new version of the root."""
        self.root.version += 1
        self.put(f"{self.root.version}.root.json", self.root)

    def only_key(self, role: str, *signers: CryptoSigner, threshold: int = 1) -> None:
        """Those keys, and no others, are the role's; the next root says so."""
        for keyid in [*self.root.roles[role].keyids]:
            self.root.revoke_key(keyid, role)
        for signer in signers:
            self.root.add_key(signer.public_key, role)
        self.root.roles[role].threshold = threshold
        self.by[role] = [*signers]

    def delegate(self, parent: str, name: str, paths: Sequence[str] = ("*",), *, terminating: bool = False) -> Targets:
        """`parent` delegates `paths` to the role `name`, which is new or was delegated by another one before."""
        above = self.targets if parent == "targets" else self.delegated[parent]
        key = self.signer.public_key
        above.delegations = above.delegations or Delegations({key.keyid: key}, {})
        assert above.delegations.roles is not None
        above.delegations.roles[name] = DelegatedRole(name, [key.keyid], 1, terminating, [*paths])
        return self.delegated.setdefault(name, Targets(expires=self.expires))

    def artifact(self, name: str, data: bytes, algorithm: str = "sha256", role: str = "targets") -> None:
        """A file that `role` lists."""
        target = TargetFile.from_data(name, data, [algorithm])
        (self.targets if role == "targets" else self.delegated[role]).targets[name] = target
        self.serve(target, data)

    def serve(self, target: TargetFile, data: bytes) -> None:
        """Give `data` where that target is asked for."""
        folder, _, last = target.path.rpartition("/")
        (self.folder / "targets" / folder).mkdir(parents=True, exist_ok=True)
        digest = next(iter(target.hashes.values()))
        (self.folder / "targets" / folder / f"{digest}.{last}").write_bytes(data)

    def _file(self, name: str, signed: Any) -> MetaFile:
        data = self.put(name, signed)
        return MetaFile.from_data(signed.version, data, ["sha256"]) if self.hashes else MetaFile(signed.version)


class Client:
    """The client under test; `later`: in so many days, as a process of its own below faketime."""

    def __init__(self, server: FileServer, folder: Path) -> None:
        self.server, self.metadata, self.targets = server, folder / "metadata", folder / "targets"
        self.metadata.mkdir()
        self.targets.mkdir()

    def init(self, root: Path) -> int:
        return self._run("init", str(root))

    def refresh(self, later: int = 0) -> int:
        return self._run("--metadata-url", f"{self.server.url}/metadata", "refresh", later=later)

    def download(self, *names: str, later: int = 0) -> int:
        named = [word for name in names for word in ("--target-name", name)]
        where = ["--target-dir", str(self.targets), "--target-base-url", f"{self.server.url}/targets"]
        return self._run("--metadata-url", f"{self.server.url}/metadata", *named, *where, "download", later=later)

    def _run(self, *words: str, later: int = 0) -> int:
        line = ["--metadata-dir", str(self.metadata), *words]
        if not later:
            return main(line)
        command = ["faketime", "-f", f"+{later}d", sys.executable, "-m", "assay.conformance.tuf", *line]
        return subprocess.run(command, env={**os.environ, "FAKETIME_NO_CACHE": "1"}, check=False).returncode

    def versions(self) -> dict[str, int]:
        """Of the metadata that the client trusts."""
        files = sorted(self.metadata.glob("*.json"))
        return {file.stem: json.loads(file.read_bytes())["signed"]["version"] for file in files}

    def asked(self) -> list[str]:
        """What it has asked the server for, since the last time."""
        found, self.server.asked = [path.split("/")[-1] for path in self.server.asked], []
        return found

    def got(self) -> list[bytes]:
        """The files that it downloaded, in the order of their bytes: two may have one time."""
        return sorted(path.read_bytes() for path in self.targets.rglob("*") if path.is_file())


@pytest.fixture
def simulated(tmp_path: Path) -> Simulated:
    found = Simulated(tmp_path / "repository")
    found.publish()
    return found


@pytest.fixture
def tuf_client(simulated: Simulated, tmp_path: Path) -> Iterator[Client]:
    """It trusts the first root, and has asked for nothing."""
    with FileServer(simulated.folder).running() as server:
        made = Client(server, tmp_path)
        assert made.init(simulated.folder / "metadata" / "1.root.json") == 0
        assert made.asked() == []
        yield made
