# SPDX-License-Identifier: Apache-2.0
"""A site that somebody brings, with a pipe in the place of a file: told at once, and nobody waits for a writer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assay.backends.named_file import read_kept
from assay.backends.records.record_store import RecordStore
from assay.backends.repository.floor import Floor
from assay.backends.signers.key_folder import KeyFolder
from assay.backends.signers.log_queue import LogQueue
from assay.backends.stores.oci_layout import OciLayoutStore
from assay.errors import StorageError
from assay.model.trust import TrustFile
from assay.pipeline.trace_site import _ca_node

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


def test_the_certificate_of_a_device_ca(tmp_path: Path) -> None:
    """`assay trace` waited for whoever writes to the pipe."""
    os.mkfifo(tmp_path / "0123456789abcdef.der")
    (fault,) = _ca_node(tmp_path, TrustFile(schema="assay.trust/1", name="somebody")).faults
    assert "0123456789abcdef.der cannot be read: it is no plain file" in str(fault)


def test_keys_what_waits_for_a_log_and_what_was_verified_last(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "keys.toml")
    with pytest.raises(StorageError, match="it is no plain file"):
        KeyFolder(tmp_path).table()
    os.mkfifo(tmp_path / "0123.sigstore.json")
    with pytest.raises(StorageError, match="cannot be read: it is no plain file"):
        list(LogQueue(tmp_path).each())
    with pytest.raises(StorageError, match="cannot be read: it is no plain file"):
        Floor(tmp_path / "keys.toml").read()
