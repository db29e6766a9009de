# SPDX-License-Identifier: Apache-2.0
"""Rows about repositories: the bytes that a client which knows nothing but the root reads for the signed directive of
one unit, out of 10,000, 100,000 and 1,000,000.

A directive is a signed target whose `custom` says it all. A snapshot lists every bin, so in one repository both grow
with the square root of the units; in shards, which are repositories under one root, they do not grow (no verb makes
shards yet). Real metadata, read by the client of `assay fetch`; of the bins only the one that is read is written.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from measuring import row
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from assay.backends.repository.sources import FolderSource
from assay.backends.repository.tuf_client import TufClient

UNITS = (10_000, 100_000, 1_000_000)
SHARD_UNITS = 256
BYTES_OF_A_DIRECTIVE, BYTES_OF_A_BIN = 250, 31
"""Bytes of a directive in its bin, and of a bin in the snapshot: what the number of bins is chosen by."""


class _Counting(FolderSource):
    count = files = 0

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        self.files += 1
        for chunk in super().read(path, offset):
            self.count += len(chunk)
            yield chunk


def cold_client(_rounds: int = 1) -> None:
    """Row: one repository, against shards of 256 units."""
    for units in UNITS:
        bits = max(1, round((units * BYTES_OF_A_DIRECTIVE / BYTES_OF_A_BIN) ** 0.5).bit_length() - 1)
        alone, files = _read(units, bits)
        shard, _ = _read(SHARD_UNITS, 4)
        words = f"{shard / 1024:.1f} KiB in shards of {SHARD_UNITS}"
        what = f"cold client, 1 of {units:,} units, {2**bits} bins, {files} files"
        row(what, f"{alone / 1024:.1f} KiB", words, alone / shard)


def _read(units: int, bits: int) -> tuple[int, int]:
    """Bytes and files that a cold client reads for the last unit."""
    with tempfile.TemporaryDirectory(prefix="assay-bench-tuf-") as name:
        folder, unit = Path(name) / "repository", f"units/SN-{units - 1:07}.json"
        root = _write(folder, units, bits, unit)
        source = _Counting(folder)
        client = TufClient(Path(name) / "cache", Path(name) / "floor", source)
        client.refresh(root, datetime.now(UTC))
        target = client.target(unit)
        assert target is not None and target.custom["release"] == "demo-sensor@1.2.0+1"
        return source.count, source.files


def _write(folder: Path, units: int, bits: int, unit: str) -> bytes:
    signer, expires = CryptoSigner.generate_ed25519(), datetime.now(UTC).replace(microsecond=0) + timedelta(days=7)
    key = signer.public_key
    roles = SuccinctRoles([key.keyid], 1, bits, "units")
    targets = Targets(expires=expires, delegations=Delegations({key.keyid: key}, succinct_roles=roles))
    wanted = roles.get_role_for_target(unit)
    names = (f"units/SN-{number:07}.json" for number in range(units))
    listed = {each: _directive(each) for each in names if roles.get_role_for_target(each) == wanted}
    meta = {f"{each}.json": MetaFile(1) for each in roles.get_roles()} | {"targets.json": MetaFile(1)}
    root = Root(expires=expires)
    for role in ("root", "targets", "snapshot", "timestamp"):
        root.add_key(key, role)
    made = {
        "1.root": root,
        "1.targets": targets,
        f"1.{wanted}": Targets(expires=expires, targets=listed),
        "1.snapshot": Snapshot(expires=expires, meta=meta),
        "timestamp": Timestamp(expires=expires, snapshot_meta=MetaFile(1)),
    }
    (folder / "metadata").mkdir(parents=True)
    for name, signed in made.items():
        metadata = Metadata(signed)
        metadata.sign(signer)
        (folder / "metadata" / f"{name}.json").write_bytes(metadata.to_bytes(JSONSerializer(compact=True)))
    return (folder / "metadata" / "1.root.json").read_bytes()


def _directive(name: str) -> TargetFile:
    digest = hashlib.sha256(name.encode()).hexdigest()
    custom = {"release": "demo-sensor@1.2.0+1", "not_before": "2026-12-01T00:00:00Z", "counter": 7}
    return TargetFile(0, {"sha256": digest}, name, {"custom": custom})
