# SPDX-License-Identifier: Apache-2.0
"""Merkle proofs over trees of any size: true ones verify, a changed one never does; tiles give the same hashes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import NotVerified
from assay.formats import merkle, tlog_tiles
from assay.formats.tlog_tiles import Tile

LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(70_000)]
ABOVE = [tlog_tiles.next_level(LEAVES[at : at + 256]) for at in range(0, 69_888, 256)]
TOP = [tlog_tiles.next_level(ABOVE[:256])]


def _tile(tile: Tile) -> bytes:
    hashes = (LEAVES, ABOVE, TOP)[tile.level or 0]
    return b"".join(hashes[tile.index * 256 : tile.index * 256 + tile.width])


SIZES = st.integers(1, len(LEAVES))


@given(st.data(), SIZES)
def test_inclusion(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    read = tlog_tiles.hash_reader(size, _tile)
    root, proof = merkle.root(size, read), merkle.inclusion_proof(index, size, read)
    merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
    other = data.draw(st.integers(0, size - 1))
    if other != index:
        with pytest.raises(NotVerified):
            merkle.verify_inclusion(LEAVES[other], index, size, proof, root)
        with pytest.raises(NotVerified):
            merkle.verify_inclusion(LEAVES[index], other, size, proof, root)
    if proof:
        place, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        proof[place] = (int.from_bytes(proof[place], "big") ^ 1 << bit).to_bytes(32, "big")
        with pytest.raises(NotVerified):
            merkle.verify_inclusion(LEAVES[index], index, size, proof, root)


@given(st.data(), SIZES)
def test_consistency(data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(1, new))
    read = tlog_tiles.hash_reader(new, _tile)
    old_root = merkle.root(old, tlog_tiles.hash_reader(old, _tile))
    proof = merkle.consistency_proof(old, new, read)
    merkle.verify_consistency(old, new, proof, old_root, merkle.root(new, read))
    if proof:
        place, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        proof[place] = (int.from_bytes(proof[place], "big") ^ 1 << bit).to_bytes(32, "big")
        with pytest.raises(NotVerified):
            merkle.verify_consistency(old, new, proof, old_root, merkle.root(new, read))


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_bundles_read_back(entries: list[bytes]) -> None:
    bundle = tlog_tiles.encode_entries(entries)
    assert tlog_tiles.decode_entries(bundle, len(entries), "it") == entries
    with pytest.raises(NotVerified):
        tlog_tiles.decode_entries(bundle + b"\0", len(entries), "it")
    if bundle:
        with pytest.raises(NotVerified):
            tlog_tiles.decode_entries(bundle[:-1], len(entries), "it")


@given(SIZES, SIZES)
def test_tiles_of_an_append_and_of_the_log(old: int, new: int) -> None:
    old, new = sorted((old, new))
    whole = {tile.path for tile in tlog_tiles.tiles_of(new)}
    assert {tile.path for tile in tlog_tiles.tiles_of(new, old)} <= whole
    kept = {tile.path for tile in tlog_tiles.tiles_of(old) if tile.width == 256}
    assert whole == kept | {tile.path for tile in tlog_tiles.tiles_of(new, old)} | (
        whole & {tile.path for tile in tlog_tiles.tiles_of(old)}
    )
