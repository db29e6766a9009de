# SPDX-License-Identifier: Apache-2.0
"""One entry of a log, proved: by its bundle of entries and the tiles on its way to the root, and nothing else.

Guards: what comes out is under the root of a checkpoint that a log of the trust file signed. Leaves to others: the
whole log, and the record that the entry names (`stages.records.verify`).
"""

from __future__ import annotations

from dataclasses import dataclass

from assay.backends.logs.tile_folder import TileFolder
from assay.formats import checkpoint, log_entry, merkle
from assay.formats.checkpoint import Checkpoint
from assay.model.record import LogEntry
from assay.model.trust import TrustedLog, TrustFile


@dataclass(frozen=True)
class ProvedEntry:
    """An entry, the checkpoint that it is under, and the hashes from the leaf up to the root."""

    index: int
    entry: LogEntry
    head: Checkpoint
    log: TrustedLog
    proof: tuple[bytes, ...]


def prove_entry(log: TileFolder, trust: TrustFile, index: int) -> ProvedEntry:
    """Entry `index` under the newest checkpoint of `log`. Raises `NotVerified`, `StorageError`."""
    head, trusted = checkpoint.verify_with_trust(log.note(), trust)
    data = log.entry(index, head.size)
    proof = log.inclusion_proof(index, head.size)
    merkle.verify_inclusion(merkle.leaf_hash(data), index, head.size, proof, head.root)
    return ProvedEntry(index, log_entry.decode(data, f"log: entry {index}"), head, trusted, tuple(proof))
