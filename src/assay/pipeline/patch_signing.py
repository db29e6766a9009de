# SPDX-License-Identifier: Apache-2.0
"""The patches of a release: from each older release that is asked for, made, tried, signed, and stated.

Guards: the older image comes from the store, through the gate. Leaves to others: making one (`stages.signing.patch`),
believing it later (`pipeline.patch_gate`).
"""

from __future__ import annotations

from dataclasses import dataclass

from assay.backends.builders.detools_patches import DetoolsPatches
from assay.backends.builders.imgtool_program import ImgtoolProgram
from assay.errors import UsageFault
from assay.model.artifact import Artifact, Release, ReleasedPatch, VerifiedImage
from assay.model.board import Board
from assay.model.predicates import ImageReference
from assay.model.record import RecordType
from assay.model.trust import Role
from assay.pipeline.release_gate import verify_release
from assay.pipeline.site import Site
from assay.pipeline.trust_file import site_trust
from assay.pipeline.unit_records import parse_reference, reference_of
from assay.stages.provenance.statements import patch_statement
from assay.stages.signing.patch import PatchTooLarge, sign_patch


@dataclass(frozen=True)
class SignedPatch:
    """A patch as it will be published, its file, and the bundle with its statement."""

    patch: ReleasedPatch
    data: bytes
    bundle: bytes


@dataclass(frozen=True)
class PatchOrder:
    """The older releases (`name@version`) that the new one may be reached from by a patch."""

    bases: tuple[str, ...] = ()


def find_bases(order: PatchOrder, artifact: Artifact, board: Board, site: Site) -> tuple[VerifiedImage, ...]:
    """The older releases, verified. Raises `UsageFault` for one that no unit of this module can run, `ToolMissing`
    before anything is signed.
    """
    if order.bases:
        DetoolsPatches().check()
    trust = site_trust(site, "this-site", allow_development=True, allow_emulated=True)
    found: dict[str, VerifiedImage] = {}
    for reference in order.bases:
        name, version = parse_reference(reference)
        if artifact.kind != "app" or name != artifact.module or version == artifact.version:
            raise UsageFault(
                f"there is no patch from {reference} to {artifact.module}@{artifact.version} ({artifact.kind})",
                remedy="name an older release of the same app, as name@version",
            )
        base = verify_release(site.store, trust, name, version, board, withdrawn=True)  # units run it still
        found[base.release.image.image_hash] = base
    return tuple(found.values())


def make_patches(
    bases: tuple[VerifiedImage, ...], release: Release, data: bytes, board: Board, site: Site
) -> tuple[tuple[SignedPatch, ...], tuple[str, ...]]:
    """The patches to the image `data` of `release`, and why there is none from a base that has none."""
    made, left_out = [], []
    for base in bases:
        try:
            made.append(_make(base, release, data, board, site))
        except PatchTooLarge as error:
            left_out.append(error.message)
    return tuple(made), tuple(left_out)


def _make(base: VerifiedImage, release: Release, data: bytes, board: Board, site: Site) -> SignedPatch:
    tool = DetoolsPatches()
    new = (data, release.image.image_hash)
    signed = sign_patch(base, new, release.artifact, board, (tool, ImgtoolProgram()), site.signers)
    about: ImageReference = reference_of(base.release)
    patch = ReleasedPatch(
        base=base.release.reference,
        base_hash=base.release.image.image_hash,
        file_sha256=signed.file_sha256,
        image_hash=signed.image_hash,
        size=len(signed.data),
        statement=signed.file_sha256,  # replaced below: the statement does not name itself
    )
    statement = patch_statement(release, about, patch, signed.compression, tool.name)
    record = site.recorder.record(statement, RecordType.PATCH, Role.BUILDER)
    patch = patch.model_copy(update={"statement": record.entry.record})
    return SignedPatch(patch, signed.data, site.recorder.bundle(record))
