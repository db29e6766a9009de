# SPDX-License-Identifier: Apache-2.0
"""Publish a signed image: into the store, and into the log.

Guards: what is published passes the gate first, with this site's own keys or a trust file that wants more, so that a
broken release is found before a station finds it. Leaves to others: keeping it (`backends.stores`), who trusts it
later (`pipeline.release_gate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import Refused
from assay.interfaces.step_book import Say, say_nothing
from assay.interfaces.store import Store
from assay.model.artifact import Release
from assay.model.board import Board
from assay.model.compatibility import offer_of, offers_of_board, unmet_need
from assay.model.policy import Point, PolicyNote
from assay.model.record import RecordRef, RecordType
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline import statement_forms
from assay.pipeline.image_signing import read_signed
from assay.pipeline.log_submit import attach_logged
from assay.pipeline.manifest_files import board_file, load_board, project_root
from assay.pipeline.patch_gate import verify_patch_parts
from assay.pipeline.policy_gate import Question, enforce
from assay.pipeline.release_gate import verify_parts
from assay.pipeline.site import Site
from assay.pipeline.trust_file import site_trust
from assay.pipeline.withdrawals import check_not_withdrawn
from assay.stages.provenance.statements import release_statement


@dataclass(frozen=True)
class Published:
    """A release as the store has it, the digest of its manifest there, its record, and who decided. `cautions`: what
    it needs and nothing in the store offers yet; releases may be published in any order.
    """

    release: Release
    manifest_sha256: str
    record: RecordRef
    policy: PolicyNote
    cautions: tuple[str, ...] = ()


def publish_signed(
    signed_dir: Path,
    site: Site,
    *,
    trust: TrustFile | None = None,
    beside: Sequence[bytes] = (),
    skip_policy: str | None = None,
    say: Say = say_nothing,
) -> Published:
    """Publish what `assay sign` left in `signed_dir`. The same image again is fine. Raises `Refused`, `NotRecorded`.

    `trust`: whom to go by; this site's own keys without it. `beside`: statements of others about this image, for a
    trust file that wants several signers; they are kept beside the release. `skip_policy` is somebody's reason for not
    minding what the policies say.
    """
    signed = read_signed(signed_dir)
    board = load_board(board_file(project_root(Path.cwd()), signed.release.board))
    trust = trust or site_trust(site, "this-site", allow_development=True, allow_emulated=True)
    check_not_withdrawn(site.store, signed.release, trust)
    others = statement_forms.by_type(beside)
    image = verify_parts(signed.release, signed.image, signed.bundles, trust, board, signed.rauc, others=others)
    for each in signed.patches:
        verify_patch_parts(
            signed.release, each.patch, each.data, each.bundle, trust, others.get(PredicateType.PATCH.value, ())
        )
    question = Question(Point.PUBLISH, image, board, trust, bundles=signed.bundles)
    policy = enforce(site, question, skip=skip_policy, say=say)
    patches = [data for each in signed.patches for data in (each.data, each.bundle)]
    for data in (signed.image, *signed.bundles.values(), *patches, *([signed.rauc] if signed.rauc else [])):
        site.store.put(data)
    manifest = site.store.publish(signed.release)
    # The store may have had this image under this name before: then its release of that time is the one.
    release = site.store.find(signed.release.name, signed.release.version, signed.release.board)
    _check_same_patches(signed.release, release)
    attach_logged(site, release)
    for bundle in beside:
        statement_forms.take_in(site.store, release, bundle, trust)
    record = site.recorder.record(release_statement(release, policy), RecordType.RELEASE, Role.BUILDER)
    return Published(release, manifest, record, policy, _cautions(site.store, release, board))


def _cautions(store: Store, release: Release, board: Board) -> tuple[str, ...]:
    others = [each for each in store.releases() if each.board == board.name and each.name != release.name]
    need = unmet_need(release, (*offers_of_board(board), *map(offer_of, others)))
    return (f"nothing in the store serves it yet: {need}",) if need else ()


def _check_same_patches(wanted: Release, published: Release) -> None:
    """A release that was published before keeps the patches of that time; others than those are no part of it."""
    missing = {patch.base for patch in wanted.patches} - {patch.base for patch in published.patches}
    if missing:
        raise Refused(
            f"{published.reference} was published before, without a patch from {', '.join(sorted(missing))}",
            remedy="make the patches before a release is published; units take the whole image instead",
        )
