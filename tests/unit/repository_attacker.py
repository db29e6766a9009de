# SPDX-License-Identifier: Apache-2.0
"""Somebody who can change what a station is served, and may have stolen keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from repository_pair import Pair
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile

from assay.backends.repository.sources import FolderSource


class Attacker:
    """Works on the folder `folder`; `keys` is where stolen keys are."""

    def __init__(self, folder: Path, keys: Path) -> None:
        self.metadata, self._keys = folder / "metadata", keys

    def signer(self, name: str) -> CryptoSigner:
        data = (self._keys / f"{name}-UNSAFE-DEVELOPMENT.pem").read_bytes()
        return CryptoSigner(load_pem_private_key(data, None))  # type: ignore[arg-type]

    def newest(self, role: str) -> Path:
        if role == "timestamp":
            return self.metadata / "timestamp.json"
        found = self.metadata.glob(f"*.{role}.json")
        return max(found, key=lambda path: int(path.name.partition(".")[0]))

    def change(
        self, role: str, change: Callable[[Any], None], *keys: str, by: CryptoSigner | None = None, new: bool = True
    ) -> int:
        """A version of `role` that is `change`d, signed by stolen `keys`; the next one, or in place of the newest."""
        path = self.newest(role)
        metadata = Metadata[Any].from_bytes(path.read_bytes())
        metadata.signed.version += int(new)
        change(metadata.signed)
        metadata.signatures.clear()
        for signer in [*map(self.signer, keys), *([by] if by else [])]:
            metadata.sign(signer, append=True)
        version = int(metadata.signed.version)
        name = "timestamp.json" if role == "timestamp" else f"{version}.{role}.json"
        (self.metadata / name).write_bytes(metadata.to_bytes())
        return version

    def with_online_keys(self, change: Callable[[Any], None], version: int | None = None) -> None:
        """A snapshot that is `change`d and a time stamp for it, by the stolen online keys."""
        number = self.change("snapshot", change, "repository-snapshot")

        def stamp(signed: Any) -> None:
            signed.snapshot_meta = MetaFile(number)
            signed.version = version or signed.version

        self.change("timestamp", stamp, "repository-timestamp")


class EndlessSource(FolderSource):
    """A repository that never stops giving the file `path`."""

    def __init__(self, folder: Path, path: str) -> None:
        super().__init__(folder)
        self.endless, self.given = path, 0

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        if not path.endswith(self.endless):
            yield from super().read(path, offset)
            return
        yield from super().read(path, offset)
        while True:
            self.given += 65536
            yield bytes(65536)


class CutSource(FolderSource):
    """A link that breaks after `bytes_left` bytes of files below `blobs/`; `ranges`: whether it can go on."""

    def __init__(self, folder: Path, bytes_left: int, *, ranges: bool = True) -> None:
        super().__init__(folder)
        self.left, self.ranges, self.asked = bytes_left, ranges, list[int]()

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        from assay.errors import LinkError

        if "blobs/" not in path:
            yield from super().read(path, offset)
            return
        self.asked.append(offset)
        for chunk in super().read(path, offset if self.ranges else 0):
            yield chunk[: self.left]
            self.left -= len(chunk)
            if self.left < 0:
                raise LinkError("the link broke", remedy="again")

    def resumes(self) -> bool:
        return self.ranges


def bin_with(pair: Pair, target: str) -> str:
    """The name of the bin that lists `target`."""
    found = json.loads(Attacker(pair.folder, pair.owner.keys_dir).newest("targets").read_bytes())
    bits = found["signed"]["delegations"]["succinct_roles"]["bit_length"]
    import hashlib

    return f"releases-{int.from_bytes(hashlib.sha256(target.encode()).digest()[:4], 'big') >> (32 - bits):x}"
