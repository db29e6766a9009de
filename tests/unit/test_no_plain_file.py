# SPDX-License-Identifier: Apache-2.0
"""A site that somebody brings, with a pipe in the place of a file: told at once, and nobody waits for a writer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assay.backends.named_file import read_kept
from assay.backends.records.record_store import RecordStore
from assay.backends.stores.oci_layout import OciLayoutStore
from assay.errors import StorageError

pytestmark = pytest.mark.timeout(20)


def test_a_file_is_read_and_a_pipe_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    assert read_kept(tmp_path / "file") == b"data"
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(OSError):
            read_kept(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_kept(tmp_path / "none")


def test_the_index_of_a_store(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "index.json")
    with pytest.raises(StorageError, match="cannot be read: it is no plain file"):
        OciLayoutStore(tmp_path).index()


def test_a_record(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    os.mkfifo(tmp_path / "records" / f"{'0' * 64}.json")
    with pytest.raises(StorageError, match="cannot be read: it is no plain file"):
        RecordStore(tmp_path).record("0" * 64)
