# SPDX-License-Identifier: Apache-2.0
"""DSSE: the bytes that are signed, the envelope, and openssl as a second opinion on the signature."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from memory_signer import MemorySigner

from assay.errors import NotVerified
from assay.formats import dsse
from assay.model.statement import PAYLOAD_TYPE
from assay.model.trust import Role


def test_pae_of_the_specification() -> None:
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


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
