# SPDX-License-Identifier: Apache-2.0
"""The gate for patches: the only place that makes a `VerifiedPatch`, and only such a patch is ever sent to a unit.

Guards: bytes, signature, statement, and that the patch is for this board and gives the image of this release. Whatever
is wrong is `NotVerified`. Leaves to others: the release (`release_gate`), and whether this unit may take it.
"""

from __future__ import annotations

from collections.abc import Sequence

from assay.errors import AssayError, NotVerified
from assay.formats.mcuboot_image import verify_image
from assay.formats.statement_verifier import verify_beside
from assay.interfaces.store import Store
from assay.model.artifact import Release, ReleasedPatch, VerifiedPatch
from assay.model.image_parameters import PatchBinding
from assay.model.predicates import ImageReference, Patch
from assay.model.statement import PredicateType
from assay.model.trust import Check, Role, TrustFile
from assay.pipeline.statement_forms import newest_form
from assay.stages.provenance.statements import patch_predicate
from assay.stages.signing.patch import check_patch_says

_REMEDY = "update with --full; sign and publish the release again"


def verify_patch(store: Store, trust: TrustFile, release: Release, patch: ReleasedPatch) -> VerifiedPatch:
    """The patch of a verified `release`, from the store. Raises `NotVerified`, `StorageError`."""
    statement = newest_form(store, release, PredicateType.PATCH.value, store.get(patch.statement), trust)
    kind = PredicateType.PATCH.value
    others = store.attached(release, kind) if trust.threshold(kind) > 1 else ()
    return verify_patch_parts(release, patch, store.get(patch.file_sha256), statement, trust, others)


def verify_patch_parts(
    release: Release,
    patch: ReleasedPatch,
    data: bytes,
    bundle: bytes,
    trust: TrustFile,
    others: Sequence[bytes] = (),
) -> VerifiedPatch:
    """A patch whose file and statement are at hand. Any exception on the way is "not verified".

    `others`: statements that lie beside, for a trust file that wants several signers.
    """
    try:
        return _verify(release, patch, data, (bundle, *others), trust)
    except AssayError:
        raise
    except Exception as error:  # signed, and of a shape that nobody expects
        text = f"the patch from {patch.base} could not be verified ({type(error).__name__})"
        raise NotVerified(text, remedy=_REMEDY) from error


def _verify(
    release: Release, patch: ReleasedPatch, data: bytes, bundles: Sequence[bytes], trust: TrustFile
) -> VerifiedPatch:
    image = verify_image(data, trust, patch=True)
    if (image.file_sha256, image.image_hash, len(data)) != (patch.file_sha256, patch.image_hash, patch.size):
        raise NotVerified(f"the patch from {patch.base} is not the one that was published", remedy=_REMEDY)
    binding = PatchBinding(bytes.fromhex(patch.base_hash), bytes.fromhex(release.image.image_hash))
    check_patch_says(image, release.artifact, binding)
    statement = verify_beside(
        bundles[0],
        bundles[1:],
        trust,
        role=Role.BUILDER,
        predicate_types={PredicateType.PATCH.value},
        subject_sha256=patch.file_sha256,
    )
    said = Patch.model_validate(statement.statement.predicate)
    base = ImageReference(release=patch.base, file_sha256=said.base.file_sha256, image_hash=patch.base_hash)
    wanted = patch_predicate(release, base, patch, said.compression, said.tool)
    if said != wanted:
        raise NotVerified(f"the statement about the patch from {patch.base} is about another one", remedy=_REMEDY)
    told = Check(f"patch from {patch.base} (image hash {patch.base_hash}) to {release.reference}, made by {said.tool}")
    return VerifiedPatch(patch, data, (*image.checks, *statement.checks, told))
