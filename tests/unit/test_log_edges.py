# SPDX-License-Identifier: Apache-2.0
"""Logs of no entry, and of exactly one full tile of each level; tiles from before they grew, which a copy kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from memory_signer import MemorySigner, trust_in

from assay.backends.logs.tile_log import TileLog
from assay.backends.records.record_store import RecordStore
from assay.formats import checkpoint, log_entry, merkle, tlog_tiles
from assay.model.record import LogEntry, RecordType
from assay.pipeline.log_prove import prove_entry
from assay.pipeline.trace_site_log import SiteLog
from assay.stages.records.log_report import LogFault
from assay.stages.records.verify import verify_log

SIGNER = MemorySigner()
ENTRY = log_entry.encode(LogEntry(type=RecordType.RUN, record="0" * 64, payload="0" * 64, serial="U-1"))


def entries(start: int, end: int) -> list[bytes]:
    return [ENTRY.replace(b"0" * 64, b"%064x" % number) for number in range(start, end)]


def log_of(site: Path, size: int) -> TileLog:
    log = TileLog(site / "log", SIGNER)
    log.open(may_create=True)
    log.append(entries(0, size))
    return log


def faults(site: Path, log: TileLog) -> list[LogFault]:
    """Those of the log itself: there are no records behind these entries."""
    report = verify_log(RecordStore(site), trust_in(SIGNER, log.trusted()))
    return [fault for fault in report.faults if not fault.link.startswith("record ")]


@pytest.mark.parametrize(
    ("size", "files"),
    [
        (0, []),
        (1, ["tile/0/000.p/1", "tile/entries/000.p/1"]),
        (256, ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]),
        (65_536, None),
    ],
)
def test_a_log_of_exactly_that_size(tmp_path: Path, size: int, files: list[str] | None) -> None:
    log = log_of(tmp_path, size)
    found = log.reader.files()
    if files is None:
        assert "tile/1/000" in found and "tile/2/000.p/1" in found and len(found) == 2 * 256 + 2
        assert not any(".p/" in path for path in found if path != "tile/2/000.p/1")
    else:
        assert found == files
    trust, head = trust_in(SIGNER, log.trusted()), log.reader.checkpoint()
    checkpoint.verify_with_trust(log.reader.note(), trust)
    assert faults(tmp_path, log) == [] if size < 1000 else log.reader.root(size) == head.root
    for index in {0, size - 1} if size else set[int]():
        assert prove_entry(log.reader, trust, index).entry.record == f"{index:064x}"
    log.append(entries(size, size + 1))
    grown = log.reader.checkpoint()
    if size:
        proof = log.reader.consistency_proof(size, size + 1)
        merkle.verify_consistency(size, size + 1, proof, head.root, grown.root)
    assert prove_entry(log.reader, trust, size).entry.record == f"{size:064x}"


def copied_twice(tmp_path: Path, first: int, then: int) -> tuple[Path, TileLog]:
    """A copy of a log of `first` entries, over which the log of `then` entries was copied."""
    log = log_of(tmp_path / "site", first)
    shutil.copytree(tmp_path / "site", tmp_path / "copy")
    log.append(entries(first, then))
    shutil.copytree(tmp_path / "site", tmp_path / "copy", dirs_exist_ok=True)
    return tmp_path / "copy", log


@pytest.mark.parametrize(("first", "then"), [(200, 201), (200, 256), (255, 513), (256, 600), (300, 600)])
def test_a_copy_that_deletes_nothing(tmp_path: Path, first: int, then: int) -> None:
    copy, log = copied_twice(tmp_path, first, then)
    here = {tile.path for tile in tlog_tiles.tiles_of(then)}
    left = [path for path in TileLog(copy / "log", SIGNER).reader.files() if path not in here]
    assert left
    assert faults(copy, log) == []
    found = SiteLog(copy / "log")
    assert (found.leaves, found.faults) == (tuple(entries(0, then)), [])
    for path in left:
        file = copy / "log" / path
        good = file.read_bytes()
        for wrong in (good[:-1] + bytes([good[-1] ^ 1]), good[:-1], good + b"x", b""):
            file.write_bytes(wrong)
            (only,) = faults(copy, log)
            assert only.link == f"log {path}" and "begins with: one of the two was changed" in only.what
        file.write_bytes(good)


def test_what_a_log_leaves_that_was_set_back(tmp_path: Path) -> None:
    """The other way round: the tiles are of a log that had more."""
    log = log_of(tmp_path, 200)
    before = log.reader.note()
    log.append(entries(200, 300))
    (tmp_path / "log" / "checkpoint").write_bytes(before)
    said = {fault.link: fault.what for fault in faults(tmp_path, log)}
    for path in ("tile/0/000", "tile/entries/000", "tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"):
        assert "was the log set back?" in said[f"log {path}"]


def test_the_writer_goes_on_beside_them(tmp_path: Path) -> None:
    copy, _ = copied_twice(tmp_path, 200, 256)
    log = TileLog(copy / "log", SIGNER)
    log.append(entries(256, 300))
    assert "tile/0/000.p/200" in log.reader.files()
    assert faults(copy, log) == []
    log.tidy()
    assert set(log.reader.files()) == {tile.path for tile in tlog_tiles.tiles_of(300)}
