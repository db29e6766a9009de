# SPDX-License-Identifier: Apache-2.0
"""The statements about an image: how it was built (SLSA provenance v1), what is in it (CycloneDX), that it was
released.

Guards: pure functions without a clock, so the same artifact gives the same bytes; times stand in the log's records.
What is claimed is what was seen: a tree with changes is not called by its commit.
Leaves to others: signing (`interfaces.signer`), reading the statements again (`verify`).
"""

from __future__ import annotations

import re
from typing import Any

from assay import __version__
from assay.errors import UsageFault
from assay.formats import canonical_json, strict_json
from assay.model.artifact import (
    SBOM_FILE,
    Artifact,
    Release,
    ReleasedPatch,
    SignedImage,
    SourceState,
    ToolIdentity,
)
from assay.model.identifiers import NAME_PATTERN
from assay.model.policy import PolicyNote
from assay.model.predicates import ImageReference, Patch
from assay.model.statement import PredicateType, ResourceDescriptor, Statement, Subject
from assay.model.trust import BUILDER_IDS, BUILDER_PREFIX

BUILD_TYPE = "urn:assay:build:v1"
"""docs/reference/statements says what it means."""

MANIFEST = "manifest"
"""The external parameter that says which module.toml was built: its path in the repository."""

SBOM_FORMAT = "CycloneDX"

POLICY_ANNOTATION = "policy"
"""Annotation of the image in a release statement: `PolicyNote`, whose `decisions` are empty where no policy decided."""


def provenance_statement(artifact: Artifact, image: SignedImage) -> Statement:
    """SLSA provenance v1 of `image` and of the payload in it. `UsageFault` for a builder without an id."""
    if not re.fullmatch(NAME_PATTERN, artifact.builder):
        raise UsageFault(
            f"the builder {artifact.builder!r} has no builder.id", remedy=f"use {' or '.join(sorted(BUILDER_IDS))}"
        )
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": artifact.parameters,
            "internalParameters": _internal(artifact),
            "resolvedDependencies": _dependencies(artifact),
        },
        "runDetails": {
            "builder": _builder(artifact),
            "byproducts": [_descriptor(name, digest) for name, digest in sorted(_byproducts(artifact).items())],
        },
    }
    return Statement(
        subject=_subjects(artifact, image), predicateType=PredicateType.PROVENANCE.value, predicate=predicate
    )


def _builder(artifact: Artifact) -> dict[str, Any]:
    said: dict[str, Any] = {"id": BUILDER_PREFIX + artifact.builder, "version": {"assay": __version__}}
    if artifact.builder_parts:
        said["builderDependencies"] = [_tool(part) for part in artifact.builder_parts]
    return said


def _byproducts(artifact: Artifact) -> dict[str, str]:
    """Every output; and the bill of materials, which who builds again compares (not before builds said where from)."""
    bill = {SBOM_FILE: artifact.sbom_sha256} if MANIFEST in artifact.parameters else {}
    return artifact.files | bill


def _internal(artifact: Artifact) -> dict[str, Any]:
    """What the build was, and what its module.toml asks of a unit: whoever writes it to one can rely on that."""
    said: dict[str, Any] = {
        "buildsCompared": artifact.builds_compared,
        "variations": list(artifact.variations),
        "update": None if artifact.update is None else canonical_json.plain(artifact.update),
        "dependencies": [canonical_json.plain(dependency) for dependency in artifact.dependencies],
    }
    if artifact.interfaces is not None:
        said["interfaces"] = canonical_json.plain(artifact.interfaces)
    if artifact.contract is not None:
        said["contract"] = canonical_json.plain(artifact.contract)
    return said


def sbom_statement(artifact: Artifact, image: SignedImage, bom: bytes) -> Statement:
    """The bill of materials `bom` (CycloneDX JSON) as a statement about `image`; it must be the one of the artifact."""
    document = strict_json.loads_object(bom, "the bill of materials")
    if document.get("bomFormat") != SBOM_FORMAT:
        raise UsageFault(f"the bill of materials is not {SBOM_FORMAT}", remedy="build the module again")
    return Statement(subject=_subjects(artifact, image), predicateType=PredicateType.SBOM.value, predicate=document)


def release_statement(release: Release, policy: PolicyNote | None = None) -> Statement:
    """`release` as a statement: which image carries this name, version and board, and which attestations belong to
    it. `policy` is the note of who decided, as an annotation of the image.
    """
    image, *others = _subjects(release.artifact, release.image)
    if policy is not None:
        note = canonical_json.plain(policy)
        image = image.model_copy(update={"annotations": {**(image.annotations or {}), POLICY_ANNOTATION: note}})
    return Statement(
        subject=(image, *others),
        predicateType=PredicateType.RELEASE.value,
        predicate=canonical_json.plain(release),
    )


def patch_predicate(release: Release, base: ImageReference, patch: ReleasedPatch, compression: str, tool: str) -> Patch:
    """What is stated about `patch`, which makes the image of `release` out of `base`."""
    return Patch(
        release=release.reference,
        board=release.board,
        base=base,
        gives=ImageReference(
            release=release.reference, file_sha256=release.image.file_sha256, image_hash=release.image.image_hash
        ),
        image_hash=patch.image_hash,
        size=patch.size,
        format="detools-sequential",
        compression=compression,
        tool=tool,
    )


def patch_statement(
    release: Release, base: ImageReference, patch: ReleasedPatch, compression: str, tool: str
) -> Statement:
    """`patch` as a statement about its file: out of which image it makes which."""
    file = Subject(
        name=f"{release.name}-{release.version}-{release.board}.from-{base.release.partition('@')[2]}.patch.bin",
        digest={"sha256": patch.file_sha256},
        annotations={"imageHash": patch.image_hash},
    )
    predicate = canonical_json.plain(patch_predicate(release, base, patch, compression, tool))
    return Statement(subject=(file,), predicateType=PredicateType.PATCH.value, predicate=predicate)


def _subjects(artifact: Artifact, image: SignedImage) -> tuple[Subject, ...]:
    """The signed file, which is flashed, and the payload, which two builds agreed on."""
    stem = f"{artifact.module}-{artifact.version}-{artifact.board}"
    return (
        Subject(
            name=f"{stem}.signed.bin",
            digest={"sha256": image.file_sha256},
            annotations={"imageHash": image.image_hash, "imageKey": image.keyid},
        ),
        Subject(name=f"{stem}.bin", digest={"sha256": artifact.payload_sha256}),
    )


def _dependencies(artifact: Artifact) -> list[dict[str, Any]]:
    return [_source(artifact.source), *(_tool(tool) for tool in artifact.tools)]


def _tool(tool: ToolIdentity) -> dict[str, Any]:
    return {**_descriptor(tool.name, tool.sha256), "annotations": {"version": tool.version}}


def _source(source: SourceState) -> dict[str, Any]:
    """The sources: always the digest over the declared inputs; the commit only if nothing differs from it."""
    digest = {"sha256": source.digest}
    annotations: dict[str, Any] = {"dirty": source.dirty}
    if source.commit and not source.dirty:
        digest["gitCommit"] = source.commit
    elif source.commit:
        annotations["basedOnCommit"] = source.commit
    descriptor = ResourceDescriptor(name="source", uri=source.repository, digest=digest, annotations=annotations)
    return canonical_json.plain(descriptor)


def _descriptor(name: str, sha256: str) -> dict[str, Any]:
    return canonical_json.plain(ResourceDescriptor(name=name, digest={"sha256": sha256}))
