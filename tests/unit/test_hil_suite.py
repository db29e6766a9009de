# SPDX-License-Identifier: Apache-2.0
"""A suite's digest and copy, its sandbox, the event files: what is run is what was digested, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from assay.errors import InfrastructureError, StorageError, UsageFault
from assay.pipeline import test_sandbox
from assay.pipeline.test_events import EventFile, read_events
from assay.pipeline.test_suite import read_suite
from assay.stages.hil.events import SessionFinished, SessionStarted

AT = "2026-11-23T10:00:00.000Z"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    suite = tmp_path / "suite"
    (suite / "data").mkdir(parents=True)
    (suite / "test_a.py").write_text("def test_a(): pass\n")
    (suite / "data" / "with space.bin").write_bytes(bytes(range(256)))
    (suite / "tool.sh").write_text("#!/bin/sh\n")
    (suite / "tool.sh").chmod(0o755)
    return suite


def test_the_digest_is_what_coreutils_say(folder: Path) -> None:
    line = "find . -type f ! -path '*/__pycache__/*' -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum"
    theirs = subprocess.run(f"{line} | sha256sum", shell=True, cwd=folder, capture_output=True, text=True, check=True)
    assert read_suite(folder).sha256 == theirs.stdout[:64]


def test_every_byte_and_every_name_is_in_the_digest(folder: Path) -> None:
    before = read_suite(folder).sha256
    (folder / "data" / "with space.bin").write_bytes(bytes(256))
    changed = read_suite(folder).sha256
    (folder / "test_a.py").rename(folder / "test_b.py")
    assert len({before, changed, read_suite(folder).sha256}) == 3


def test_what_python_leaves_is_neither_digested_nor_copied(folder: Path, tmp_path: Path) -> None:
    before = read_suite(folder).sha256
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "helper.py").write_text("evil = True\n")
    suite = read_suite(folder)
    assert suite.sha256 == before
    suite.copy_to(tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").rglob("*")) == sorted(
        ["data", "test_a.py", "tool.sh", "with space.bin"]
    )
    assert os.access(tmp_path / "copy" / "tool.sh", os.X_OK)
    assert read_suite(tmp_path / "copy").sha256 == before


def test_links_and_odd_files_are_refused(folder: Path) -> None:
    (folder / "outside").symlink_to("/etc")
    with pytest.raises(UsageFault, match="is a link"):
        read_suite(folder)
    (folder / "outside").unlink()
    (folder / "a\nb.py").touch()
    with pytest.raises(UsageFault, match="cannot be written in a list"):
        read_suite(folder)
    with pytest.raises(UsageFault, match="no suite at"):
        read_suite(folder / "test_a.py")


def test_a_copy_that_cannot_be_written_is_a_storage_error(folder: Path) -> None:
    with pytest.raises(StorageError, match="File exists"):
        read_suite(folder).copy_to(folder)


def test_events_come_back_in_order_and_one_folder_is_one_run(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "events", "main")
    began, ended = SessionStarted(worker="main", suite="s", at=AT), SessionFinished(worker="main", exit_status=0, at=AT)
    file.write(began)
    file.write(ended)
    file.close()
    assert read_events(tmp_path / "events") == [began, ended]
    with pytest.raises(StorageError, match="results of another run"):
        EventFile(tmp_path / "events", "main")


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"Not a directory|File exists"):
        EventFile(tmp_path / "file" / "events", "main")


def test_somebody_elses_lines_are_not_believed(tmp_path: Path) -> None:
    (tmp_path / "main.events.jsonl").write_text("PASS\n")
    with pytest.raises(InfrastructureError, match="not an event"):
        read_events(tmp_path)
    (tmp_path / "main.events.jsonl").unlink()
    (tmp_path / "main.events.jsonl").symlink_to("/dev/zero")
    with pytest.raises(StorageError, match="not a file of events"):
        read_events(tmp_path)


def test_without_bubblewrap_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    test_sandbox.why_not.cache_clear()
    try:
        assert "apt-get install bubblewrap" in test_sandbox.why_not()
        assert test_sandbox.choose() == "none"
    finally:
        test_sandbox.why_not.cache_clear()
