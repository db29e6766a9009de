# SPDX-License-Identifier: Apache-2.0
"""What a power cut leaves of a flash operation: nothing of it, all of it, or a part.

Guards: a state follows from the chip, the operation, the tear and a seed alone, so that one cut can be made again. A
torn program only ever cleared bits that were to be cleared, a torn erase only touched its own range.
Leaves to others: bits that read differently each time they are read. No file holds those; `bits` settles each by the
seed, one way for all later reads.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from assay.model.powercut import Tear
from assay.simulation.nor_flash import Erase, NorFlash, Operation, masked

TornRange = Callable[[bytes, bytes, random.Random], bytes]
"""From the range's content before and after the operation to what the cut left."""


def torn(chip: NorFlash, operation: Operation, tear: Tear, seed: str) -> NorFlash:
    """A chip like `chip` after a cut in `operation`. Raises `NorFault` when the operation itself is one."""
    old, new = chip.read(operation.address, operation.size), chip.after(operation)
    left = chip.copy()
    left.write(operation.address, _TEARS[tear](old, new, random.Random(seed)))  # noqa: S311 (a replay, no secret)
    return left


def tears_of(chip: NorFlash, operation: Operation, wanted: tuple[Tear, ...], seed: Callable[[Tear], str]) -> list[Tear]:
    """Those of `wanted` that leave different states, in the order of `Tear`; none when the operation changes nothing.

    What equals the state before or after the operation is left out: the one comes as `before`, the other as the next
    operation's `before`.
    """
    old, new = chip.read(operation.address, operation.size), chip.after(operation)
    if old == new:
        return []
    seen = {new} if Tear.BEFORE in wanted else {old, new}
    found = []
    for tear in sorted(set(wanted) - {Tear.AFTER}, key=list(Tear).index):
        if tear is Tear.ZEROS and not isinstance(operation, Erase):
            continue
        left = _TEARS[tear](old, new, random.Random(seed(tear)))  # noqa: S311
        if left not in seen:
            found.append(tear)
            seen.add(left)
    return found


def _first_half(old: bytes, new: bytes, _dice: random.Random) -> bytes:
    half = len(old) // 2
    return new[:half] + old[half:]


def _last_half(old: bytes, new: bytes, _dice: random.Random) -> bytes:
    half = len(old) // 2
    return old[:half] + new[half:]


def _undecided_bits(old: bytes, new: bytes, dice: random.Random) -> bytes:
    """Each bit that the operation changes has changed or has not."""
    changed = int.from_bytes(old, "little") ^ int.from_bytes(new, "little")
    flipped = changed & dice.getrandbits(8 * len(old))
    return (int.from_bytes(old, "little") ^ flipped).to_bytes(len(old), "little")


def _zeros(old: bytes, _new: bytes, _dice: random.Random) -> bytes:
    """Before they erase, chips program the whole sector: cut there, it is all zeros."""
    return masked(old, bytes(len(old)))


_TEARS: dict[Tear, TornRange] = {
    Tear.BEFORE: lambda old, _new, _dice: old,
    Tear.FIRST: _first_half,
    Tear.LAST: _last_half,
    Tear.BITS: _undecided_bits,
    Tear.ZEROS: _zeros,
    Tear.AFTER: lambda _old, new, _dice: new,
}
