# SPDX-License-Identifier: Apache-2.0
"""A dossier in one file: the same bytes each time, and nothing is read that would have been written otherwise."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from assay.errors import NotVerified, UsageFault
from assay.formats import canonical_tar, trace_archive
from assay.model.trace import Dossier, LoggedRecord

IMAGE = b"image" * 100
DIGEST = hashlib.sha256(IMAGE).hexdigest()
DOSSIER = Dossier(
    serial="DEMO-000001",
    checkpoint=b"assay.local/1\n2\nAAAA\n\n- x\n",
    records=(
        LoggedRecord(0, b'{"a":1}', (b"\x01" * 32,), b"bundle 0"),
        LoggedRecord(7, b'{"a":2}', (b"\x02" * 32, b"\x03" * 32), b"bundle 7"),
    ),
    consistency={0: (), 1: (b"\x04" * 32,)},
    files={DIGEST: IMAGE},
    leaves=(b'{"a":1}', b"", b'{"a":2}'),
)


def test_what_goes_in_comes_out() -> None:
    assert trace_archive.decode(trace_archive.encode(DOSSIER)) == DOSSIER
    without = replace(DOSSIER, leaves=None)
    assert trace_archive.decode(trace_archive.encode(without)) == without


def test_order_of_making_does_not_matter() -> None:
    other = replace(DOSSIER, consistency=dict(reversed(DOSSIER.consistency.items())))
    assert trace_archive.encode(other) == trace_archive.encode(DOSSIER)


@pytest.mark.parametrize("record", [
    LoggedRecord(None, None, (), b"bundle"),
    LoggedRecord(3, b"{}", (), None),
])  # fmt: skip
def test_a_chain_with_a_gap_is_not_exported(record: LoggedRecord) -> None:
    with pytest.raises(UsageFault, match="missing"):
        trace_archive.encode(replace(DOSSIER, records=(record,)))


def test_a_file_that_nobody_names() -> None:
    assert_refused(changed({"files/" + "0" * 64: b"x"}), "one spelling")


@pytest.mark.parametrize("name", ["index.json", "log/checkpoint", "log/entries", "files/" + DIGEST,
                                  "records/00000007/entry.json", "records/00000007/record.sigstore.json"])  # fmt: skip
def test_a_file_that_is_not_there(name: str) -> None:
    members = canonical_tar.decode(trace_archive.encode(DOSSIER))
    del members[name]
    assert_refused(canonical_tar.encode(members), "lacks")


@pytest.mark.parametrize("index", [
    b"[]",
    b"{",
    b'{"schema":"assay.export/2"}',
    b'{"schema":"assay.export/1","schema":"assay.export/1"}',
    b'{"schema":"assay.export/1","serial":"../x","complete":true,"records":[],"consistency":[],"files":[]}',
    b'{"schema":"assay.export/1","serial":"A","complete":true,"records":[],"consistency":[],"files":["../../etc"]}',
    b'{"schema":"assay.export/1","serial":"A","complete":true,"records":[],"consistency":[],"files":[],"more":1}',
    b'{"schema":"assay.export/1","serial":"A","complete":true,"records":[{"index":-1,"hashes":[]}],"consistency":[],"files":[]}',
    b'{"schema":"assay.export/1","serial":"A","complete":true,"records":[{"index":1,"hashes":[1]}],"consistency":[],"files":[]}',
])  # fmt: skip
def test_an_index_that_we_would_not_write(index: bytes) -> None:
    assert_refused(changed({"index.json": index}), "index.json|one spelling")


def test_an_index_with_a_space_more() -> None:
    members = canonical_tar.decode(trace_archive.encode(DOSSIER))
    assert_refused(changed({"index.json": members["index.json"].replace(b":", b": ", 1)}), "one spelling")


def test_entries_cut_in_the_middle() -> None:
    members = canonical_tar.decode(trace_archive.encode(DOSSIER))
    assert_refused(changed({"log/entries": members["log/entries"][:-1]}), "one spelling")


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    data = trace_archive.encode(DOSSIER)
    monkeypatch.setattr(trace_archive, "EXPORT_BYTES_MAX", len(data) - 1)
    assert_refused(data, "limit")
    with pytest.raises(UsageFault, match="limit"):
        trace_archive.encode(DOSSIER)


def changed(members: dict[str, bytes]) -> bytes:
    return canonical_tar.encode(canonical_tar.decode(trace_archive.encode(DOSSIER)) | members)


def assert_refused(data: bytes, words: str) -> None:
    with pytest.raises(NotVerified, match=words):
        trace_archive.decode(data)
