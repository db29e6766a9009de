# SPDX-License-Identifier: Apache-2.0
"""One key of TUF metadata is one key, in every place that lists keys and however it is written."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from no_collection import no_collection
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import CryptoSigner, Key

from assay.errors import NotVerified
from assay.formats.tuf_keys import check_distinct_keys

SIGNERS = {
    "ed25519": CryptoSigner.generate_ed25519(),
    "ecdsa": CryptoSigner.generate_ecdsa(),
    "rsa": CryptoSigner.generate_rsa(),
}
KEYS = {kind: signer.public_key.to_dict() for kind, signer in SIGNERS.items()}
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


DISGUISES: dict[str, Callable[[str], str]] = {
    "blanks in hex": lambda text: f"{text[:2]} {text[2:4]}\n{text[4:]}",
    "text in front": lambda text: f"of the offline role\n{text}",
    "a mark in front": lambda text: f"\ufeff{text}",
    "a null in front": lambda text: f"\0{text}",
    "text behind": lambda text: f"{text}\nof the offline role",
    "it twice": lambda text: text + text,
}


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
@pytest.mark.parametrize("kind", KEYS)
def test_a_key_in_disguise_verifies_only_where_it_is_seen(kind: str, disguise: Callable[[str], str]) -> None:
    """Whatever the library lets verify a signature is the key that it is; each kind has disguises that it does."""
    key, signer = KEYS[kind], SIGNERS[kind]
    disguised = {**key, "keyval": {"public": disguise(key["keyval"]["public"])}}
    signature = signer.sign(b"data")
    signature.keyid = "b" * 64
    try:
        Key.from_dict("b" * 64, json.loads(json.dumps(disguised))).verify_signature(signature, b"data")
    except (VerificationError, UnverifiedSignatureError, ValueError):
        return
    place = PLACES["a role of the root"]({"a" * 64: key, "b" * 64: disguised}, ["a" * 64, "b" * 64])
    with pytest.raises(NotVerified, match="has one key twice"):
        check_distinct_keys(json.dumps({"signed": place}).encode())


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
    with no_collection():
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
