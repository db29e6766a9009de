# SPDX-License-Identifier: Apache-2.0
"""Releases that were withdrawn: who may not use them any more, and why.

Guards: a withdrawal that lies in the store counts whoever signed it, since the other way round somebody who damages its
signature would bring the release back; who signed it is said. It holds for the image, by the digest of its file, under
whatever name it is published again. Nothing takes a withdrawal back.
Leaves to others: keeping the statements (`interfaces.store`), making one (`withdrawing`).
"""

from __future__ import annotations

from dataclasses import dataclass

from assay.errors import AssayError, NotVerified, Refused
from assay.formats import sigstore_bundle
from assay.formats.statement_verifier import read_statement, signers_of, verify_statement
from assay.interfaces.store import Store
from assay.model.artifact import Release
from assay.model.predicates import Withdrawal
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.trace_record import read_predicate


@dataclass(frozen=True)
class Withdrawn:
    """A withdrawal as it lies in a store; nothing of it is verified."""

    says: Withdrawal
    file_sha256: str
    bundle: bytes

    def is_about(self, release: Release) -> bool:
        """Whether it is about the image of `release`, or about another one under its name."""
        named = (self.says.release, self.says.board) == (release.reference, release.board)
        return named or self.file_sha256 == release.image.file_sha256


def read_withdrawal(bundle: bytes) -> Withdrawn:
    """The withdrawal in `bundle`. Raises `NotVerified` for anything else."""
    statement = read_statement(sigstore_bundle.decode(bundle).envelope.payload)
    if statement.predicateType != PredicateType.WITHDRAWAL:
        raise NotVerified("this statement withdraws nothing", remedy="get it again from who withdrew the release")
    predicate = read_predicate(Withdrawal, statement.predicate)
    assert isinstance(predicate, Withdrawal)
    return Withdrawn(predicate, statement.subject[0].digest.get("sha256", ""), bundle)


def withdrawals(store: Store) -> tuple[Withdrawn, ...]:
    """All withdrawals that the store knows, the oldest first. Raises `NotVerified`, `StorageError`."""
    return tuple(read_withdrawal(bundle) for bundle in store.withdrawals())


def withdrawal_of(store: Store, release: Release) -> Withdrawn | None:
    """The withdrawal of `release`, if it was withdrawn."""
    return next((found for found in withdrawals(store) if found.is_about(release)), None)


def check_signed(found: Withdrawn, trust: TrustFile) -> None:
    """Raises `NotVerified` for a withdrawal that nobody signed who may, as `trust` says."""
    role, kinds = signers_of(PredicateType.WITHDRAWAL), {PredicateType.WITHDRAWAL.value}
    try:
        verify_statement(found.bundle, trust, role=role, predicate_types=kinds, subject_sha256=found.file_sha256)
    except NotVerified as error:
        text = f"the withdrawal of {found.says.release} for {found.says.board} is not to be kept: {error.message}"
        raise NotVerified(text, remedy="ask who gave it to you: in a store it would count for ever") from error


def check_not_withdrawn(store: Store, release: Release, trust: TrustFile) -> None:
    """Raises `Refused` with the reason when `release` was withdrawn."""
    found = withdrawal_of(store, release)
    if found is not None:
        raise refusal(found, trust)


def refusal(found: Withdrawn, trust: TrustFile) -> Refused:
    """The error that says when, by whom and why."""
    says = found.says
    return Refused(
        f"{says.release} for {says.board} was withdrawn on {says.at} by {says.by}: {says.reason} ({who(found, trust)})",
        remedy="use another release; a withdrawal is for ever, what was withdrawn by mistake gets another version",
    )


def who(found: Withdrawn, trust: TrustFile) -> str:
    """Who signed a withdrawal, as far as `trust` can tell."""
    try:
        kinds = {PredicateType.WITHDRAWAL}
        verified = verify_statement(found.bundle, trust, role=Role.BUILDER, predicate_types=kinds)
    except AssayError:
        return f"signed by nobody that '{trust.name}' names as a builder"
    return f"signed by {verified.signer.name}"
