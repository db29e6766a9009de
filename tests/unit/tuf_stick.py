# SPDX-License-Identifier: Apache-2.0
"""A TUF repository in a folder, as somebody who runs a Sigstore instance would give it away on a stick."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

YEAR = timedelta(days=365)


class TufStick:
    """The repository's owner: makes version after version in a folder."""

    def __init__(self) -> None:
        self.signer = CryptoSigner.generate_ecdsa()
        self.version = 0
        expires = datetime.now(UTC).replace(microsecond=0) + YEAR
        self.root = Metadata(Root(expires=expires))
        for role in ("root", "targets", "snapshot", "timestamp"):
            self.root.signed.add_key(self.signer.public_key, role)
        self.root.sign(self.signer)

    def write(self, folder: Path, trusted_root: bytes, lasts: timedelta = YEAR) -> Path:
        """The next version, with `trusted_root` in it."""
        self.version += 1
        expires = datetime.now(UTC).replace(microsecond=0) + lasts
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "targets").mkdir(parents=True)
        target = TargetFile.from_data("trusted_root.json", trusted_root, ["sha256"])
        targets = Metadata(Targets(self.version, expires=expires, targets={"trusted_root.json": target}))
        snapshot = Metadata(Snapshot(self.version, expires=expires))
        snapshot.signed.meta["targets.json"] = MetaFile(self.version)
        timestamp = Metadata(Timestamp(self.version, expires=expires, snapshot_meta=MetaFile(self.version)))
        names = {f"{self.version}.targets.json": targets, f"{self.version}.snapshot.json": snapshot}
        for name, metadata in {**names, "timestamp.json": timestamp, "1.root.json": self.root}.items():
            metadata.sign(self.signer)
            metadata.to_file(str(folder / name))
        (folder / "targets" / f"{target.hashes['sha256']}.trusted_root.json").write_bytes(trusted_root)
        return folder
