# SPDX-License-Identifier: Apache-2.0
"""Facts: what a policy may know about a release, a board and a unit when it decides (docs/reference/policy).

Guards: strict types; what is not known is absent, and never a default that could pass for an answer.
Leaves to others: where each fact comes from (`pipeline.policy_facts`): statements that were verified, never claims.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from assay.model.identifiers import FileSha256, ImageHash, ModuleKind, Name, SerialNumber, VersionText
from assay.model.policy import PointName
from assay.model.trust import Role
from assay.model.value import Value


class SignerFacts(Value):
    """Who signed, as the trust file names it. `keyid` of an identity: SHA-256 over issuer, line feed and name."""

    role: Role
    name: str
    keyid: FileSha256
    development: bool


class ImageSignerFacts(SignerFacts):
    """Who signed an image."""

    role: Literal[Role.IMAGE]


class BuilderFacts(SignerFacts):
    """Who signed how it was built, and out of what."""

    role: Literal[Role.BUILDER]


class BenchFacts(SignerFacts):
    """Who signed a test result."""

    role: Literal[Role.BENCH]


class VerifierFacts(SignerFacts):
    """Who signed a verification summary."""

    role: Literal[Role.VERIFIER]


class SourceFacts(Value):
    """What was built. `commit` is there for a clean tree only."""

    repository: str | None = None
    commit: str | None = None
    dirty: bool
    digest: FileSha256


class ToolFacts(Value):
    """A tool of the build."""

    name: str
    version: str
    sha256: FileSha256


class ProvenanceFacts(Value):
    """How it was built, by the signed provenance."""

    builder_id: str
    builder: str
    builds_compared: int
    variations: tuple[str, ...]
    source: SourceFacts
    tools: tuple[ToolFacts, ...]
    signer: BuilderFacts


class RebuildFacts(Value):
    """A signed statement of somebody who built this release again; `other_builder` unless it is the provenance's
    signer.
    """

    result: Literal["identical", "different"]
    builder_id: str
    other_builder: bool
    other_tools: tuple[str, ...]
    signer: BuilderFacts


class PartFacts(Value):
    """A part in the bill of materials."""

    name: str
    version: str


class SbomFacts(Value):
    """What is in it, by the signed bill of materials."""

    format: str
    parts: tuple[PartFacts, ...]
    signer: BuilderFacts


class TestFacts(Value):
    """A signed result of a test on this very image. `record` is the SHA-256 of the record's file."""

    __test__ = False

    kind: Literal["suite", "campaign"]
    name: str
    result: Literal["PASSED", "WARNED", "FAILED"]
    passed: int
    failed: int
    emulated: bool
    serials: tuple[str, ...]
    record: FileSha256
    signer: BenchFacts


class SummaryFacts(Value):
    """A verification summary (SLSA VSA) that was verified in place of provenance and bill of materials."""

    verifier_id: str
    policy_uri: str
    policy_sha256: FileSha256
    levels: tuple[str, ...]
    signer: VerifierFacts


class ReleaseFacts(Value):
    """The release that is decided about. `numbers`: major, minor, revision, build of the version.

    `builders_agree` counts distinct signers: of the provenance, and of rebuilds that came out identical. Both are
    absent from facts of before there were rebuilds.
    """

    reference: str
    name: Name
    kind: ModuleKind
    version: VersionText
    numbers: tuple[int, int, int, int]
    board: Name
    min_revision: int
    security_counter: int
    size: int
    file_sha256: FileSha256
    image_hash: ImageHash
    image_key: ImageSignerFacts
    provenance: ProvenanceFacts | None = None
    sbom: SbomFacts | None = None
    summary: SummaryFacts | None = None
    tests: tuple[TestFacts, ...] = ()
    patches: int = 0
    rebuilds: tuple[RebuildFacts, ...] | None = None
    builders_agree: int | None = None


class BoardFacts(Value):
    """The board that it is for, by its TOML."""

    name: Name
    revision: int
    emulated: bool


class TrustFacts(Value):
    """The trust file that everything was verified with."""

    name: Name
    allow_development: bool
    allow_emulated: bool


class UnitFacts(Value):
    """The unit on the place, by what it says: `proved` when its evidence was verified. `stage`: what answers on it.

    `change` is what the release is to what runs: newer, same, older, or another module.
    """

    chip: str
    stage: Literal["rom", "boot", "app"]
    proved: bool
    serial: SerialNumber | None = None
    name: str | None = None
    version: str | None = None
    state: Literal["confirmed", "testing"] | None = None
    security_counter: int | None = None
    change: Literal["newer", "same", "older", "other"] | None = None


class RequestFacts(Value):
    """What the person asked for beyond the usual."""

    older_version: bool = False


class Facts(Value):
    """Everything that a policy may know (`assay.facts/1`). `unit` is absent where nothing is on a place yet."""

    schema_: Literal["assay.facts/1"] = Field(default="assay.facts/1", alias="schema")
    point: PointName
    release: ReleaseFacts
    board: BoardFacts
    trust: TrustFacts
    unit: UnitFacts | None = None
    request: RequestFacts = Field(default=RequestFacts())
