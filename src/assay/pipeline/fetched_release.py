# SPDX-License-Identifier: Apache-2.0
"""A release that came from elsewhere, whole and in memory: held to the gate before the store gets any of it.

Guards: nothing is kept unless all of it verifies. Leaves to others: where it came from (`repository_fetch`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assay.errors import NotVerified, StorageError, UsageFault
from assay.model.artifact import Release, VerifiedImage
from assay.model.board import Board
from assay.model.statement import PredicateType
from assay.model.trust import TrustFile
from assay.pipeline.patch_gate import verify_patch_parts
from assay.pipeline.release_gate import goes_by_summary, verify_release

if TYPE_CHECKING:
    from assay.interfaces.store import Store


@dataclass
class FetchedRelease:
    """Implements the reading part of `interfaces.store.Store` for one release. `attachments` by predicate type;
    `tombstones` are what the store that it is for knows.
    """

    release: Release
    blobs: Mapping[str, bytes]
    attachments: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    tombstones: tuple[bytes, ...] = ()

    def verify(self, trust: TrustFile, board: Board) -> VerifiedImage:
        """Raises `NotVerified`, `WrongBoard` or `Refused` when a unit would not be given it."""
        release = self.release
        image = verify_release(self, trust, release.name, release.version, board)  # type: ignore[arg-type]
        if not goes_by_summary(trust):
            for patch in release.patches:
                data, statement = self.get(patch.file_sha256), self.get(patch.statement)
                verify_patch_parts(release, patch, data, statement, trust)
        return image

    def keep(self, store: Store) -> str:
        """Into `store`, durably; answers the digest of the manifest. Twice is fine."""
        for digest in _needed(self.release):
            store.put(self.get(digest))
        manifest = store.publish(self.release)
        for kind, bundles in self.attachments.items():
            for bundle in bundles:
                store.attach(self.release, kind, bundle)
        return manifest

    def get(self, sha256: str) -> bytes:
        """The bytes with that digest."""
        data = self.blobs.get(sha256)
        if data is None:
            raise StorageError(f"{self.release.reference} came without the file {sha256}", remedy="fetch it again")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise NotVerified(f"the file {sha256} of {self.release.reference} was changed", remedy="fetch it again")
        return data

    def find(self, name: str, version: str | None, board: str) -> Release:
        """The release, if it is the one."""
        release = self.release
        if (release.name, release.board) != (name, board) or version not in (None, release.version):
            raise UsageFault(f"{name} for {board} did not come", remedy="fetch it")
        return release

    def releases(self) -> tuple[Release, ...]:
        """The release."""
        return (self.release,)

    def attached(self, release: Release, kind: str) -> tuple[bytes, ...]:
        """The statements of the type `kind` that came with it."""
        return self.attachments.get(kind, ()) if release == self.release else ()

    def withdrawals(self) -> tuple[bytes, ...]:
        """What the store knows that it is for."""
        return self.tombstones


ATTACHED = (PredicateType.SUMMARY.value, PredicateType.TEST_RESULT.value)
"""Statements that come beside a release, and are no part of it."""


def _needed(release: Release) -> Iterable[str]:
    yield release.image.file_sha256
    yield from release.attestations.values()
    for patch in release.patches:
        yield from (patch.file_sha256, patch.statement)
    if release.rauc is not None:
        yield release.rauc.file_sha256
