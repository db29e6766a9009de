# SPDX-License-Identifier: Apache-2.0
"""The log of a site as it lies on the disk, read as far as it can be: entries and proofs.

Guards: a damaged file costs what it holds and no more, so that the rest of a unit's history can still be shown.
Leaves to others: what is damaged (`stages.records.verify`), signatures (`trace_log`), which entries matter
(`trace_collect`).
"""

from __future__ import annotations

import functools
from pathlib import Path

from assay.backends.logs.tile_folder import TileFolder
from assay.errors import AssayError
from assay.formats import checkpoint, merkle, tlog_tiles
from assay.formats.checkpoint import Checkpoint
from assay.formats.tlog_tiles import TILE_WIDTH, Tile

BUNDLES_MISSING_MAX = 4096
"""Bundles of entries, a million of them, that may be missing before one that is there: a name of a file is nobody's
word.
"""

UNREADABLE = b""
"""Stands for an entry that cannot be read; no entry of a log is empty."""


class SiteLog:
    """The log in `folder`. `head` is its checkpoint, unverified, None when that cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._reader = TileFolder(folder, of_site=True)
        self.faults: list[str] = []
        self.note = self._read(tlog_tiles.CHECKPOINT_PATH) or b""
        self.head = self._head()
        self._tiles = [(path, tile) for path in self._reader.files() if (tile := tlog_tiles.tile_of(path))]
        found = self._entries()
        self.size = len(found) if self.head is None else self.head.size
        self.leaves = tuple(found[: self.size])

    def inclusion(self, index: int) -> tuple[bytes, ...]:
        """Proof that entry `index` is in the log; empty when it cannot be made."""
        try:
            return tuple(merkle.inclusion_proof(index, self.size, self._hashes))
        except (AssayError, IndexError):
            return ()

    def consistency(self, old: int) -> tuple[bytes, ...] | None:
        """Proof that the log continues itself as it was with `old` entries; None when it cannot be made."""
        try:
            return tuple(merkle.consistency_proof(old, self.size, self._hashes))
        except (AssayError, IndexError):
            return None

    @functools.cached_property
    def _hashes(self) -> merkle.HashReader:
        """Hashes out of the entries; out of the tiles when only those give the root, so that one bad entry is alone."""
        leaves = [merkle.leaf_hash(leaf) for leaf in self.leaves]

        @functools.cache
        def of_entries(level: int, index: int) -> bytes:
            if level == 0:
                return leaves[index]
            return merkle.node_hash(of_entries(level - 1, 2 * index), of_entries(level - 1, 2 * index + 1))

        if self.head is None or merkle.root_of_leaves(leaves) == self.head.root:
            return of_entries
        try:
            of_tiles = self._reader.hashes(self.size)
            return of_tiles if merkle.root(self.size, of_tiles) == self.head.root else of_entries
        except AssayError:
            return of_entries

    def _head(self) -> Checkpoint | None:
        try:
            return checkpoint.read(self.note)
        except AssayError:
            return None

    def _read(self, path: str) -> bytes | None:
        try:
            return self._reader.file(path)
        except AssayError as error:
            self.faults.append(error.message)
            return None

    def _entries(self) -> list[bytes]:
        """All entries, of each bundle from its widest file; what cannot be read is `UNREADABLE`."""
        widest: dict[int, tuple[str, Tile]] = {}
        for path, tile in self._tiles:
            if tile.level is None and (tile.index not in widest or widest[tile.index][1].width < tile.width):
                widest[tile.index] = (path, tile)
        entries: list[bytes] = []
        for index in range(self._bundles(widest)):
            entries += self._bundle(index, widest.get(index))
        return entries

    def _bundles(self, widest: dict[int, tuple[str, Tile]]) -> int:
        """How many bundles are read: up to the last one that is there, can be meant, and is in the checkpoint's log."""
        limit = len(widest) + BUNDLES_MISSING_MAX
        if self.head is not None:
            limit = min(limit, (self.head.size + TILE_WIDTH - 1) // TILE_WIDTH)
        else:
            far = (path for at, (path, _) in widest.items() if at >= limit)
            self.faults += [f"log: {path} is of no entry of this log" for path in far]
        return max((at + 1 for at in widest if at < limit), default=0)

    def _bundle(self, index: int, found: tuple[str, Tile] | None) -> list[bytes]:
        if found is None:
            self.faults.append(f"log: {Tile(None, index, TILE_WIDTH).path} is missing")
            return [UNREADABLE] * TILE_WIDTH
        path, tile = found
        data = self._read(path)
        try:
            return tlog_tiles.decode_entries(data or b"", tile.width, f"log: {path}")
        except AssayError as error:
            self.faults.append(error.message)
            return _as_far_as_readable(data or b"", tile.width)


def _as_far_as_readable(data: bytes, width: int) -> list[bytes]:
    entries: list[bytes] = []
    at = 0
    while at + 2 <= len(data) and len(entries) < width:
        size = int.from_bytes(data[at : at + 2], "big")
        if at + 2 + size > len(data):
            break
        entries.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return entries + [UNREADABLE] * (width - len(entries))
