# SPDX-License-Identifier: Apache-2.0
"""Any JSON value survives its canonical form; any bytes at all are read or refused, and nothing else."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from assay.errors import NotVerified
from assay.formats import canonical_json, checkpoint, signed_note, sigstore_bundle, strict_json
from assay.formats.statement_verifier import read_statement

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e300, 1e300) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_canonical_form_reads_back(value: Any) -> None:
    data = canonical_json.encode(value)
    assert strict_json.loads(data, "it") == value
    assert canonical_json.encode(strict_json.loads(data, "it")) == data


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_bytes_are_read_or_refused(data: bytes) -> None:
    for reader in (
        lambda: strict_json.loads(data, "it"),
        lambda: sigstore_bundle.decode(data),
        lambda: read_statement(data),
        lambda: signed_note.parse(data),
        lambda: checkpoint.read(data),
    ):
        with contextlib.suppress(NotVerified):
            reader()


@given(VALUES)
def test_json_is_no_bundle_by_chance(value: Any) -> None:
    for reader in (sigstore_bundle.decode, read_statement):
        with contextlib.suppress(NotVerified):
            reader(canonical_json.encode({"mediaType": sigstore_bundle.MEDIA_TYPE, "verificationMaterial": value}))
