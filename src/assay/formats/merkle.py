# SPDX-License-Identifier: Apache-2.0
"""Merkle trees of RFC 6962 section 2: roots, inclusion and consistency proofs, and their verification.

Guards: a proof that verifies says exactly what the caller asked, for these sizes and this root; all limits are
checked.
Leaves to others: where hashes are kept (`tlog_tiles`), signatures over roots (`checkpoint`). No file and no network
here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from assay.errors import NotVerified

HASH_BYTES = 32

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

HashReader = Callable[[int, int], bytes]
"""`(level, index)` to the hash over the complete subtree of `2**level` leaves that begins at leaf `index * 2**level`.
"""

_REMEDY = "get the proof again from the log"


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf: SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def reader_of_leaves(leaves: Sequence[bytes]) -> HashReader:
    """Hashes of all complete subtrees over these leaf hashes, computed once."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])
    return lambda level, index: levels[level][index]


def root_of_leaves(leaves: Sequence[bytes]) -> bytes:
    """The root over these leaf hashes."""
    return root(len(leaves), reader_of_leaves(leaves))


def root(size: int, read: HashReader) -> bytes:
    """The root of the tree with `size` leaves."""
    return EMPTY_ROOT if size == 0 else _range_hash(0, size, read)


def inclusion_proof(index: int, size: int, read: HashReader) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962 section 2.1.1, from the leaf upwards."""
    if not 0 <= index < size:
        raise NotVerified(f"the log has no entry {index} at size {size}", remedy="name an entry of the log")
    proof: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(_range_hash(middle, high, read))
            high = middle
        else:
            proof.append(_range_hash(low, middle, read))
            low = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, read: HashReader) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 6962 section 2.1.2; empty when both sizes are the same."""
    if not 0 < old <= new:
        raise NotVerified(f"no consistency proof from size {old} to size {new}", remedy="0 < old <= new")
    proof: list[bytes] = []
    low, high = 0, new
    while high != old:
        middle = low + _split(high - low)
        if old <= middle:
            proof.append(_range_hash(middle, high, read))
            high = middle
        else:
            proof.append(_range_hash(low, middle, read))
            low = middle
    if low != 0:
        proof.append(_range_hash(low, high, read))
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes) -> None:
    """`NotVerified` unless `proof` shows that `leaf` (a leaf hash) is entry `index` of the tree (RFC 9162 section
    2.1.3.2).
    """
    if not 0 <= index < size or not _hashes(leaf, expected_root, *proof):
        raise NotVerified("the inclusion proof is malformed", remedy=_REMEDY)
    first, second, computed = index, size - 1, leaf
    for step in proof:
        if second == 0:
            raise NotVerified("the inclusion proof is too long", remedy=_REMEDY)
        if first & 1 or first == second:
            computed = node_hash(step, computed)
            while not first & 1 and first != 0:
                first, second = first >> 1, second >> 1
        else:
            computed = node_hash(computed, step)
        first, second = first >> 1, second >> 1
    if second != 0 or computed != expected_root:
        raise NotVerified(f"entry {index} is not in the log of size {size} with this root", remedy=_REMEDY)


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """`NotVerified` unless the tree of size `new` continues the tree of size `old` (RFC 9162 section 2.1.4.2)."""
    if not 0 < old <= new or not _hashes(old_root, new_root, *proof):
        raise NotVerified("the consistency proof is malformed", remedy=_REMEDY)
    if old == new:
        if proof or old_root != new_root:
            raise NotVerified(f"two logs of size {old} have different roots", remedy="one of them was rewritten")
        return
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not steps or _fold(old, new, steps) != (old_root, new_root):
        raise NotVerified(
            f"the log of size {new} does not continue the log of size {old}", remedy="one of them was rewritten"
        )


def _fold(old: int, new: int, steps: list[bytes]) -> tuple[bytes, bytes] | None:
    first, second = old - 1, new - 1
    while first & 1:
        first, second = first >> 1, second >> 1
    old_root = new_root = steps[0]
    for step in steps[1:]:
        if second == 0:
            return None
        if first & 1 or first == second:
            old_root, new_root = node_hash(step, old_root), node_hash(step, new_root)
            while not first & 1 and first != 0:
                first, second = first >> 1, second >> 1
        else:
            new_root = node_hash(new_root, step)
        first, second = first >> 1, second >> 1
    return (old_root, new_root) if second == 0 else None


def _range_hash(low: int, high: int, read: HashReader) -> bytes:
    """MTH over the leaves from `low` to before `high`; `low` is a multiple of the largest power of two in the range."""
    count = high - low
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return read(level, low >> level)
    middle = low + _split(count)
    return node_hash(_range_hash(low, middle, read), _range_hash(middle, high, read))


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
