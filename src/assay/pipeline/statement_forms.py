# SPDX-License-Identifier: Apache-2.0
"""The statements of a published release in the form that counts: as published, or as logged or stamped since.

Guards: another form is the very same statement (the same payload), verified by the same trust file; one that does not
verify never stands in the way of the one that was published.
Leaves to others: whether the statement is the release's (`release_gate`), making forms (`log_submit`, `restamp`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from assay.errors import AssayError, UsageFault
from assay.formats import sigstore_bundle
from assay.formats.statement_verifier import read_statement, signers_of, verify_statement, without_thresholds
from assay.interfaces.store import Store
from assay.model.artifact import Release
from assay.model.statement import PredicateType
from assay.model.trust import TrustFile, VerifiedStatement

_COUNTED = {PredicateType.PROVENANCE.value, PredicateType.SBOM.value, PredicateType.SUMMARY.value}
_COUNTABLE = "a provenance, a bill of materials, a summary or a rebuild"


def payload_sha256(bundle: bytes) -> str:
    """What a statement is known by, in whatever form: the SHA-256 of its payload. Raises `NotVerified`."""
    return hashlib.sha256(sigstore_bundle.decode(bundle).envelope.payload).hexdigest()


def newest_form(store: Store, release: Release, kind: str, published: bytes, trust: TrustFile) -> bytes:
    """The newest form of the statement `published` (of the type `kind`) beside `release` that `trust` accepts;
    `published` itself when there is none. Raises `StorageError`.
    """
    for form in reversed(store.attached(release, kind)):
        if form != published and _is_accepted(form, kind, published, trust):
            return form
    return published


def attach_forms(store: Store, release: Release, forms: dict[str, bytes]) -> int:
    """Put beside `release` what `forms` has of its statements, by `payload_sha256`; answers how many were new."""
    attached = 0
    for kind, digest in statements(release):
        form = forms.get(payload_sha256(store.get(digest)))
        if form is not None and form not in store.attached(release, kind):
            store.attach(release, kind, form)
            attached += 1
    return attached


def take_in(store: Store, release: Release, bundle: bytes, trust: TrustFile) -> VerifiedStatement:
    """Keep somebody else's statement about the image of `release` beside it, once it verifies: a trust file that wants
    several signers counts it. Raises `NotVerified`, `UsageFault` for a type that no gate counts.
    """
    kind = _counted_kind(bundle)
    found = verify_statement(
        bundle,
        without_thresholds(trust),
        role=signers_of(kind),
        predicate_types={kind},
        subject_sha256=release.image.file_sha256,
    )
    if bundle not in store.attached(release, kind):
        store.attach(release, kind, bundle)
    return found


def by_type(bundles: Sequence[bytes]) -> dict[str, list[bytes]]:
    """Statements of others by predicate type; nothing of them is verified. Raises `NotVerified` for what is none,
    `UsageFault` for a type that no gate counts.
    """
    found: dict[str, list[bytes]] = {}
    for bundle in bundles:
        found.setdefault(_counted_kind(bundle), []).append(bundle)
    return found


def _counted_kind(bundle: bytes) -> str:
    kind = read_statement(sigstore_bundle.decode(bundle).envelope.payload).predicateType
    if kind not in _COUNTED:
        raise UsageFault(f"statements of the type {kind} are not counted beside a release", remedy=f"give {_COUNTABLE}")
    return kind


def statements(release: Release) -> list[tuple[str, str]]:
    """Type and SHA-256 of each statement that was published with `release`."""
    patches = [(PredicateType.PATCH.value, patch.statement) for patch in release.patches]
    return [*sorted(release.attestations.items()), *patches]


def _is_accepted(form: bytes, kind: str, published: bytes, trust: TrustFile) -> bool:
    try:
        if payload_sha256(form) != payload_sha256(published):
            return False
        verify_statement(form, without_thresholds(trust), role=signers_of(kind), predicate_types={kind})
    except AssayError:
        return False
    return True
