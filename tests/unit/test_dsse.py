# SPDX-License-Identifier: Apache-2.0
"""DSSE: the bytes that are signed, the envelope, and openssl as a second opinion on the signature."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from memory_signer import MemorySigner

from assay.errors import NotVerified
from assay.formats import dsse
from assay.formats.public_key import signature_is_good, trusted_key
from assay.model.statement import PAYLOAD_TYPE
from assay.model.trust import Role


def test_pae_of_the_specification() -> None:
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_the_vector_of_the_specification() -> None:
    """The signature in DSSE's protocol, "Test Vectors": by this key over exactly these bytes. It writes r and s side by
    side, which the specification leaves open; ours are in DER, as everywhere in Sigstore, and no other way is read.
    """
    numbers = ec.EllipticCurvePublicNumbers(
        46950820868899156662930047687818585632848591499744589407958293238635476079160,
        5640078356564379163099075877009565129882514886557779369047442380624545832820,
        ec.SECP256R1(),
    )
    pem = numbers.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    key = trusted_key(pem, Role.BUILDER, name="specification", development=False)
    raw = base64.b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
    encoded = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    signed = dsse.pae("http://example.com/HelloWorld", b"hello world")
    assert signature_is_good(key, encoded, signed)
    assert not signature_is_good(key, raw, signed)
    assert not signature_is_good(key, encoded, dsse.pae("http://example.com/HelloWorl", b"d hello world"))
    assert not signature_is_good(key, encoded, b"hello world")


def test_pae_counts_bytes() -> None:
    assert dsse.pae("ä", "€".encode()) == "DSSEv1 2 ä 3 €".encode()


def test_round_trip() -> None:
    envelope = dsse.Envelope(b"payload\xff", b"signature", "key")
    assert dsse.from_json(dsse.to_json(envelope)) == envelope
    assert "keyid" not in dsse.to_json(dsse.Envelope(b"p", b"s"))["signatures"][0]


GOOD: dict[str, Any] = {"payload": "cA==", "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": "cw=="}]}
BAD: dict[str, Any] = {
    "another payload type": {**GOOD, "payloadType": "application/json"},
    "an unknown member": {**GOOD, "extra": 1},
    "no signatures": {**GOOD, "signatures": []},
    "two signatures": {**GOOD, "signatures": [{"sig": "cw=="}, {"sig": "cw=="}]},
    "signatures that are no list": {**GOOD, "signatures": {"sig": "cw=="}},
    "an unknown member of the signature": {**GOOD, "signatures": [{"sig": "cw==", "cert": "x"}]},
    "a keyid that is no text": {**GOOD, "signatures": [{"sig": "cw==", "keyid": 1}]},
    "URL-safe base64": {**GOOD, "payload": "-_-_"},
    "base64 without padding": {**GOOD, "payload": "cA"},
    "base64 with a line feed": {**GOOD, "payload": "cA==\n"},
    "base64 with stray bits": {**GOOD, "payload": "cB=="},
    "a payload that is no text": {**GOOD, "payload": 7},
    "no object": [],
}


@pytest.mark.parametrize("document", BAD.values(), ids=BAD.keys())
def test_refused(document: Any) -> None:
    assert dsse.from_json(GOOD) == dsse.Envelope(b"p", b"s")
    with pytest.raises(NotVerified):
        dsse.from_json(document)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_the_signature(tmp_path: Path) -> None:
    signer = MemorySigner()
    data = dsse.pae(PAYLOAD_TYPE, b'{"a":1}')
    (tmp_path / "key.pem").write_text(signer.public_key(Role.BUILDER).public)
    (tmp_path / "signature").write_bytes(signer.sign(Role.BUILDER, data))
    command = ["openssl", "dgst", "-sha256", "-verify", tmp_path / "key.pem", "-signature", tmp_path / "signature"]
    assert subprocess.run(command, input=data, check=False, capture_output=True).returncode == 0
    assert subprocess.run(command, input=data + b" ", check=False, capture_output=True).returncode != 0
