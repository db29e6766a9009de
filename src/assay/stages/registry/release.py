# SPDX-License-Identifier: Apache-2.0
"""The release of a signed image: image and attestations under a name, a version and a board.

Guards: a release has every attestation that the gate will ask for. Leaves to others: keeping it (`interfaces.store`),
trusting it (`pipeline.release_gate`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from assay.errors import NotVerified
from assay.model.artifact import Artifact, Release, ReleasedPatch, SignedImage
from assay.model.statement import PredicateType

ATTESTATIONS = (PredicateType.PROVENANCE, PredicateType.SBOM)
"""What every release carries: how it was built, and what is in it."""


def release_of(
    artifact: Artifact, image: SignedImage, bundles: Mapping[str, bytes], patches: tuple[ReleasedPatch, ...] = ()
) -> Release:
    """The release; `bundles` are Sigstore bundles by predicate type."""
    return Release(
        name=artifact.module,
        kind=artifact.kind,
        version=artifact.version,
        board=artifact.board,
        min_revision=artifact.min_revision,
        security_counter=artifact.security_counter,
        image=image,
        artifact=artifact,
        attestations={kind: hashlib.sha256(bundle).hexdigest() for kind, bundle in bundles.items()},
        patches=patches,
    )


def check_consistent(release: Release) -> None:
    """`NotVerified` unless a release says what its artifact says, and has its attestations and no others."""
    artifact = release.artifact
    said = (release.name, release.kind, release.version, release.board, release.min_revision, release.security_counter)
    built = (
        *(artifact.module, artifact.kind, artifact.version, artifact.board),
        *(artifact.min_revision, artifact.security_counter),
    )
    if said != built or release.image.payload_sha256 != artifact.payload_sha256:
        raise NotVerified(
            f"the release {release.reference} and the artifact in it are not the same", remedy="sign and publish again"
        )
    if set(release.attestations) != {kind.value for kind in ATTESTATIONS}:
        wanted = ", ".join(kind.name for kind in ATTESTATIONS)
        raise NotVerified(
            f"the release {release.reference} does not have exactly the attestations {wanted}",
            remedy="sign and publish again",
        )
    bases = [patch.base_hash for patch in release.patches]
    if len(set(bases)) != len(bases) or release.image.image_hash in bases:
        text = f"the release {release.reference} has two patches from one image, or one from itself"
        raise NotVerified(text, remedy="sign and publish again")
