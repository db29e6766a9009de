# SPDX-License-Identifier: Apache-2.0
"""What is there already is made durable all the same: whoever wrote it may have been killed before it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from crashing_files import Crash, CrashingFiles, memory_dir

from assay.backends.durable_file import make_folder, write_durably, write_in_order
from assay.backends.records import site_recorder
from assay.backends.stores.blob_folder import BlobFolder

__all__ = ["memory_dir"]


def _synced(files: CrashingFiles) -> list[str]:
    return [path for name, path in files.operations if name == "fsync"]


@pytest.mark.parametrize("below", ["", "b", "b/c"])
def test_a_folder_that_is_there_gets_a_durable_name(
    memory_dir: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    files = CrashingFiles(monkeypatch, memory_dir)
    (memory_dir / "a").mkdir()  # by somebody who died then
    files.arm(None)
    make_folder(memory_dir / "a" / below)
    assert str(memory_dir) in _synced(files)
    files.arm(None)
    make_folder(memory_dir / "a" / below)
    assert len(_synced(files)) <= 1  # of the deepest one, once for each process
    files.arm(None)
    make_folder(memory_dir / "a" / below)
    assert not files.operations


def test_killed_anywhere_a_folder_is_durable_when_it_is_asked_for_again(
    memory_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = CrashingFiles(monkeypatch, memory_dir)
    for place in range(20):
        top = memory_dir / f"{place}"
        files.arm(place)
        try:
            make_folder(top / "a" / "b")
        except Crash:
            pass
        else:
            assert place > 4
            return
        done = files.operations[:-1]
        files.arm(None)
        make_folder(top / "a" / "b")
        done += files.operations
        for path in (top, top / "a", top / "a" / "b"):
            made = done.index(("mkdir", str(path)))
            assert ("fsync", str(path.parent)) in done[made:], (place, path)
    raise AssertionError("it never came to its end")


def test_a_record_that_is_there_is_made_durable_before_the_log_names_it(
    memory_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rename happened and the folder's fsync did not: the log must not come first."""
    files = CrashingFiles(monkeypatch, memory_dir)
    blobs = BlobFolder(memory_dir / "blobs" / "sha256")
    for write, folder in (
        (lambda: site_recorder._write_once(memory_dir, "records/x", b"data"), memory_dir / "records"),
        (lambda: blobs.put(b"data"), memory_dir / "blobs" / "sha256"),
    ):
        write()
        files.arm(None)
        write()
        assert _synced(files) == [str(folder)]


def test_what_is_no_ordinary_file_is_not_replaced(tmp_path: Path) -> None:
    """As `--out /dev/null` by root would do."""
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match="it is no ordinary file"):
            write_in_order({tmp_path / "new": b"x"}, {tmp_path / name: b"x"})
    assert (tmp_path / "pipe").is_fifo() and {path.name for path in tmp_path.iterdir()} == {"folder", "link", "pipe"}
    write_durably(tmp_path / "link", b"x")
    assert (tmp_path / "link").read_bytes() == b"x"


@pytest.mark.parametrize("leads_to", ["/dev/null", "pipe", "/proc/self/cmdline"])
def test_a_link_to_what_is_no_ordinary_file_is_not_replaced(tmp_path: Path, leads_to: str) -> None:
    """As `--out /dev/stdout` by root would do, wherever the output goes."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(leads_to)
    with pytest.raises(OSError, match="it is no ordinary file"):
        write_durably(tmp_path / "link", b"x")
    assert str((tmp_path / "link").readlink()) == leads_to
