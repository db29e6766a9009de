# SPDX-License-Identifier: Apache-2.0
"""A TUF repository of releases: its keys and expiry (`repository.json` of a site), and the documents in it.

Guards: what is read back is closed to unknown keys. Leaves to others: TUF metadata (python-tuf), what a document names
(`backends.repository`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from assay.model.identifiers import FileSha256, ImageHash, Name, VersionText
from assay.model.value import Value


class RepositoryRole(StrEnum):
    """Who signs what in a repository. `releases` signs the hash bins that releases are listed in."""

    ROOT = "root"
    TARGETS = "targets"
    RELEASES = "releases"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"


RoleName = Annotated[RepositoryRole, Field(strict=False)]

ONLINE = (RepositoryRole.SNAPSHOT, RepositoryRole.TIMESTAMP)
"""Roles whose keys lie where the repository is kept fresh; the keys of the others are fetched for a publication."""

BINS = "releases"
"""Prefix of the names of the bins: `releases-0` to `releases-f`."""

EXPIRY_DAYS: dict[RepositoryRole, int] = {
    RepositoryRole.ROOT: 730,
    RepositoryRole.TARGETS: 365,
    RepositoryRole.RELEASES: 365,
    RepositoryRole.SNAPSHOT: 30,
    RepositoryRole.TIMESTAMP: 7,
}
"""Days that metadata is good for, by default (docs/explanation/releases says why)."""

EXPIRY_DAYS_MAX = 3650


class RepositoryKey(Value):
    """Where the private key is that belongs to a key of the repository, and which role it was given for."""

    uri: str
    public: str
    name: str
    role: RoleName
    development: bool = False


class RepositorySettings(Value):
    """`repository.json` of a site: the folder that is served, and the keys that this site can reach."""

    schema_: Literal["assay.repository/1"] = Field(default="assay.repository/1", alias="schema")
    folder: str
    keys: tuple[RepositoryKey, ...]
    expiry_days: dict[RoleName, Annotated[int, Field(gt=0, le=EXPIRY_DAYS_MAX)]] = Field(default={})

    def days(self, role: RepositoryRole) -> int:
        """How long metadata of `role` is good for."""
        return self.expiry_days.get(role, EXPIRY_DAYS[role])


class FilePart(Value):
    """A file of a release, at `targets/blobs/SHA256` of a repository. `kind`: a layer, or a predicate type."""

    sha256: FileSha256
    length: int = Field(ge=0)
    kind: Annotated[str, Field(min_length=1, max_length=200)]


class ReleaseTarget(Value):
    """What the signed target of a release says beside length and hash of its document (TUF: `custom`)."""

    schema_: Literal["assay.target/1"] = Field(default="assay.target/1", alias="schema")
    hardware_ids: tuple[Name, ...] = Field(min_length=1)
    min_revision: int
    release_counter: int = Field(ge=0)
    image_sha256: FileSha256
    image_hash: ImageHash
    provenance_sha256: FileSha256
    tests_sha256: tuple[FileSha256, ...] = ()
    files: tuple[FilePart, ...] = Field(min_length=1)


class ReleaseList(Value):
    """`BOARD/NAME/releases.json`: the versions of a module for a board that the repository has."""

    schema_: Literal["assay.releases/1"] = Field(default="assay.releases/1", alias="schema")
    board: Name
    name: Name
    versions: tuple[VersionText, ...]


class WithdrawalList(Value):
    """`withdrawn.json`: the signed statements that withdraw releases."""

    schema_: Literal["assay.withdrawn/1"] = Field(default="assay.withdrawn/1", alias="schema")
    statements: tuple[FilePart, ...] = ()
