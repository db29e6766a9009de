# SPDX-License-Identifier: Apache-2.0
"""One key of TUF metadata is one key, in every place that lists keys and however it is written."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.signer import CryptoSigner

from assay.errors import NotVerified
from assay.formats.tuf_keys import check_distinct_keys

KEYS = {
    "ed25519": CryptoSigner.generate_ed25519().public_key.to_dict(),
    "ecdsa": CryptoSigner.generate_ecdsa().public_key.to_dict(),
    "rsa": CryptoSigner.generate_rsa().public_key.to_dict(),
}
P256_COMPRESSED = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
"""What stands before a point of 33 bytes in its SubjectPublicKeyInfo."""

Place = Callable[[dict[str, Any], list[str]], dict[str, Any]]
PLACES: dict[str, Place] = {
    "a role of the root": lambda keys, ids: {"keys": keys, "roles": {"snapshot": {"keyids": ids, "threshold": 2}}},
    "a delegated role": lambda keys, ids: {
        "delegations": {"keys": keys, "roles": [{"name": "snapshot", "keyids": ids}]}
    },
    "succinct roles": lambda keys, ids: {
        "delegations": {"keys": keys, "succinct_roles": {"name_prefix": "snapshot", "keyids": ids}}
    },
}


def otherwise(key: dict[str, Any]) -> dict[str, Any]:
    """The same key, another text, scheme and owner."""
    public = key["keyval"]["public"]
    if key["keytype"] == "ed25519":
        return {**key, "keyval": {"public": public.upper()}, "x-owner": "b"}
    if key["keytype"] == "ecdsa":
        point = load_pem_public_key(public.encode()).public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        text = base64.encodebytes(P256_COMPRESSED + point).decode()
        return {**key, "keyval": {"public": f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n"}}
    return {**key, "keyval": {"public": "\n" + public.replace("\n", "\r\n") + "\n\n"}, "scheme": "rsa-pkcs1v15-sha256"}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("kind", KEYS)
def test_a_key_twice_is_seen(place: Place, kind: str) -> None:
    others = {name: key for name, key in KEYS.items() if name != kind}
    keys = {"a" * 64: KEYS[kind], "b" * 64: otherwise(KEYS[kind]), **{name * 8: key for name, key in others.items()}}
    check_distinct_keys(json.dumps({"signed": place(keys, [each for each in keys if each != "b" * 64])}).encode())
    check_distinct_keys(json.dumps({"signed": place(keys, ["a" * 64, "unknown"])}).encode())
    with pytest.raises(NotVerified, match="'snapshot' has one key twice, as aaaaaaaaaaaa and as bbbbbbbbbbbb"):
        check_distinct_keys(json.dumps({"signed": place(keys, [*keys])}).encode())


@pytest.mark.parametrize(
    "document",
    [
        *(
            b"",
            b"{",
            b"[]",
            b'{"signed": 1}',
            b'{"signed": {"roles": []}}',
            b'{"signed": {"roles": {"a": {"keyids": 3}}}}',
        ),
        b'{"signed": {"delegations": {"roles": [{}]}}}',
        *(b"[" * 100_000, b'{"signed":' * 100_000, b"\xff", b"9" * 100_000),
        b'{"signed": {"keys": {"a": 1}, "roles": {"r": {"keyids": ["a"]}}}}',
    ],
)
def test_what_is_no_metadata_is_left_to_the_library(document: bytes) -> None:
    check_distinct_keys(document)


def test_keys_that_cannot_be_read_are_what_is_written() -> None:
    keys = {name: {"keyval": {"public": f"-----BEGIN {name}"}} for name in "ab"}
    for public, twice in (("x", False), ("a", True)):
        keys["b"]["keyval"]["public"] = f"-----BEGIN {public}"
        document = json.dumps({"signed": PLACES["a role of the root"](keys, ["a", "b"])}).encode()
        if twice:
            with pytest.raises(NotVerified, match="one key twice"):
                check_distinct_keys(document)
        else:
            check_distinct_keys(document)
