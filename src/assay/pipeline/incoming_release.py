# SPDX-License-Identifier: Apache-2.0
"""A release that came from elsewhere (in a bundle, from a registry) into a store of its own, before it is kept.

Guards: the release passes the gate; every patch and every statement that came with it verifies, is of its type and is
about this very image; what has to be logged is. Leaves to others: how it came (`bundle_import`, `registry_pull`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from assay.backends.stores.oci_layout import OciLayoutStore
from assay.errors import NotVerified
from assay.formats import oci_layout
from assay.formats.release_bundle import LogPart
from assay.formats.statement_verifier import signers_of, verify_statement, without_thresholds
from assay.model.artifact import Release
from assay.model.predicates import Withdrawal
from assay.model.statement import PredicateType
from assay.model.trust import Check, TrustFile
from assay.pipeline.manifest_files import board_file, load_board, project_root
from assay.pipeline.patch_gate import verify_patch
from assay.pipeline.release_gate import goes_by_summary, verify_release
from assay.pipeline.withdrawals import check_not_withdrawn, check_signed, withdrawals

STATEMENTS_MAX = 256
"""Statements that refer to one release; each is read and verified before any is kept."""


def verify_incoming(
    staged: OciLayoutStore, release: Release, trust: TrustFile, log: LogPart | None = None
) -> tuple[Check, ...]:
    """What was checked of `release` in `staged`. Raises `NotVerified`, `Refused`."""
    board = load_board(board_file(project_root(Path.cwd()), release.board))
    checks = list(verify_release(staged, trust, release.name, release.version, board).checks)
    by_summary = goes_by_summary(trust)
    if by_summary:
        checks.append(Check("statements of builders came along, and were not asked", caution=True))
    for patch in () if by_summary else release.patches:
        checks += verify_patch(staged, trust, release, patch).checks
    for kind, bundle, sha256 in _statements(staged, release):
        if by_summary and kind != PredicateType.SUMMARY:
            continue
        checks += _verify(kind, bundle, release, trust)
        if log is not None and sha256 in log.records:
            checks.append(Check(f"{kind} is entry {log.records[sha256]} of the log '{log.head.origin}'"))
    if log is not None:
        _check_logged(staged, release, log)
    return tuple(checks)


def check_withdrawals(
    here: OciLayoutStore, staged: OciLayoutStore, trust: TrustFile, log: LogPart | None = None
) -> tuple[Withdrawal, ...]:
    """The withdrawals that came along, each by a signer who may say so, since in a store each counts for ever. With a
    trust file that names no builder the trusted `log` has to hold it.

    Raises `NotVerified` for one that nobody trusted signed, `Refused` for a release that is withdrawn here already.
    """
    found = withdrawals(staged)
    for each in found:
        logged = log is not None and hashlib.sha256(each.bundle).hexdigest() in log.records
        if not (logged and goes_by_summary(trust)):
            check_signed(each, trust)
    for release in staged.releases():
        check_not_withdrawn(here, release, trust)
    return tuple(each.says for each in found)


def _statements(staged: OciLayoutStore, release: Release) -> list[tuple[str, bytes, str]]:
    """Predicate type, bundle and its digest, of all that refers to `release`."""
    index = staged.index()
    descriptor = staged.part_of([release]).manifests[0]
    found = []
    for each in staged.referring(index, descriptor):
        manifest = oci_layout.read_manifest(staged.get(each.sha256))
        kind = (manifest.annotations or {}).get(oci_layout.PREDICATE_ANNOTATION, "")
        found.append((kind, staged.get(manifest.layers[0].sha256), manifest.layers[0].sha256))
    if len(found) > STATEMENTS_MAX:
        text = f"{len(found)} statements refer to {release.reference}; {STATEMENTS_MAX} are taken at most"
        raise NotVerified(text, remedy="ask who made it for a release with fewer of them")
    return found


def _verify(kind: str, bundle: bytes, release: Release, trust: TrustFile) -> tuple[Check, ...]:
    """Patches have files of their own as subject, which the gate for patches compares."""
    roles = signers_of(kind)
    if not roles:
        text = f"{release.reference} came with a statement of the type '{kind}', which nobody may sign"
        raise NotVerified(text, remedy="ask who made it")
    subject = None if kind == PredicateType.PATCH else release.image.file_sha256
    alone = without_thresholds(trust)  # whoever goes by them counts
    return verify_statement(bundle, alone, role=roles, predicate_types={kind}, subject_sha256=subject).checks


def _check_logged(staged: OciLayoutStore, release: Release, log: LogPart) -> None:
    needed = dict(release.attestations)
    needed |= {f"patch from {patch.base}": patch.statement for patch in release.patches}
    released = [sha for kind, _, sha in _statements(staged, release) if kind == PredicateType.RELEASE]
    needed["release"] = next((sha for sha in released if sha in log.records), "")
    for what, sha256 in needed.items():
        if sha256 not in log.records:
            raise NotVerified(
                f"the log '{log.head.origin}' is not shown to hold the {what} statement of {release.reference}",
                remedy="export it again where it was made: a statement that is in no log may be hidden from others",
            )
