# SPDX-License-Identifier: Apache-2.0
"""What may be asked of a store of releases. What it gives is checked against its digest, and still not trusted."""

from __future__ import annotations

from typing import Protocol

from assay.model.artifact import Release


class Store(Protocol):
    """A content-addressed store.

    Raises `StorageError` when it cannot be read or written, `NotVerified` for wrong bytes.
    """

    def put(self, data: bytes) -> str:
        """Keep `data`, durably; answers its SHA-256 in hex."""
        ...

    def get(self, sha256: str) -> bytes:
        """The bytes with that digest."""
        ...

    def publish(self, release: Release) -> str:
        """Publish durably; the same release again is fine, another one under the same name and version is `Refused`.

        Answers the digest of the release's manifest.
        """
        ...

    def find(self, name: str, version: str | None, board: str) -> Release:
        """The release; without `version` the highest one. `UsageFault` lists what is there when there is none."""
        ...

    def attach(self, release: Release, kind: str, bundle: bytes) -> None:
        """Keep a statement of the predicate type `kind` beside a published release, durably; twice is fine."""
        ...

    def attached(self, release: Release, kind: str) -> tuple[bytes, ...]:
        """The statements of the type `kind` that lie beside the release, the oldest first."""
        ...

    def releases(self) -> tuple[Release, ...]:
        """All releases, by name, version and board."""
        ...

    def withdraw(self, manifest: tuple[str, int], bundle: bytes) -> None:
        """Keep a statement that withdraws the release with the manifest `(digest, size)`, durably; also of a release
        that is not here. Twice is fine.
        """
        ...

    def withdrawals(self) -> tuple[bytes, ...]:
        """The statements that withdraw releases, the oldest first."""
        ...
