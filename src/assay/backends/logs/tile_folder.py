# SPDX-License-Identifier: Apache-2.0
"""A log on disk, read: checkpoint, tiles, entries, proofs (C2SP tlog-tiles in a folder, so any static file server
publishes it).

Guards: nothing that is read here is believed; every hash that a proof gives out is checked by whoever holds the root.
No file of a log is a symbolic link, nor is a folder of it (ADR 0318).
Leaves to others: signatures (`formats.checkpoint`), writing (`tile_log`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from assay.backends.named_file import LinkInside, read_beneath
from assay.errors import NotVerified, StorageError
from assay.formats import merkle, tlog_tiles
from assay.formats.checkpoint import Checkpoint, read
from assay.formats.tlog_tiles import CHECKPOINT_PATH, ENTRY_BYTES_MAX, TILE_WIDTH, Tile

FILE_BYTES_MAX = TILE_WIDTH * (2 + ENTRY_BYTES_MAX)
"""Bytes of the largest file of a log: a full bundle of the longest entries."""

COSIGNED_FOLDER = "cosigned"
"""Below the log's root, and no part of tlog-tiles: for each witness the last checkpoint that it cosigned, in
`<key hash>.note`.
"""

READS_MAX = 8
"""Readings of a tile while others append: each finds the widest one, which the next append replaces by a wider."""

_RESTORE = "restore the log from a copy"
_UNLINK = "see who put it there, and put what belongs there in its place"


class TileFolder:
    """The log in `folder`. Raises `StorageError` for what cannot be read, `NotVerified` for what is not there or
    malformed. `of_site`: it lies in the folder of a site, and is no link itself.
    """

    def __init__(self, folder: Path, *, of_site: bool = False) -> None:
        self.folder = folder
        self._root, self._before = (folder.parent, f"{folder.name}/") if of_site else (folder, "")

    def exists(self) -> bool:
        """Whether there is a log: one without a checkpoint is none. What is no file is there, and cannot be read."""
        return os.path.lexists(self.folder / CHECKPOINT_PATH)

    def note(self) -> bytes:
        """The newest checkpoint, as a signed note."""
        return self.file(CHECKPOINT_PATH)

    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint, unverified."""
        return read(self.note())

    def file(self, path: str) -> bytes:
        """The bytes of a file of the log."""
        try:
            data = read_beneath(self._root, self._before + path, FILE_BYTES_MAX + 1)
        except FileNotFoundError as error:
            raise NotVerified(f"log: {path} is missing", remedy=_RESTORE) from error
        except LinkInside as error:
            raise NotVerified(f"{error.filename} is a symbolic link; a log has none", remedy=_UNLINK) from error
        except OSError as error:
            raise StorageError(f"log: {path} cannot be read: {error.strerror}", remedy="make it readable") from error
        if len(data) > FILE_BYTES_MAX:
            raise NotVerified(f"log: {path} is longer than any file of a log", remedy=_RESTORE)
        return data

    def tile(self, tile: Tile) -> bytes:
        """The bytes of `tile`; a narrow one is cut from a wider one when the log has grown since the caller's
        checkpoint.
        """
        try:
            return self.file(tile.path)
        except NotVerified as missing:
            fault = missing
        for _ in range(READS_MAX):
            widths = self._wider(tile)
            if not widths:
                break
            try:
                return self._cut(Tile(tile.level, tile.index, widths[-1]), tile.width)
            except NotVerified as pruned:
                fault = pruned
        raise fault

    def entries(self, size: int, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Index and bytes of the entries from `start` to before `size`."""
        for index in range(start // TILE_WIDTH, (size + TILE_WIDTH - 1) // TILE_WIDTH):
            for place, entry in enumerate(self._bundle(index, size)):
                number = index * TILE_WIDTH + place
                if start <= number < size:
                    yield number, entry

    def entry(self, index: int, size: int) -> bytes:
        """The bytes of entry `index` of the log of `size` entries."""
        if not 0 <= index < size:
            raise NotVerified(f"the log has no entry {index}", remedy=f"it has {size} entries")
        return self._bundle(index // TILE_WIDTH, size)[index % TILE_WIDTH]

    def hashes(self, size: int) -> merkle.HashReader:
        """Hashes of complete subtrees of the log of `size` entries."""
        return tlog_tiles.hash_reader(size, self.tile)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Proof that entry `index` is in the log of `size` entries (`formats.merkle.verify_inclusion`)."""
        return merkle.inclusion_proof(index, size, self.hashes(size))

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Proof that the log of `new` entries continues that of `old` (`formats.merkle.verify_consistency`)."""
        return merkle.consistency_proof(old, new, self.hashes(new))

    def root(self, size: int) -> bytes:
        """The root of the first `size` entries, out of the tiles."""
        return merkle.root(size, self.hashes(size))

    def files(self) -> list[str]:
        """Paths of all files below `tile/`, sorted."""
        folder = self.folder / "tile"
        found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
        return sorted(str(path.relative_to(self.folder)) for path in found)

    def cosigned(self) -> dict[str, bytes]:
        """The checkpoints that witnesses cosigned, by the name of the file. Nothing of them is verified."""
        folder = self.folder / COSIGNED_FOLDER
        if folder.is_symlink():
            raise NotVerified(f"{folder} is a symbolic link; a log has none", remedy=_UNLINK)
        names = sorted(path.name for path in folder.glob("[!.]*"))
        return {name: self.file(f"{COSIGNED_FOLDER}/{name}") for name in names}

    def _bundle(self, index: int, size: int) -> list[bytes]:
        tile = tlog_tiles.tile_at(None, index, size)
        return tlog_tiles.decode_entries(self.tile(tile), tile.width, f"log: {tile.path}")

    def _wider(self, tile: Tile) -> list[int]:
        full = self.folder / Tile(tile.level, tile.index, TILE_WIDTH).path
        partials = (self.folder / tile.partial_folder).glob("*")
        widths = sorted(int(path.name) for path in partials if path.name.isdecimal())
        return [width for width in widths if width > tile.width] + ([TILE_WIDTH] if full.is_file() else [])

    def _cut(self, wide: Tile, width: int) -> bytes:
        return tlog_tiles.cut(self.file(wide.path), wide, width)
