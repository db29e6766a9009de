# SPDX-License-Identifier: Apache-2.0
"""The statements of a published release in the form that counts: as published, or as logged or stamped since.

Guards: another form is the very same statement (the same payload), verified by the same trust file; one that does not
verify never stands in the way of the one that was published.
Leaves to others: whether the statement is the release's (`release_gate`), making forms (`log_submit`, `restamp`).
"""

from __future__ import annotations

import hashlib

from assay.errors import AssayError
from assay.formats import sigstore_bundle
from assay.formats.statement_verifier import signers_of, verify_statement
from assay.interfaces.store import Store
from assay.model.artifact import Release
from assay.model.statement import PredicateType
from assay.model.trust import TrustFile


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


def statements(release: Release) -> list[tuple[str, str]]:
    """Type and SHA-256 of each statement that was published with `release`."""
    patches = [(PredicateType.PATCH.value, patch.statement) for patch in release.patches]
    return [*sorted(release.attestations.items()), *patches]


def _is_accepted(form: bytes, kind: str, published: bytes, trust: TrustFile) -> bool:
    try:
        if payload_sha256(form) != payload_sha256(published):
            return False
        verify_statement(form, trust, role=signers_of(kind), predicate_types={kind})
    except AssayError:
        return False
    return True
