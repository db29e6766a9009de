# SPDX-License-Identifier: Apache-2.0
"""C2SP tlog-tiles (https://c2sp.org/tlog-tiles): names of tiles, what is in them, and hashes out of them.

Guards: bundles of entries are read to the last byte; a tile has exactly the width that its name says.
Leaves to others: files (`backends.logs`), the tree (`merkle`), what an entry means (`log_entry`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from assay.errors import NotVerified
from assay.formats import merkle

TILE_WIDTH = 256
"""Hashes in a full tile, entries in a full bundle."""

TILE_HEIGHT = 8
"""Levels of the tree that a tile spans: 2**8 = 256."""

ENTRY_BYTES_MAX = 65535
"""Bytes of an entry: its length is written in 16 bits."""

CHECKPOINT_PATH = "checkpoint"

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


@dataclass(frozen=True)
class Tile:
    """A tile of hashes, or with `level` None a bundle of entries; `width` of its 256 places are filled."""

    level: int | None
    index: int
    width: int

    @property
    def path(self) -> str:
        """Path below the log's root, `tile/<level>/<index>[.p/<width>]`."""
        kind = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{kind}/{index_path(self.index)}{partial}"

    @property
    def partial_folder(self) -> str:
        """Path of the folder that this tile's partial versions lie in."""
        kind = "entries" if self.level is None else str(self.level)
        return f"tile/{kind}/{index_path(self.index)}.p"


def index_path(index: int) -> str:
    """1234067 as `x001/x234/067`."""
    parts = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        parts.append(f"x{index % 1000:03d}")
    return "/".join(reversed(parts))


def tile_of(path: str) -> Tile | None:
    """The tile whose path that is, in its one spelling; None for any other path."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    kind, index, width = match.groups()
    number = int(index.replace("x", "").replace("/", ""))
    tile = Tile(None if kind == "entries" else int(kind), number, int(width) if width else TILE_WIDTH)
    return tile if tile.path == path and tile.width <= TILE_WIDTH else None


def has_tile(size: int, tile: Tile) -> bool:
    """Whether a log of `size` entries has that very tile. The size may be anybody's word: nothing is counted up."""
    before = tile.index * TILE_WIDTH
    return before < size >> (TILE_HEIGHT * (tile.level or 0)) and tile_at(tile.level, tile.index, size) == tile


def had_tile(size: int, tile: Tile) -> bool:
    """Whether a log of `size` entries has a wider tile in the place of that one, which it had when it was smaller."""
    before = tile.index * TILE_WIDTH
    return (
        before < size >> (TILE_HEIGHT * (tile.level or 0)) and tile.width < tile_at(tile.level, tile.index, size).width
    )


def cut(data: bytes, wide: Tile, width: int) -> bytes:
    """The narrower tile that `data`, the bytes of `wide`, begins with. Raises `NotVerified`."""
    if wide.level is not None:
        return data[: width * merkle.HASH_BYTES]
    return encode_entries(decode_entries(data, wide.width, f"log: {wide.path}")[:width])


def tiles_of(size: int, since: int = 0) -> Iterator[Tile]:
    """The tiles and bundles that a log of `size` entries has, and a log of `since` entries had not."""
    yield from _tiles_of_level(None, since, size)
    level = 0
    while size >> (TILE_HEIGHT * level):
        yield from _tiles_of_level(level, since >> (TILE_HEIGHT * level), size >> (TILE_HEIGHT * level))
        level += 1


def _tiles_of_level(level: int | None, old: int, new: int) -> Iterator[Tile]:
    if new == old:
        return
    for index in range(old // TILE_WIDTH, (new + TILE_WIDTH - 1) // TILE_WIDTH):
        yield Tile(level, index, min(TILE_WIDTH, new - index * TILE_WIDTH))


def tile_at(level: int | None, index: int, size: int) -> Tile:
    """The tile `index` of `level` as a log of `size` entries has it."""
    count = size >> (TILE_HEIGHT * (level or 0))
    return Tile(level, index, min(TILE_WIDTH, count - index * TILE_WIDTH))


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """A bundle: each entry with its length in 16 bits, big-endian."""
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise NotVerified(
                f"a log entry has {len(entry)} bytes, the limit is {ENTRY_BYTES_MAX}", remedy="shorten it"
            )
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_entries(bundle: bytes, width: int, what: str) -> list[bytes]:
    """The `width` entries of a bundle, to its last byte; `NotVerified` names `what` otherwise."""
    entries, at = [], 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        if end > len(bundle):
            break
        entries.append(bundle[at + 2 : end])
        at = end
    if at != len(bundle) or len(entries) != width:
        raise NotVerified(f"{what} does not hold {width} whole entries", remedy="restore the log from a copy")
    return entries


def decode_hashes(tile: bytes, width: int, what: str) -> list[bytes]:
    """The `width` hashes of a tile; `NotVerified` names `what` otherwise."""
    if len(tile) != width * merkle.HASH_BYTES:
        raise NotVerified(f"{what} does not hold {width} hashes", remedy="restore the log from a copy")
    return [tile[at : at + merkle.HASH_BYTES] for at in range(0, len(tile), merkle.HASH_BYTES)]


def hash_reader(size: int, read_tile: Callable[[Tile], bytes]) -> merkle.HashReader:
    """Hashes of complete subtrees of a log of `size` entries, out of its tiles; each tile is read once."""
    tiles: dict[tuple[int, int], list[bytes]] = {}

    def read(level: int, index: int) -> bytes:
        tile_level, inside = divmod(level, TILE_HEIGHT)
        first = index << inside
        tile = tile_at(tile_level, first // TILE_WIDTH, size)
        key = (tile_level, tile.index)
        if key not in tiles:
            tiles[key] = decode_hashes(read_tile(tile), tile.width, tile.path)
        hashes = tiles[key][first % TILE_WIDTH : first % TILE_WIDTH + (1 << inside)]
        while len(hashes) > 1:
            hashes = [merkle.node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    return read


def next_level(hashes: Sequence[bytes]) -> bytes:
    """The hash that a full tile of 256 hashes gives to the level above."""
    return merkle.root_of_leaves(hashes)
