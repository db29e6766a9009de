# SPDX-License-Identifier: Apache-2.0
"""Withdraw a release: a signed statement in the log and in the store, which every station that gets it obeys.

Guards: the statement is durable in the log before anything else changes; a withdrawal that was cut short goes on with
the statement of the first time, and a second one for the same release changes nothing; one from elsewhere is signed by
who may withdraw before it is kept, since it counts for ever from then on.
Leaves to others: what a withdrawal means (`withdrawals`), carrying it to stations (`repository_publish`).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.errors import Refused
from assay.model.artifact import Release
from assay.model.predicates import Withdrawal
from assay.model.record import RecordType
from assay.model.statement import PredicateType, Subject
from assay.model.trust import Role, TrustFile
from assay.pipeline.journal import user_name
from assay.pipeline.policy_adoption import parse_reason
from assay.pipeline.release_gate import goes_by_summary
from assay.pipeline.run_journal import timestamp
from assay.pipeline.unit_records import parse_reference, statement_of
from assay.pipeline.withdrawals import Withdrawn, check_signed, read_withdrawal, withdrawal_of

if TYPE_CHECKING:
    from assay.pipeline.site import Site


@dataclass(frozen=True)
class Withdrawing:
    """The withdrawal that counts now, and whether it was made by this call."""

    withdrawn: Withdrawn
    release: Release
    made_now: bool


def withdraw(site: Site, reference: str, board: str, reason: str) -> Withdrawing:
    """Withdraw `reference` for `board`. Raises `UsageFault` when the store has none, `NotRecorded`, `StorageError`."""
    reason = parse_reason(reason)
    name, version = parse_reference(reference)
    release = site.store.find(name, version, board)
    there = withdrawal_of(site.store, release)
    if there is not None:
        return Withdrawing(there, release, made_now=False)
    found = _recorded(site, release)
    made = found or _record(site, release, reason)
    site.store.withdraw((made.says.manifest_sha256, made.says.manifest_size), made.bundle)
    return Withdrawing(made, release, made_now=found is None)


def _record(site: Site, release: Release, reason: str) -> Withdrawn:
    manifest = site.store.publish(release)  # which is there: this is how a store is asked for its digest
    predicate = Withdrawal(
        release=release.reference,
        board=release.board,
        image_hash=release.image.image_hash,
        manifest_sha256=manifest,
        manifest_size=len(site.store.get(manifest)),
        reason=reason,
        by=f"{user_name()} on {socket.gethostname()}",
        at=timestamp(site.clock),
        checkpoint=site.recorder.checkpoint().decode(),
    )
    subject = Subject(name=release.reference, digest={"sha256": release.image.file_sha256})
    statement = statement_of(PredicateType.WITHDRAWAL, predicate, subject)
    ref = site.recorder.record(statement, RecordType.WITHDRAWAL, Role.BUILDER)
    return read_withdrawal(site.recorder.bundle(ref))


def _recorded(site: Site, release: Release) -> Withdrawn | None:
    """The withdrawal in the log, of a call that was cut short before the store had it."""
    site.recorder.recover()
    if not (site.folder / "log" / "checkpoint").is_file():
        return None
    for _, entry in site.records.entries():
        if entry.type is RecordType.WITHDRAWAL:
            found = read_withdrawal(site.records.record(entry.record))
            if found.is_about(release):
                return found
    return None


def import_withdrawals(site: Site, bundles: Iterable[bytes], trust: TrustFile) -> tuple[Withdrawn, ...]:
    """Keep withdrawals that came from elsewhere: all of them, or none when one is not signed by who may withdraw.

    Raises `NotVerified`, `Refused` for a statement that withdraws nothing, `StorageError`.
    """
    found = tuple(_read_signed(bundle, trust) for bundle in bundles)
    for each in found:
        site.store.withdraw((each.says.manifest_sha256, each.says.manifest_size), each.bundle)
    return found


def _read_signed(bundle: bytes, trust: TrustFile) -> Withdrawn:
    """A trust file that names nobody who builds cannot tell; then the repository, whose roles signed the list that it
    is in, vouches for it, as a trusted log does for one in a bundle (`incoming_release`).
    """
    found = read_withdrawal(bundle)
    if len(found.file_sha256) != len("0" * 64):
        raise Refused("a withdrawal names no image", remedy="get it again from who withdrew the release")
    if not goes_by_summary(trust):
        check_signed(found, trust)
    return found
