# SPDX-License-Identifier: Apache-2.0
"""Merkle trees against the definition in RFC 6962 section 2.1, and against known answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from assay.errors import NotVerified
from assay.formats import merkle

# Leaves and roots of the reference tree of certificate-transparency (github.com/google/certificate-transparency,
# merkletree tests), which other implementations are tested with too.
CT_LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")] + [
    bytes(range(0x60, 0x70))
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def definition(leaves: Sequence[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 writes it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(definition(leaves[:split]), definition(leaves[split:]))


LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(70)]


def read(level: int, index: int) -> bytes:
    return definition(LEAVES[index << level : (index + 1) << level])


@pytest.mark.parametrize("size", range(1, 9))
def test_known_roots(size: int) -> None:
    leaves = [merkle.leaf_hash(entry) for entry in CT_LEAVES[:size]]
    assert merkle.root_of_leaves(leaves).hex() == CT_ROOTS[size - 1]


def test_every_proof_up_to_size_70() -> None:
    roots = [definition(LEAVES[:size]) for size in range(len(LEAVES) + 1)]
    for size in range(1, len(LEAVES) + 1):
        assert merkle.root(size, read) == roots[size]
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, read)
            merkle.verify_inclusion(LEAVES[index], index, size, proof, roots[size])
        for old in range(1, size + 1):
            merkle.verify_consistency(old, size, merkle.consistency_proof(old, size, read), roots[old], roots[size])


@pytest.mark.parametrize(("index", "size"), [(0, 1), (3, 7), (6, 7), (4, 8), (63, 64), (64, 65)])
def test_wrong_inclusion(index: int, size: int) -> None:
    root, proof = definition(LEAVES[:size]), merkle.inclusion_proof(index, size, read)
    wrong = [
        (LEAVES[(index + 1) % 70], index, size, proof, root),
        (LEAVES[index], index, size, proof, b"\0" * 32),
        (LEAVES[index], index, size, [*proof, b"\0" * 32], root),
        (LEAVES[index], size, size, proof, root),
        (LEAVES[index], -1, size, proof, root),
        (LEAVES[index][:31], index, size, proof, root),
        (LEAVES[index], index + size, size * 2, proof, root),
    ]
    if proof:
        wrong += [
            (LEAVES[index], index, size, proof[:-1], root),
            (LEAVES[index], index, size, proof[::-1] if len(proof) > 1 else [], root),
            (LEAVES[index], index, size, [proof[0][:31], *proof[1:]], root),
            (LEAVES[index], index ^ 1, size, proof, root),
        ]
    for arguments in wrong:
        with pytest.raises(NotVerified):
            merkle.verify_inclusion(*arguments)


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 7), (4, 8), (6, 7), (32, 65), (7, 7)])
def test_wrong_consistency(old: int, new: int) -> None:
    old_root, new_root = definition(LEAVES[:old]), definition(LEAVES[:new])
    proof = merkle.consistency_proof(old, new, read)
    wrong = [
        (old, new, proof, b"\0" * 32, new_root),
        (old, new, proof, old_root, b"\0" * 32),
        (old, new, [*proof, b"\0" * 32], old_root, new_root),
        (0, new, [], merkle.EMPTY_ROOT, new_root),
        (new + 1, new, proof, old_root, new_root),
        (old, new, [item[:31] for item in proof] or [b""], old_root, new_root),
    ]
    if proof:
        wrong += [(old, new, proof[:-1], old_root, new_root), (old, new, [], old_root, new_root)]
    for arguments in wrong:
        with pytest.raises(NotVerified):
            merkle.verify_consistency(*arguments)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3)])
def test_no_such_entry(index: int, size: int) -> None:
    with pytest.raises(NotVerified):
        merkle.inclusion_proof(index, size, read)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3), (-1, 3)])
def test_no_such_history(old: int, new: int) -> None:
    with pytest.raises(NotVerified):
        merkle.consistency_proof(old, new, read)
