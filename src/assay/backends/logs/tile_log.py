# SPDX-License-Identifier: Apache-2.0
"""The log of a site, written: append-only, one writer at a time, a signed checkpoint last.

Guards: whatever happens between two operations on files, the log is the one before or the one after; it is never
continued unless its checkpoint is signed by this site's key and its right edge gives the root in it; entries and
tiles are durable before the checkpoint that covers them is there.
Leaves to others: what entries mean, and when to append (`backends.records`). A holder of the log key can write
another history: that is what checkpoints kept elsewhere are for (docs/explanation/trust).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.backends.durable_file import exclusive, make_folder, write_durably, write_in_order
from assay.backends.logs.tile_folder import TileFolder
from assay.errors import NotVerified, StorageError
from assay.formats import checkpoint, merkle, signed_note, tlog_tiles
from assay.formats.checkpoint import Checkpoint
from assay.formats.public_key import raw_ed25519
from assay.formats.tlog_tiles import CHECKPOINT_PATH, TILE_WIDTH, Tile
from assay.interfaces.signer import SignerService
from assay.model.trust import Role, TrustedLog

ORIGIN_PREFIX = "assay.local/"
"""Origins are names and no addresses; `.local` says that nobody resolves them."""

SITE_ID_BYTES = 8
"""Bytes of randomness in an origin: two sites never meet by chance."""

_RESTORE = "restore the log from a copy; `assay log verify` says what is wrong"


@dataclass(frozen=True)
class Appended:
    """Where entries stand: index of the first one, and size of the log with a signed checkpoint over them."""

    first: int
    size: int


class TileLog:
    """The log in `folder`, signed by the LOG key. Raises `NotVerified`, `StorageError`, and what the signers raise."""

    def __init__(self, folder: Path, signers: SignerService) -> None:
        self.reader = TileFolder(folder, of_site=True)
        self._folder = folder
        self._signers = signers

    def open(self, *, may_create: bool) -> Checkpoint:
        """The verified newest checkpoint; with `may_create` a log that is not there begins, with a checkpoint of size
        0.
        """
        try:
            if not self.reader.exists():
                self._create(may_create=may_create)
            return self._verified()
        except OSError as error:
            raise _storage(error) from error

    def append(self, entries: Sequence[bytes]) -> Appended:
        """Append `entries` under one checkpoint; returns when it is durable."""
        try:
            with exclusive(self._lock):
                old = self._verified()
                return self._append(old, list(entries))
        except OSError as error:
            raise _storage(error) from error

    def tidy(self) -> None:
        """Remove what a killed writer left: files that the newest checkpoint does not cover."""
        try:
            with exclusive(self._lock):
                size = self._verified().size
                covered = {tile.path for tile in tlog_tiles.tiles_of(size)}
                for path in self.reader.files():
                    if path not in covered:
                        (self._folder / path).unlink()
        except OSError as error:
            raise _storage(error) from error

    def trusted(self) -> TrustedLog:
        """This log as an entry of a trust file."""
        key = self._signers.public_key(Role.LOG)
        origin = self.reader.checkpoint().origin
        vkey = signed_note.VerifierKey(origin, raw_ed25519(key.public))
        return TrustedLog(origin=origin, vkey=str(vkey), development=key.development)

    @property
    def _lock(self) -> Path:
        return self._folder.with_name(f"{self._folder.name}.lock")

    def _create(self, *, may_create: bool) -> None:
        make_folder(self._folder.parent)
        with exclusive(self._lock):
            if self.reader.exists():
                return
            if not may_create or self.reader.files():
                raise NotVerified(f"the log in {self._folder} has no checkpoint", remedy=_RESTORE)
            make_folder(self._folder)
            origin = ORIGIN_PREFIX + secrets.token_hex(SITE_ID_BYTES)
            write_durably(self._folder / CHECKPOINT_PATH, self._signed(Checkpoint(origin, 0, merkle.EMPTY_ROOT)))

    def _verified(self) -> Checkpoint:
        """The newest checkpoint, if our key signed it and the tiles of the right edge give its root."""
        note = self.reader.note()
        public = raw_ed25519(self._signers.public_key(Role.LOG).public)
        found = checkpoint.verify(note, signed_note.VerifierKey(checkpoint.read(note).origin, public))
        if self.reader.root(found.size) != found.root:
            raise NotVerified(
                f"the tiles of the log do not give the root of its checkpoint ({found.size})", remedy=_RESTORE
            )
        self._check_last_bundle(found.size)
        return found

    def _check_last_bundle(self, size: int) -> None:
        """The bundle that the next append carries on holds what the tile beside it covers."""
        if size == 0:
            return
        hashes = self._old_hashes(0, (size - 1) // TILE_WIDTH, size)
        leaves = [merkle.leaf_hash(entry) for _, entry in self.reader.entries(size, size - len(hashes))]
        if leaves != hashes:
            raise NotVerified("the newest entries of the log are not those that its tiles cover", remedy=_RESTORE)

    def _append(self, old: Checkpoint, entries: list[bytes]) -> Appended:
        new_size = old.size + len(entries)
        if not entries:
            return Appended(old.size, old.size)
        changed = list(tlog_tiles.tiles_of(new_size, old.size))
        new = {
            **self._bundles([tile for tile in changed if tile.level is None], old.size, entries),
            **self._tiles([tile for tile in changed if tile.level is not None], old.size, entries),
        }
        hashes = tlog_tiles.hash_reader(new_size, lambda tile: new.get(tile) or self.reader.tile(tile))
        note = self._signed(Checkpoint(old.origin, new_size, merkle.root(new_size, hashes)))
        files = {self._folder / tile.path: data for tile, data in new.items()}
        for folder in dict.fromkeys(path.parent for path in files):
            make_folder(folder)
        write_in_order(files, {self._folder / CHECKPOINT_PATH: note})
        self._prune(changed)
        return Appended(old.size, new_size)

    def _bundles(self, bundles: list[Tile], old_size: int, entries: list[bytes]) -> dict[Tile, bytes]:
        begin, found = old_size - old_size % TILE_WIDTH, {}
        whole = [entry for _, entry in self.reader.entries(old_size, begin)] + entries
        for tile in bundles:
            at = tile.index * TILE_WIDTH - begin
            found[tile] = tlog_tiles.encode_entries(whole[at : at + tile.width])
        return found

    def _tiles(self, tiles: list[Tile], old_size: int, entries: list[bytes]) -> dict[Tile, bytes]:
        hashes, level, found = [merkle.leaf_hash(entry) for entry in entries], 0, {}
        while hashes:
            count = old_size >> (tlog_tiles.TILE_HEIGHT * level)
            begin = count - count % TILE_WIDTH
            known = self._old_hashes(level, begin // TILE_WIDTH, old_size) if count > begin else []
            whole, above = known + hashes, []
            for tile in (tile for tile in tiles if tile.level == level):
                at = tile.index * TILE_WIDTH - begin
                found[tile] = b"".join(whole[at : at + tile.width])
                if tile.width == TILE_WIDTH:
                    above.append(tlog_tiles.next_level(whole[at : at + TILE_WIDTH]))
            hashes, level = above, level + 1
        return found

    def _old_hashes(self, level: int, index: int, size: int) -> list[bytes]:
        tile = tlog_tiles.tile_at(level, index, size)
        return tlog_tiles.decode_hashes(self.reader.tile(tile), tile.width, f"log: {tile.path}")

    def _signed(self, new: Checkpoint) -> bytes:
        public = raw_ed25519(self._signers.public_key(Role.LOG).public)
        signature = self._signers.sign(Role.LOG, new.text.encode("utf-8"))
        return signed_note.write(new.text, new.origin, public, signature)

    def _prune(self, changed: list[Tile]) -> None:
        """Remove partial tiles that a wider one has replaced (tlog-tiles, "Partial Tiles"); readers cut what they
        need. That they are gone need not be durable: one that is there again is removed with the next append.
        """
        for tile in changed:
            folder = self._folder / tile.partial_folder
            if not folder.is_dir():
                continue
            for path in folder.iterdir():
                if path != self._folder / tile.path:
                    path.unlink()
            if tile.width == TILE_WIDTH:
                folder.rmdir()


def _storage(error: OSError) -> StorageError:
    return StorageError(
        f"the log cannot be written: {error.strerror} ({error.filename})", remedy="free disk space, or make it writable"
    )
