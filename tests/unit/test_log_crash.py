# SPDX-License-Identifier: Apache-2.0
"""The log on disk: what it holds, and that a death at any file operation leaves the log before or the log after."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from crashing_files import Crash, CrashingFiles, memory_dir
from memory_signer import MemorySigner

from assay.backends.logs.tile_log import TileLog
from assay.errors import AssayError, NotVerified, StorageError
from assay.formats import checkpoint, merkle, signed_note, tlog_tiles

__all__ = ["memory_dir"]

SIGNER = MemorySigner()


def entries(start: int, count: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(start, start + count)]


def log_of(folder: Path, size: int) -> TileLog:
    log = TileLog(folder / "log", SIGNER)
    log.open(may_create=True)
    if size:
        log.append(entries(0, size))
    return log


def check(folder: Path) -> int:
    """Everything in the log follows from its entries, which are the expected ones; answers its size."""
    log = TileLog(folder / "log", SIGNER)
    head = checkpoint.verify(log.reader.note(), signed_note.parse_vkey(log.trusted().vkey))
    found = [entry for _, entry in log.reader.entries(head.size)]
    assert found == entries(0, head.size)
    assert (
        merkle.root_of_leaves([merkle.leaf_hash(entry) for entry in found]) == head.root == log.reader.root(head.size)
    )
    for tile in tlog_tiles.tiles_of(head.size):
        assert log.reader.file(tile.path)
    return head.size


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 513, 1000])
@pytest.mark.parametrize("batch", [1, 2, 260])
def test_appends(tmp_path: Path, size: int, batch: int) -> None:
    log = log_of(tmp_path, size)
    old_root = log.reader.checkpoint().root
    appended = log.append(entries(size, batch))
    assert (appended.first, appended.size) == (size, size + batch)
    assert check(tmp_path) == size + batch
    assert set(log.reader.files()) == {tile.path for tile in tlog_tiles.tiles_of(size + batch)}
    new_root = log.reader.checkpoint().root
    if size:
        proof = log.reader.consistency_proof(size, size + batch)
        merkle.verify_consistency(size, size + batch, proof, old_root, new_root)
    for index in {0, size, size + batch - 1}:
        leaf = merkle.leaf_hash(log.reader.entry(index, size + batch))
        merkle.verify_inclusion(leaf, index, size + batch, log.reader.inclusion_proof(index, size + batch), new_root)


def test_one_tree_level_more(tmp_path: Path) -> None:
    log = log_of(tmp_path, 65_535)
    log.append(entries(65_535, 2))
    assert check(tmp_path) == 65_537
    assert "tile/2/000.p/1" in log.reader.files()


def test_reader_with_an_older_checkpoint(tmp_path: Path) -> None:
    """Narrow tiles are gone by then: they are cut from the wider ones."""
    log = log_of(tmp_path, 250)
    old_root = log.reader.checkpoint().root
    log.append(entries(250, 3))
    log.append(entries(253, 10))
    assert log.reader.root(250) == old_root
    assert [entry for _, entry in log.reader.entries(250)] == entries(0, 250)
    assert log.reader.entry(249, 250) == entries(249, 1)[0]


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("size", [0, 1, 255, 256, 511])
@pytest.mark.parametrize("batch", [1, 2, 260])
def test_death_at_every_operation(
    memory_dir: Path, monkeypatch: pytest.MonkeyPatch, size: int, batch: int, torn: bool
) -> None:
    before, work = memory_dir / "before", memory_dir / "work"
    log_of(before, size)
    files = CrashingFiles(monkeypatch, work)
    for die_at in range(1000):
        shutil.copytree(before, work)
        files.arm(die_at, torn=torn)
        try:
            TileLog(work / "log", SIGNER).append(entries(size, batch))
        except Crash:
            files.arm(None)
            found = check(work)
            assert found in (size, size + batch)
            survivor = TileLog(work / "log", SIGNER)
            survivor.tidy()
            assert set(survivor.reader.files()) == {tile.path for tile in tlog_tiles.tiles_of(found)}
            survivor.append(entries(found, 1))
            assert check(work) == found + 1
            shutil.rmtree(work)
        else:
            assert die_at > 8
            return
    pytest.fail("the append never ended")


@pytest.mark.parametrize("torn", [False, True])
def test_death_at_the_beginning_of_a_log(memory_dir: Path, monkeypatch: pytest.MonkeyPatch, torn: bool) -> None:
    files = CrashingFiles(monkeypatch, memory_dir)
    for die_at in range(100):
        files.arm(die_at, torn=torn)
        try:
            log_of(memory_dir / "site", 0)
        except Crash:
            files.arm(None)
            log_of(memory_dir / "site", 1)
            assert check(memory_dir / "site") == 1
            shutil.rmtree(memory_dir / "site")
        else:
            assert die_at > 4
            return
    pytest.fail("the log never began")


def test_a_failing_disk_at_every_operation(memory_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error is told as ours, and the log is the one before or the one after."""
    before, work = memory_dir / "before", memory_dir / "work"
    log_of(before, 255)
    files = CrashingFiles(monkeypatch, work)
    for die_at in range(1000):
        shutil.copytree(before, work)
        files.arm(die_at, error=OSError(errno.ENOSPC, "No space left on device", "x"))
        try:
            TileLog(work / "log", SIGNER).append(entries(255, 2))
        except AssayError as error:
            assert isinstance(error, StorageError)
            files.arm(None)
            assert check(work) in (255, 257)
            shutil.rmtree(work)
        else:
            return
    pytest.fail("the append never ended")


def test_order_of_fsyncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut loses what was not fsynced: each file is, before its rename; each folder, between its renames and
    that of the checkpoint. One entry waits for the disk six times: two tiles, their folders, checkpoint and folder.
    """
    log = log_of(tmp_path, 256)
    files = CrashingFiles(monkeypatch, tmp_path)
    files.arm(None)
    log.append(entries(256, 300))
    renames = [place for place, (name, _) in enumerate(files.operations) if name == "replace"]
    last = renames[-1]
    assert files.operations[last][1].endswith("log/.tmp-checkpoint")
    for place in renames:
        path = files.operations[place][1]
        folder = str(Path(path).parent)
        written = max(at for at, each in enumerate(files.operations[:place]) if each == ("write", path))
        assert ("fsync", path) in files.operations[written:place]
        assert ("fsync", folder) in files.operations[place : last if place < last else last + 2]
    made = [(place, path) for place, (name, path) in enumerate(files.operations) if name == "mkdir"]
    assert made
    for place, path in made:
        assert ("fsync", str(Path(path).parent)) == files.operations[place + 1]
    assert all(name in ("unlink", "rmdir") for name, _ in files.operations[last + 2 :])
    files.arm(None)
    log.append(entries(556, 1))
    assert sum(name == "fsync" for name, _ in files.operations) == 6


def test_a_tampered_log_is_not_continued(tmp_path: Path) -> None:
    log_of(tmp_path, 300)
    for path in ("checkpoint", "tile/entries/001.p/44", "tile/0/001.p/44", "tile/1/000.p/1"):
        file = tmp_path / "log" / path
        good = file.read_bytes()
        for place in (0, len(good) // 2, len(good) - 1):
            file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            with pytest.raises(NotVerified):
                TileLog(tmp_path / "log", SIGNER).append(entries(300, 1))
        file.unlink()
        with pytest.raises(NotVerified):
            TileLog(tmp_path / "log", SIGNER).append(entries(300, 1))
        file.write_bytes(good)
    assert check(tmp_path) == 300


def test_a_log_without_its_checkpoint_does_not_begin_again(tmp_path: Path) -> None:
    log_of(tmp_path, 3)
    (tmp_path / "log" / "checkpoint").unlink()
    with pytest.raises(NotVerified, match="no checkpoint"):
        TileLog(tmp_path / "log", SIGNER).open(may_create=True)


def test_a_log_that_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(NotVerified, match="no checkpoint"):
        TileLog(tmp_path / "log", SIGNER).open(may_create=False)


def test_a_log_of_another_key(tmp_path: Path) -> None:
    log_of(tmp_path, 3)
    with pytest.raises(NotVerified, match="not signed by the log key"):
        TileLog(tmp_path / "log", MemorySigner()).append(entries(3, 1))


def test_an_entry_that_is_too_long(tmp_path: Path) -> None:
    log = log_of(tmp_path, 1)
    log.append([b"x" * 65_535])
    with pytest.raises(NotVerified, match="65536 bytes"):
        log.append([b"x" * 65_536])
    assert log.open(may_create=False).size == 2


def test_origins_differ(tmp_path: Path) -> None:
    origins = {log_of(tmp_path / str(number), 0).trusted().origin for number in range(3)}
    assert len(origins) == 3
    assert all(origin.startswith("assay.local/") for origin in origins)


def test_a_reader_whose_tile_is_pruned_under_its_hands_reads_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look at the folder and its reading another process appends: the tile that it saw is gone."""
    log = log_of(tmp_path, 3)
    log.append(entries(3, 1))
    wider = type(log.reader)._wider
    appends = iter(range(4, 7))

    def look_and_lose(reader: object, tile: tlog_tiles.Tile) -> list[int]:
        seen = wider(log.reader, tile)
        if (number := next(appends, None)) is not None:
            TileLog(tmp_path / "log", SIGNER).append(entries(number, 1))
        return seen

    monkeypatch.setattr(type(log.reader), "_wider", look_and_lose)
    assert [entry for _, entry in log.reader.entries(3)] == entries(0, 3)
