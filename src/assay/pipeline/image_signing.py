# SPDX-License-Identifier: Apache-2.0
"""Sign an artifact and attest it: image, provenance and SBOM statements, recorded, in one folder.

Guards: the artifact that is signed is the one that was built (its digests are checked), and every statement is durable
in the log before the folder appears. Leaves to others: the image (`stages.signing`), what statements say
(`stages.provenance`), publishing (`pipeline.publishing`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from assay.backends.builders.imgtool_program import ImgtoolProgram
from assay.backends.stores.result_folder import read_result, write_result
from assay.errors import NotVerified
from assay.formats import canonical_json, strict_json
from assay.model.artifact import BuiltArtifact, Release, ReleasedPatch, SignedImage
from assay.model.record import RecordType
from assay.model.statement import PredicateType, Statement
from assay.model.trust import Role
from assay.pipeline.artifact_folder import read_artifact
from assay.pipeline.manifest_files import board_file, load_board, project_root
from assay.pipeline.patch_signing import PatchOrder, SignedPatch, find_bases, make_patches
from assay.pipeline.rauc_signing import bundle_of
from assay.pipeline.site import Site
from assay.stages.provenance.statements import provenance_statement, sbom_statement
from assay.stages.registry.release import release_of
from assay.stages.signing.sign import sign_image

SIGNED_FILE = "signed.json"
IMAGE_FILE = "image.signed.bin"
RAUC_FILE = "image.raucb"
BUNDLE_FILES = {
    PredicateType.PROVENANCE: "provenance.sigstore.json",
    PredicateType.SBOM: "sbom.sigstore.json",
}


@dataclass(frozen=True)
class SignedFolder:
    """What `assay sign` leaves: a release that is not published yet, its image, its bundles by predicate type, and its
    patches.
    """

    release: Release
    image: bytes
    bundles: dict[str, bytes]
    patches: tuple[SignedPatch, ...] = ()
    left_out: tuple[str, ...] = ()
    """Why there is no patch from a release that one was asked for from."""
    rauc: bytes = b""
    """The RAUC bundle, for a board that takes it."""


NO_PATCHES = PatchOrder()


def sign_artifact(artifact_dir: Path, site: Site, out: Path, patches: PatchOrder = NO_PATCHES) -> SignedFolder:
    """Sign the artifact in `artifact_dir`, record how it was built, and leave the result in `out`, with the patches
    that are asked for.
    """
    built = read_artifact(artifact_dir)
    board = load_board(board_file(project_root(Path.cwd()), built.artifact.board))
    bases = find_bases(patches, built.artifact, board, site)
    image, data = sign_image(built, board, ImgtoolProgram(), site.signers)
    bundles = _attest(built, image, site)
    release = release_of(built.artifact, image, bundles)
    made, left_out = make_patches(bases, release, data, board, site)
    release = release.model_copy(update={"patches": tuple(each.patch for each in made)})
    rauc = b""
    if board.ssh is not None and release.kind == "app":
        bundle, rauc = bundle_of(release, data, site)
        release = release.model_copy(update={"rauc": bundle})
    signed = SignedFolder(release, data, bundles, made, left_out, rauc)
    write_result(out, _files(signed), SIGNED_FILE)
    return signed


def read_signed(folder: Path) -> SignedFolder:
    """What `assay sign` left in `folder`. Raises `UsageFault` if it is not there, `NotVerified` if changed."""
    document = strict_json.loads_object(read_result(folder, SIGNED_FILE), str(folder / SIGNED_FILE))
    try:
        release = Release.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        text = f"{folder / SIGNED_FILE} is no signed image: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise NotVerified(text, remedy="sign the artifact again") from error
    image = _checked(folder, IMAGE_FILE, release.image.file_sha256)
    names = {kind.value: name for kind, name in BUNDLE_FILES.items()}
    if set(release.attestations) != set(names):
        text = f"{folder / SIGNED_FILE} names other attestations than an image has"
        raise NotVerified(text, remedy="sign the artifact again")
    bundles = {kind: _checked(folder, names[kind], sha256) for kind, sha256 in release.attestations.items()}
    patches = tuple(
        SignedPatch(
            patch,
            _checked(folder, _patch_file(patch, "signed.bin"), patch.file_sha256),
            _checked(folder, _patch_file(patch, "sigstore.json"), patch.statement),
        )
        for patch in release.patches
    )
    rauc = _checked(folder, RAUC_FILE, release.rauc.file_sha256) if release.rauc else b""
    return SignedFolder(release, image, bundles, patches, (), rauc)


def _patch_file(patch: ReleasedPatch, suffix: str) -> str:
    """Named by the version that it is for, so that people find it."""
    return f"patch-from-{patch.base.partition('@')[2]}.{suffix}"


def _attest(built: BuiltArtifact, image: SignedImage, site: Site) -> dict[str, bytes]:
    provenance = provenance_statement(built.artifact, image)
    sbom = sbom_statement(built.artifact, image, built.sbom)
    return {
        PredicateType.PROVENANCE.value: _record(provenance, RecordType.PROVENANCE, site),
        PredicateType.SBOM.value: _record(sbom, RecordType.SBOM, site),
    }


def _record(statement: Statement, kind: RecordType, site: Site) -> bytes:
    return site.recorder.bundle(site.recorder.record(statement, kind, Role.BUILDER))


def _files(signed: SignedFolder) -> dict[str, bytes]:
    document = json.dumps(canonical_json.plain(signed.release), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    bundles = {name: signed.bundles[kind.value] for kind, name in BUNDLE_FILES.items()}
    patches = {
        _patch_file(each.patch, suffix): data
        for each in signed.patches
        for suffix, data in (("signed.bin", each.data), ("sigstore.json", each.bundle))
    }
    if signed.rauc:
        bundles[RAUC_FILE] = signed.rauc
    return {IMAGE_FILE: signed.image, **bundles, **patches, SIGNED_FILE: document.encode()}


def _checked(folder: Path, name: str, sha256: str) -> bytes:
    data = read_result(folder, name)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise NotVerified(f"{folder / name} was changed after it was signed", remedy="sign the artifact again")
    return data
