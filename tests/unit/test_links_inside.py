# SPDX-License-Identifier: Apache-2.0
"""A site whose files were moved elsewhere, with symbolic links in their place: the bytes are right, and lie where
nobody keeps them for this site.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from test_log_verify import SIGNER, fill, look, sample, site, statement

from assay.backends.clocks.system_clock import SystemClock
from assay.backends.logs.tile_folder import TileFolder
from assay.backends.named_file import LinkInside, NoPlainFile, read_beneath
from assay.backends.records.site_recorder import SiteRecorder
from assay.errors import NotRecorded, NotVerified
from assay.model.record import RecordType
from assay.model.trust import Role, TrustFile
from assay.pipeline.trace_site import verify_site

__all__ = ["sample", "site"]
FOLDERS = ("records", "attachments", "log", "log/tile", "log/tile/0")


def moved(path: Path, to: Path) -> None:
    """What is at `path` is at `to`, and a link leads there."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, to)
    path.symlink_to(to)


def test_every_file_moved_elsewhere(site: tuple[Path, TrustFile], tmp_path: Path) -> None:
    folder, trust = site
    files = [path for name in FOLDERS[:3] for path in sorted((folder / name).rglob("*")) if path.is_file()]
    assert len(files) > 8
    for number, path in enumerate(files):
        there = tmp_path / "elsewhere" / str(number)
        moved(path, there)
        (first, *_) = look(folder, trust).faults
        assert f"{path} is a symbolic link" in first.what, path
        path.unlink()
        shutil.move(there, path)
    assert look(folder, trust).faults == []


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_moved_elsewhere(site: tuple[Path, TrustFile], tmp_path: Path, name: str) -> None:
    folder, trust = site
    moved(folder / name, tmp_path / "elsewhere")
    assert f"{folder / name} is a symbolic link" in look(folder, trust).faults[0].what
    assert any(node.broken for node in verify_site(folder, trust))


def test_the_site_itself_may_be_reached_by_a_link(site: tuple[Path, TrustFile], tmp_path: Path) -> None:
    folder, trust = site
    moved(folder, tmp_path / "elsewhere")
    assert look(folder, trust).faults == []


def test_a_link_that_no_tile_is(site: tuple[Path, TrustFile], tmp_path: Path) -> None:
    folder, trust = site
    (folder / "log" / "tile" / "more").symlink_to(tmp_path)
    (only,) = look(folder, trust).faults
    assert "tile/more" in only.link and "is not covered" in only.what


def test_a_link_is_no_durable_record(tmp_path: Path) -> None:
    """The same attachment again, where a link leads to its bytes: it is written, so that it is there."""
    recorder = SiteRecorder(tmp_path / "site", SIGNER, SystemClock())
    sha256 = recorder.attach(b"console")
    path = tmp_path / "site" / "attachments" / sha256
    moved(path, tmp_path / "elsewhere")
    assert recorder.attach(b"console") == sha256
    assert not path.is_symlink() and path.read_bytes() == b"console"


@pytest.mark.parametrize("name", ["records", "attachments"])
def test_nothing_is_recorded_through_a_link(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "site"
    recorder = SiteRecorder(folder, SIGNER, SystemClock())
    fill(recorder, 3)
    moved(folder / name, tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").iterdir())
    with pytest.raises(NotRecorded, match=f"{name} is a symbolic link; a site has none"):
        recorder.attach(b"more")
        recorder.record(statement(RecordType.UPDATE, 9), RecordType.UPDATE, Role.FIELD, "U-1")
    assert sorted((tmp_path / "elsewhere").iterdir()) == before


def test_a_log_that_leads_elsewhere_is_not_continued(site: tuple[Path, TrustFile], tmp_path: Path) -> None:
    folder = site[0]
    moved(folder / "log", tmp_path / "elsewhere")
    with pytest.raises(NotRecorded, match="log is a symbolic link; a log has none"):
        SiteRecorder(folder, SIGNER, SystemClock()).record(
            statement(RecordType.UPDATE, 9), RecordType.UPDATE, Role.FIELD, "U-1"
        )


def test_a_checkpoint_that_leads_nowhere_is_no_log_that_begins(site: tuple[Path, TrustFile], tmp_path: Path) -> None:
    checkpoint = site[0] / "log" / "checkpoint"
    moved(checkpoint, tmp_path / "elsewhere")
    (tmp_path / "elsewhere").unlink()
    shutil.rmtree(site[0] / "log" / "tile")
    with pytest.raises(NotRecorded, match="is a symbolic link"):
        SiteRecorder(site[0], SIGNER, SystemClock()).record(
            statement(RecordType.UPDATE, 9), RecordType.UPDATE, Role.FIELD, "U-1"
        )


def test_what_a_log_on_a_stick_says(site: tuple[Path, TrustFile], tmp_path: Path) -> None:
    """The folder that a person names may be a link, and nothing in it."""
    moved(site[0] / "log", tmp_path / "stick")
    (tmp_path / "name").symlink_to(tmp_path / "stick")
    log = TileFolder(tmp_path / "name")
    assert log.checkpoint().size == 6
    moved(tmp_path / "stick" / "checkpoint", tmp_path / "elsewhere")
    with pytest.raises(NotVerified, match="is a symbolic link"):
        log.note()


def test_reading_beneath(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"data")
    assert read_beneath(tmp_path, "a/b/file") == b"data"
    assert read_beneath(tmp_path, "a/b/file", 2) == b"da"
    (tmp_path / "out").symlink_to("a")
    for name in ("out/b/file", "out"):
        with pytest.raises(LinkInside):
            read_beneath(tmp_path, name)
    for name in ("a/../a/b/file", "/etc/passwd", "a//b/file", "", "a/./b/file"):
        with pytest.raises(OSError, match="names no file below a folder"):
            read_beneath(tmp_path, name)
    os.mkfifo(tmp_path / "a" / "pipe")
    for name in ("a/pipe", "a/b"):
        with pytest.raises(NoPlainFile):
            read_beneath(tmp_path, name)
    for name in ("a/none", "none/b"):
        with pytest.raises(FileNotFoundError):
            read_beneath(tmp_path, name)
    with pytest.raises(NotADirectoryError):
        read_beneath(tmp_path, "a/b/file/more")
