# SPDX-License-Identifier: Apache-2.0
"""What the stages from build to registry hand on: artifact, signed image, release, verified image.

`file_sha256` is the digest of a file, `image_hash` the hash inside an MCUboot image; they never share a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from assay.model.build_recipe import PAYLOAD
from assay.model.contract import Contract, Dependency, Interfaces
from assay.model.identifiers import FileSha256, ImageHash, ModuleKind, Name, VersionText
from assay.model.module import UpdatePolicy
from assay.model.trust import Check, TrustedSigner
from assay.model.value import Value


class SourceState(Value):
    """Where the sources came from: git commit (None outside git), whether files differ from it, digest of the inputs.

    `digest` is the SHA-256 over the sorted list of declared input files (path, mode, SHA-256).
    """

    repository: str | None = None
    commit: str | None = None
    dirty: bool = False
    digest: FileSha256


class ToolIdentity(Value):
    """One tool of the toolchain: name, version, digest of its package or file tree."""

    name: str
    version: str
    sha256: FileSha256


class Artifact(Value):
    """The result of a build: the payload that two builds agreed on, and how it was built.

    `parameters` are the external parameters (board, version, defines, declared public keys); values are plain JSON.
    `update`, `dependencies` and `interfaces` are what module.toml says about updates in the field, and about what it
    needs and offers, `contract` the rest; `interfaces` and `contract` are None for what was built before they were
    carried. `builder_parts` is what the builder itself is made of, where it is more than this program. An artifact
    keeps the version that it was written with, so that what was signed keeps its bytes.
    """

    schema_: Literal["assay.artifact/1", "assay.artifact/2"] = Field(default="assay.artifact/2", alias="schema")
    module: Name
    kind: ModuleKind
    version: VersionText
    board: Name
    min_revision: int
    security_counter: int
    payload_sha256: FileSha256
    payload_size: int
    files: dict[str, FileSha256]
    sbom_sha256: FileSha256
    source: SourceState
    tools: tuple[ToolIdentity, ...]
    parameters: dict[str, Any]
    builder: str
    builds_compared: int = Field(ge=2)
    variations: tuple[str, ...]
    update: UpdatePolicy | None = None
    dependencies: tuple[Dependency, ...] = ()
    interfaces: Interfaces | None = None
    builder_parts: tuple[ToolIdentity, ...] | None = None
    contract: Contract | None = None

    @model_validator(mode="after")
    def _first_version_has_no_contract(self) -> Self:
        if self.schema_ == "assay.artifact/1" and self.contract is not None:
            raise ValueError("an artifact of the first version has no contract")
        return self


ARTIFACT_FILE = "artifact.json"
SBOM_FILE = "sbom.cdx.json"
RESERVED_FILES = (ARTIFACT_FILE, SBOM_FILE)
"""Files of an artifact's folder that are ours: no output of a build has such a name."""


@dataclass(frozen=True)
class BuiltArtifact:
    """An artifact with its bytes: `files` by the names in `artifact.files`, and the SBOM. Digests were checked."""

    artifact: Artifact
    files: Mapping[str, bytes]
    sbom: bytes

    @property
    def payload(self) -> bytes:
        """The payload that becomes the image."""
        return self.files[PAYLOAD]


class SignedImage(Value):
    """An MCUboot image: the digest of the file, the hash inside, and the key that signed it."""

    file_sha256: FileSha256
    image_hash: ImageHash
    size: int
    payload_sha256: FileSha256
    keyid: FileSha256


class ReleasedPatch(Value):
    """A patch that makes the image of a release out of an older one, as an image file of its own.

    `base` is the older release (`name@version`), `base_hash` the hash of its image; `statement` the digest of the
    bundle with the signed statement about the patch.
    """

    base: str
    base_hash: ImageHash
    file_sha256: FileSha256
    image_hash: ImageHash
    size: int
    statement: FileSha256


class RaucBundle(Value):
    """The image of a release as a unit with RAUC takes it: signed for RAUC (X.509) by the key `keyid`, and packed."""

    file_sha256: FileSha256
    size: int
    keyid: FileSha256


class Release(Value):
    """An image with its attestations, published under a name, a version and a board."""

    schema_: Literal["assay.release/1"] = Field(default="assay.release/1", alias="schema")
    name: Name
    kind: ModuleKind
    version: VersionText
    board: Name
    min_revision: int
    security_counter: int
    image: SignedImage
    artifact: Artifact
    attestations: dict[str, FileSha256]
    """Predicate type to the digest of the bundle file in the store."""
    patches: tuple[ReleasedPatch, ...] = ()
    rauc: RaucBundle | None = None

    @property
    def reference(self) -> str:
        """`name@version`, as users write it."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class ReleaseSummary:
    """A verification summary that stood for provenance and bill of materials, and by which key it was signed."""

    signer: TrustedSigner
    verifier_id: str
    policy_uri: str
    policy_sha256: str
    levels: tuple[str, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class VerifiedImage:
    """An image whose bytes, signature, hash, board and provenance were verified: only this can be flashed.

    Made by `pipeline.release_gate`; `data` are the very bytes that were verified. `summary` is there when a
    verification summary stood for the statements.
    """

    release: Release
    data: bytes
    checks: tuple[Check, ...]
    summary: ReleaseSummary | None = None
    bundle: bytes = b""
    """The RAUC bundle that holds the image, for a unit that takes it so."""

    @property
    def travels(self) -> bytes:
        """What is sent to the unit."""
        return self.bundle or self.data


@dataclass(frozen=True)
class VerifiedPatch:
    """A patch of a release whose bytes, signature, hashes and statement were verified: only this is sent to a unit.

    Made by `pipeline.patch_gate`; `data` are the very bytes that were verified.
    """

    patch: ReleasedPatch
    data: bytes
    checks: tuple[Check, ...]
