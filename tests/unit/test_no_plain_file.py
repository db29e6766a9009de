# SPDX-License-Identifier: Apache-2.0
"""A site that somebody brings, with a pipe in the place of a file: told at once, and nobody waits for a writer."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from token_bench import place_in

from assay.backends import named_file
from assay.backends.named_file import read_kept
from assay.backends.records.record_store import RecordStore
from assay.backends.repository.floor import Floor
from assay.backends.repository.pending_root import PendingRoot
from assay.backends.repository.repository_folder import RepositoryFolder
from assay.backends.repository.sources import FolderSource
from assay.backends.repository.tuf_client import TufClient
from assay.backends.roots.tuf_folder import read_root
from assay.backends.signers.key_folder import KeyFolder
from assay.backends.signers.keyless import keep_root, own_trust, read_trust_config
from assay.backends.signers.log_queue import LogQueue
from assay.backends.signers.wrong_pin import WrongPin
from assay.backends.stores.oci_layout import OciLayoutStore
from assay.errors import Refused, StorageError, UsageFault
from assay.model.keyless import KeylessSettings
from assay.model.keys import PinSource
from assay.model.trust import TrustFile
from assay.pipeline.keyless_setup import _read_config
from assay.pipeline.site import Site
from assay.pipeline.site_keys import _read_public
from assay.pipeline.trace_site import _ca_node
from assay.pipeline.trust_file import read_image_key

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


SETTINGS = KeylessSettings(schema="assay.keyless/1", issuer="https://i", identity="i@i", trust_config="config.json")


def test_how_the_builder_signs_is_not_passed_over(tmp_path: Path) -> None:
    """A pipe, or a link that leads nowhere, in the place of keyless.toml was a builder that signs with its key."""
    os.mkfifo(tmp_path / "keyless.toml")
    with pytest.raises(StorageError, match=r"keyless.toml cannot be read: it is no plain file"):
        _ = Site(tmp_path).keyless
    (tmp_path / "keyless.toml").unlink()
    (tmp_path / "keyless.toml").symlink_to("nowhere")
    with pytest.raises(StorageError, match=r"keyless.toml cannot be read: No such file"):
        _ = Site(tmp_path).keyless


def test_what_keyless_signing_reads(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(UsageFault, match=r"the trust config .*config.json cannot be read"):
        read_trust_config(tmp_path, SETTINGS)
    os.mkfifo(tmp_path / "keyless_root.json")
    with pytest.raises(StorageError, match=r"keyless_root.json cannot be read"):
        own_trust(tmp_path, SETTINGS)
    with pytest.raises(StorageError, match=r"keyless_root.json"):
        keep_root(tmp_path, "{}")
    (tmp_path / "keys").mkdir()
    os.mkfifo(tmp_path / "keys" / f"{'0' * 64}.pem")
    assert LogQueue(tmp_path).public_key("0" * 64) is None


def test_what_a_person_names_and_nobody_writes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_file, "PIPE_TIMEOUT_S", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageFault, match="pipe cannot be read: nothing came from this pipe"):
        _read_config(tmp_path / "pipe")
    with pytest.raises(UsageFault, match="no PEM file that can be read"):
        _read_public(tmp_path / "pipe")
    with pytest.raises(UsageFault, match="no PEM file that can be read"):
        read_image_key(f"board={tmp_path / 'pipe'}")


def test_what_is_remembered_of_a_pin(tmp_path: Path) -> None:
    """The signer process waited; what cannot be read counts as a PIN that was wrong."""
    place = place_in(tmp_path)
    wrong = WrongPin("factory", PinSource(env="ASSAY_PIN"), place)
    wrong.giving()
    (kept,) = tmp_path.glob("wrong-pin-*")
    kept.unlink()
    os.mkfifo(kept)
    with pytest.raises(Refused, match="was wrong the last time"):
        wrong.check(locked=True)


@pytest.mark.parametrize("role", ["timestamp", "root"])
def test_the_cache_of_a_repository(tmp_path: Path, role: str) -> None:
    """The library reads it, too: it would wait for ever."""
    (tmp_path / "cache").mkdir()
    os.mkfifo(tmp_path / "cache" / f"{role}.json")
    client = TufClient(tmp_path / "cache", tmp_path / "floor", FolderSource(tmp_path / "repository"))
    with pytest.raises(StorageError, match=f"cache cannot be used: .*{role}.json: it is no plain file"):
        client.refresh(b"{}", datetime.now(UTC))


def test_the_metadata_of_a_repository(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    os.mkfifo(tmp_path / "metadata" / "1.root.json")
    os.mkfifo(tmp_path / "metadata" / "timestamp.json")
    folder = RepositoryFolder(tmp_path, Floor(tmp_path / "floor"), PendingRoot(tmp_path / "pending"))
    with pytest.raises(StorageError, match="cannot be read: it is no plain file"):
        folder.current(frozenset({"a"}))


def test_where_trusted_roots_are_kept(tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "timestamp.json").write_text("{}")
    (tmp_path / "state" / "metadata").mkdir(parents=True)
    os.mkfifo(tmp_path / "state" / "metadata" / "root.json")
    with pytest.raises(StorageError, match=r"state cannot be used: .*root.json: it is no plain file"):
        read_root(tmp_path / "stick", tmp_path / "state", datetime.now(UTC))
