# SPDX-License-Identifier: Apache-2.0
"""The release gate: the only place that makes a `VerifiedImage`, and only such an image is ever written to a unit.

Guards: bytes, signature, hash, board, revision, name, version, how it was built and what is in it were verified against
the trust file, for the very bytes that it hands out. Whatever is wrong is `Refused` with one message.
Leaves to others: whether this unit may take it (`stages.flashing`, `stages.field`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assay.errors import AssayError, NotVerified, Refused, StorageError, WrongBoard
from assay.formats import public_key
from assay.formats.mcuboot_image import CheckedImage, verify_image
from assay.formats.rauc_bundle import check_holds
from assay.formats.statement_verifier import verify_beside, verify_statements, without_thresholds
from assay.interfaces.store import Store
from assay.model.artifact import Release, VerifiedImage
from assay.model.board import Board
from assay.model.compatibility import check_hardware
from assay.model.identifiers import Version
from assay.model.statement import PredicateType
from assay.model.trust import Check, Role, TrustFile, VerifiedStatement
from assay.pipeline.rauc_signing import facts_of
from assay.pipeline.statement_forms import newest_form, payload_sha256
from assay.pipeline.withdrawals import check_not_withdrawn, withdrawal_of
from assay.stages.provenance.statements import provenance_statement
from assay.stages.provenance.summary import verify_summary
from assay.stages.provenance.verify import verify_provenance
from assay.stages.registry.release import check_consistent
from assay.stages.signing.sign import check_says


def verify_release(
    store: Store, trust: TrustFile, name: str, version: str | None, board: Board, *, withdrawn: bool = False
) -> VerifiedImage:
    """The release `name@version` (None: the highest that was not withdrawn) for `board`, verified. Raises `UsageFault`
    when there is none, `NotVerified`, `WrongBoard` or `Refused` when it must not be written.

    `withdrawn`: also one that was withdrawn: for what a unit runs already and for its history, never to write it.
    """
    release = store.find(name, version, board.name)
    if version is None and not withdrawn and withdrawal_of(store, release) is not None:
        release = _highest_left(store, release)
    check_consistent(release)
    if not withdrawn:
        check_not_withdrawn(store, release, trust)
    if goes_by_summary(trust):
        return _by_summary(store, release, trust, board)
    bundles = {kind: _bundle(store, release, kind) for kind in release.attestations}
    rauc = _rauc(store, release)
    later = {kind: newest_form(store, release, kind, bundle, trust) for kind, bundle in bundles.items()}
    others = {kind: store.attached(release, kind) for kind in bundles if trust.threshold(kind) > 1}
    return verify_parts(release, _image(store, release), bundles, trust, board, rauc, later=later, others=others)


def _highest_left(store: Store, highest: Release) -> Release:
    """The highest release of a module that was not withdrawn; `highest`, which was, when no other is left."""
    same = [each for each in store.releases() if (each.name, each.board) == (highest.name, highest.board)]
    left = [each for each in same if withdrawal_of(store, each) is None]
    return max(left, key=lambda each: Version(each.version), default=highest)


def goes_by_summary(trust: TrustFile) -> bool:
    """Whether `trust` has releases verified by their summaries: it names who verifies them, and nobody who builds."""
    roles = {key.role for key in trust.keys} | {identity.role for identity in trust.identities}
    return Role.VERIFIER in roles and Role.BUILDER not in roles


def _by_summary(store: Store, release: Release, trust: TrustFile, board: Board) -> VerifiedImage:
    """The newest summary beside the release that verifies; without one, why the newest does not. Where the trust file
    wants several verifiers, so many of those that verify.
    """
    data, refused = _image(store, release), NotVerified(
        f"{release.reference} has no verification summary, and '{trust.name}' names nobody who builds",
        remedy="assay policy summarize, where the release was made; or use a trust file with builders",
    )  # fmt: skip
    alone, found = without_thresholds(trust), list[tuple[bytes, VerifiedImage]]()
    for bundle in reversed(store.attached(release, PredicateType.SUMMARY.value)):
        try:
            found.append((bundle, verify_summarized(release, data, bundle, alone, board)))
        except NotVerified as error:
            refused = error
        if found and trust.threshold(PredicateType.SUMMARY) == 1:
            return found[0][1]
    if not found:
        raise refused
    kinds = {PredicateType.SUMMARY}
    verify_statements([bundle for bundle, _ in found], trust, role=Role.VERIFIER, predicate_types=kinds)
    return found[0][1]


def verify_summarized(release: Release, data: bytes, bundle: bytes, trust: TrustFile, board: Board) -> VerifiedImage:
    """A release by its image and one verification summary. Any exception on the way is "not verified"."""
    try:
        check_consistent(release)
        checks = [_check_emulated(trust, board)]
        image = verify_image(data, trust)
        checks += [*image.checks, *_check_image(release, image, board)]
        summary = verify_summary(bundle, trust, release)
        checks += [*summary.checks, *_check_keys_inside(release, image, trust, board)]
        return VerifiedImage(release, data, tuple(checks), summary)
    except AssayError:
        raise
    except Exception as error:  # signed, and of a shape that nobody expects
        text = f"the summary of {release.reference} could not be verified ({type(error).__name__})"
        raise NotVerified(text, remedy="get it again from who verified the release") from error


def _image(store: Store, release: Release) -> bytes:
    """The image file. One that is not there says nothing of the release: the store is not whole (docs/adr/0082)."""
    try:
        return store.get(release.image.file_sha256)
    except StorageError as error:
        text = f"the image of {release.reference} cannot be had: {error.message}"
        raise StorageError(text, remedy=error.remedy) from error


def _rauc(store: Store, release: Release) -> bytes:
    return store.get(release.rauc.file_sha256) if release.rauc else b""


def _bundle(store: Store, release: Release, kind: str) -> bytes:
    """A statement of the release. One that cannot be had is as bad as one that says no: nobody vouches for it."""
    try:
        return store.get(release.attestations[kind])
    except StorageError as error:
        text = f"the {PredicateType(kind).name.lower()} statement of {release.reference} is not there: {error.message}"
        raise NotVerified(text, remedy=error.remedy) from error


def verify_parts(
    release: Release,
    data: bytes,
    bundles: Mapping[str, bytes],
    trust: TrustFile,
    board: Board,
    rauc: bytes = b"",
    *,
    later: Mapping[str, bytes] | None = None,
    others: Mapping[str, Sequence[bytes]] | None = None,
) -> VerifiedImage:
    """A release whose parts are at hand: image bytes, Sigstore bundles by predicate type, the RAUC bundle if it has
    one. Any exception on the way is "not verified".

    `later`: the same statements as they were logged or stamped after they were published. `others`: what lies beside,
    for a trust file that wants several signers.
    """
    stated = Stated(bundles, later or {}, others or {})
    try:
        verified = _verify_parts(release, data, stated, trust, board)
        return replace(verified, checks=(*verified.checks, *_check_rauc(release, rauc, board)), bundle=rauc)
    except AssayError:
        raise
    except Exception as error:  # signed, and of a shape that nobody expects
        text = f"{release.reference} could not be verified ({type(error).__name__})"
        raise NotVerified(text, remedy="build, sign and publish it again") from error


@dataclass(frozen=True)
class Stated:
    """The statements about a release, by type: as published, in a later form, and those of others."""

    published: Mapping[str, bytes]
    later: Mapping[str, bytes]
    others: Mapping[str, Sequence[bytes]]


def _verify_parts(release: Release, data: bytes, stated: Stated, trust: TrustFile, board: Board) -> VerifiedImage:
    check_consistent(release)
    checks = [_check_emulated(trust, board)]
    image = verify_image(data, trust)
    checks += [*image.checks, *_check_image(release, image, board)]
    for kind in (PredicateType.PROVENANCE, PredicateType.SBOM):
        statement = _statement(release, stated, kind, trust)
        checks += statement.checks
        if kind is PredicateType.PROVENANCE:
            checks += verify_provenance(statement, _expected(release))
            _check_built(release, statement)
        else:
            checks.append(_check_bill(release, statement))
    checks += _check_keys_inside(release, image, trust, board)
    return VerifiedImage(release, data, tuple(checks))


def _check_rauc(release: Release, rauc: bytes, board: Board) -> tuple[Check, ...]:
    """The bundle is the one that was published, and holds this very image. Who signed it is for the unit to see."""
    if board.ssh is None or release.kind != "app":
        return ()
    if release.rauc is None or hashlib.sha256(rauc).hexdigest() != release.rauc.file_sha256:
        text = f"{release.reference} has no RAUC bundle, or another than it was published with"
        raise NotVerified(text, remedy="sign and publish it again")
    check_holds(rauc, facts_of(release))
    return (Check(f"RAUC bundle {release.rauc.file_sha256} holds the image; its signature is for the unit to verify"),)


def _check_emulated(trust: TrustFile, board: Board) -> Check:
    if board.emulated and not trust.allow_emulated:
        text = f"{board.name} is emulated, which '{trust.name}' refuses"
        raise Refused(text, remedy="use a real board, or a trust file for demonstrations that allows emulated ones")
    return Check(
        f"board {board.name}{' is EMULATED: this proves the software, not a product' if board.emulated else ''}"
    )


def _check_image(release: Release, image: CheckedImage, board: Board) -> tuple[Check, ...]:
    says = image.says
    if says.board != board.name:
        text = f"the image of {release.reference} is for {says.board}, not for {board.name}"
        raise WrongBoard(text, remedy=f"publish {release.name} for {board.name}, or name the right board")
    if says.min_revision > board.revision:
        text = f"{release.reference} needs revision {says.min_revision} of {board.name}, this is {board.revision}"
        raise WrongBoard(text, remedy="use a board of that revision, or an older release")
    if (image.file_sha256, image.image_hash) != (release.image.file_sha256, release.image.image_hash):
        raise NotVerified(f"the image of {release.reference} is not the one that was published", remedy="publish again")
    check_says(image, release.artifact)
    check_hardware(release, board)
    return (
        Check(f"file SHA-256 {image.file_sha256}"),
        Check(f"image for {says.board} from revision {says.min_revision} on, {says.name} {says.version}"),
        Check(f"payload SHA-256 {release.image.payload_sha256}: two builds agreed on it"),
    )


def _check_keys_inside(release: Release, image: CheckedImage, trust: TrustFile, board: Board) -> tuple[Check, ...]:
    """The keys that were declared as built in are trusted image keys, and they are in there: what a bootloader would
    start is what the trust file allows.
    """
    declared = release.artifact.parameters.get("publicKeys") or {}
    if release.kind == "bootloader" and board.verifies_at_boot and "image" not in declared:
        text = f"the bootloader {release.reference} does not say which image key is built into it"
        raise NotVerified(text, remedy="build it with --declare-key image=FILE")
    checks = []
    for name, key in sorted(declared.items()):
        trusted = next((each for each in trust.keys_for(Role.IMAGE) if each.keyid == key["sha256"]), None)
        if trusted is None or (trusted.development and not trust.allow_development):
            text = f"the key '{name}' that is built into {release.reference} is no image key that '{trust.name}' trusts"
            raise NotVerified(text, remedy="build it with the image key of the site that will sign its images")
        if public_key.raw_ed25519(trusted.public) not in image.says.payload:
            text = f"the key '{name}' is declared for {release.reference}, and is not in it"
            raise NotVerified(text, remedy="correct the build: it must put in the key that it is given")
        checks.append(Check(f"the key '{name}' built into it is a trusted image key", trusted))
    return tuple(checks)


def _statement(release: Release, stated: Stated, kind: PredicateType, trust: TrustFile) -> VerifiedStatement:
    bundle = stated.published.get(kind.value)
    if bundle is None or hashlib.sha256(bundle).hexdigest() != release.attestations[kind.value]:
        text = f"{release.reference} has no {kind.name.lower()} statement, or another than it was published with"
        raise NotVerified(text, remedy="sign and publish it again")
    form = stated.later.get(kind.value, bundle)
    if payload_sha256(form) != payload_sha256(bundle):
        text = f"what was put beside {release.reference} is another {kind.name.lower()} statement"
        raise NotVerified(text, remedy="restore the store from a copy")
    try:
        return verify_beside(
            form,
            stated.others.get(kind.value, ()),
            trust,
            role=Role.BUILDER,
            predicate_types={kind.value},
            subject_sha256=release.image.file_sha256,
        )
    except NotVerified as error:
        text = f"the {kind.name.lower()} of {release.reference}: {error.message}"
        raise NotVerified(text, remedy=error.remedy) from error


def _expected(release: Release) -> dict[str, Any]:
    """The external parameters that make the build this release's."""
    return {"module": release.name, "kind": release.kind, "version": release.version, "board": release.board}


def _check_built(release: Release, statement: VerifiedStatement) -> None:
    """The artifact in the release is what the signed provenance is about, not what somebody wrote beside it."""
    attested = statement.statement.predicate.get("buildDefinition")
    if provenance_statement(release.artifact, release.image).predicate["buildDefinition"] != attested:
        text = f"{release.reference} tells of another build than its signed provenance"
        raise NotVerified(text, remedy="sign and publish it again")


def _check_bill(release: Release, statement: VerifiedStatement) -> Check:
    subject = statement.statement.predicate.get("metadata", {}).get("component", {})
    if (subject.get("name"), subject.get("version")) != (release.name, release.version):
        text = f"the bill of materials of {release.reference} is about {subject.get('name')} {subject.get('version')}"
        raise NotVerified(text, remedy="sign and publish it again")
    parts = statement.statement.predicate.get("components", [])
    return Check(f"bill of materials of {release.reference}: {len(parts)} parts")
