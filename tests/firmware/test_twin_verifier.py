# SPDX-License-Identifier: Apache-2.0
"""The verifier in each board's own bootloader, on the emulated board: Wycheproof's vectors, and keys of small order.

A sample of the vectors, the same each time; `firmware/tests/wycheproof.py FILE --board BOARD` takes them all.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter

import pytest
from signed_build import Workshop
from test_signatures import ZEROS, L, encodings, small_points, times, wycheproof_file
from wycheproof import Vector, accepted_on_twin, faults, read_vectors

SAMPLE = 24  # of 210 vectors; each takes some 50 ms of an idle machine
SMALL = 6


def lax_vectors(count: int) -> list[Vector]:
    """S = 0, key and R of small order, and a message for which R = -hA: the equation of a signature holds."""
    found = []
    keys = sorted(point for point in small_points() if times(4, point) != (0, 1))
    for number in itertools.count():
        key, message = keys[number % len(keys)], number.to_bytes(4, "little")
        for r in sorted(small_points() - {(0, 1)}):
            texts = encodings(r)[0], encodings(key)[0]
            h = int.from_bytes(hashlib.sha512(bytes.fromhex("".join(texts)) + message).digest(), "little") % L
            if times(8 - h % 8, key) == r:
                found.append(Vector(number, texts[1], message.hex(), texts[0] + ZEROS, "invalid", ()))
        if len(found) >= count:
            return found
    raise AssertionError


@pytest.mark.timeout(600)
def test_the_bootloader_judges_as_wycheproof_does(workshop: Workshop) -> None:
    vectors = random.Random(1).sample(read_vectors(wycheproof_file()), SAMPLE)
    small = lax_vectors(SMALL)
    said = accepted_on_twin(workshop, [*vectors, *small])
    assert faults([*vectors, *small], said) == []
    results = Counter(vector.result for vector in vectors if vector.fits)
    assert results["valid"] >= 5
    assert results["invalid"] >= 5
