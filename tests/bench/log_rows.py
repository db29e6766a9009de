# SPDX-License-Identifier: Apache-2.0
"""Rows about the log: one durable append against a bare fsync, a batch of 100,000 entries, the proof of one of them.

The key is in a file, behind the signer process, as at every site.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from measuring import in_turn, row

from assay.backends.logs.tile_folder import TileFolder
from assay.backends.logs.tile_log import TileLog
from assay.backends.signers.service import SignerProcess
from assay.formats import log_entry, merkle
from assay.model.record import LogEntry, RecordType

MANY = 100_000
APPENDS = 40
ENTRY_BYTES = len(
    log_entry.encode(LogEntry(type=RecordType.TEST, record="0" * 64, payload="0" * 64, serial="DEMO-000001"))
)


def entries(first: int, count: int) -> list[bytes]:
    """Entries of the size that ours have."""
    return [b"%d" % number + bytes(ENTRY_BYTES - len(str(number))) for number in range(first, first + count)]


@contextlib.contextmanager
def log_of(count: int) -> Iterator[tuple[TileLog, Path]]:
    """A log with `count` entries, and a folder beside it on the same disk."""
    with tempfile.TemporaryDirectory(prefix="assay-bench-log-", dir=Path.cwd()) as name:
        signers = SignerProcess(Path(name) / "keys")
        try:
            log = TileLog(Path(name) / "log", signers)
            log.open(may_create=True)
            log.append(entries(0, count))
            yield log, Path(name)
        finally:
            signers.close()


def durable_append(rounds: int) -> None:
    """Row: an entry with its checkpoint, durable, against one write and fsync of the same bytes."""
    with log_of(1000) as (log, folder), (folder / "bare").open("ab", buffering=0) as bare:

        def fsync() -> None:
            bare.write(entries(0, 1)[0])
            os.fsync(bare.fileno())

        taken = in_turn(max(rounds, APPENDS), ours=lambda: log.append(entries(0, 1)), bare=fsync)
    ours, theirs = taken["ours"] * 1e3, taken["bare"] * 1e3
    row("one entry and its checkpoint, durable", f"{ours:.2f} ms", f"{theirs:.2f} ms (a bare fsync)", ours / theirs)


def a_batch() -> None:
    """Row: 100,000 entries under one checkpoint, against writing and fsyncing the same bytes as one file."""
    with log_of(0) as (log, folder):
        data = entries(0, MANY)
        begun_s = time.perf_counter()
        log.append(data)
        ours = time.perf_counter() - begun_s
        begun_s = time.perf_counter()
        with (folder / "bare").open("wb") as bare:
            bare.write(b"".join(data))
            bare.flush()
            os.fsync(bare.fileno())
        theirs = time.perf_counter() - begun_s
    row(f"{MANY} entries in a batch, durable", f"{ours:.2f} s", f"{theirs:.2f} s (one file, fsync)", ours / theirs)


def proof_of_one(rounds: int) -> None:
    """Row: one of 100,000 entries proved from the disk, against hashing all of them in memory."""
    with log_of(MANY) as (log, folder):
        data = entries(0, MANY)
        reader, root = TileFolder(folder / "log"), log.reader.checkpoint().root

        def prove() -> None:
            entry, proof = reader.entry(MANY // 3, MANY), reader.inclusion_proof(MANY // 3, MANY)
            merkle.verify_inclusion(merkle.leaf_hash(entry), MANY // 3, MANY, proof, root)

        taken = in_turn(rounds, ours=prove, whole=lambda: merkle.root_of_leaves([merkle.leaf_hash(e) for e in data]))
    ours, theirs = taken["ours"] * 1e3, taken["whole"] * 1e3
    row(f"proof of one of {MANY} entries", f"{ours:.2f} ms", f"{theirs:.0f} ms (the whole tree)", ours / theirs)
