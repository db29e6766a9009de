# SPDX-License-Identifier: Apache-2.0
"""Sigstore bundles: their shape, every changed byte, and the models of the Sigstore project as a second reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from memory_signer import MemorySigner, trust_in

from assay.errors import NotVerified
from assay.formats import canonical_json, dsse, sigstore_bundle
from assay.formats.statement_verifier import verify_statement
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role

SIGNER = MemorySigner()
STATEMENT = Statement(
    subject=(Subject(name="image", digest={"sha256": "ab" * 32}),),
    predicateType=PredicateType.TEST_RESULT.value,
    predicate={"result": "PASSED", "count": 2**53 - 1},
)
BUNDLE = SIGNER.sign_statement(Role.BENCH, canonical_json.encode_value(STATEMENT))
DOCUMENT: dict[str, Any] = json.loads(BUNDLE)


def test_round_trip() -> None:
    bundle = sigstore_bundle.decode(BUNDLE)
    assert bundle.material == sigstore_bundle.KeyHint(SIGNER.public_key(Role.BENCH).keyid)
    assert sigstore_bundle.encode(bundle.envelope, SIGNER.public_key(Role.BENCH).keyid) == BUNDLE


def test_models_of_sigstore_read_it() -> None:
    from sigstore_models.bundle.v1 import Bundle

    read = Bundle.from_json(BUNDLE)
    assert read.media_type == sigstore_bundle.MEDIA_TYPE
    assert read.dsse_envelope is not None
    assert read.dsse_envelope.payload_type == "application/vnd.in-toto+json"


def test_certificate_is_kept_apart_from_keys() -> None:
    chain = {**DOCUMENT, "verificationMaterial": {"certificate": {"rawBytes": dsse.encode_base64(b"der")}}}
    bundle = sigstore_bundle.decode(json.dumps(chain).encode())
    assert bundle.material == sigstore_bundle.CertificateMaterial((b"der",))
    with pytest.raises(NotVerified, match="carries a certificate"):
        _verify(json.dumps(chain).encode())


MATERIAL = DOCUMENT["verificationMaterial"]
BAD: dict[str, Any] = {
    "another version": {**DOCUMENT, "mediaType": "application/vnd.dev.sigstore.bundle.v0.2+json"},
    "an unknown member": {**DOCUMENT, "x": 1},
    "no envelope": {key: value for key, value in DOCUMENT.items() if key != "dsseEnvelope"},
    "a message signature too": {**DOCUMENT, "messageSignature": {}},
    "no material": {**DOCUMENT, "verificationMaterial": {}},
    "key and certificate": {**DOCUMENT, "verificationMaterial": {**MATERIAL, "certificate": {"rawBytes": "AA=="}}},
    "unknown material": {**DOCUMENT, "verificationMaterial": {**MATERIAL, "publicKeyPem": "x"}},
    "a hint that is no text": {**DOCUMENT, "verificationMaterial": {"publicKey": {"hint": 1}}},
    "a key instead of a hint": {**DOCUMENT, "verificationMaterial": {"publicKey": {"hint": "a", "raw": "b"}}},
    "an empty chain": {**DOCUMENT, "verificationMaterial": {"x509CertificateChain": {"certificates": []}}},
    "material that is a list": {**DOCUMENT, "verificationMaterial": []},
}


@pytest.mark.parametrize("document", BAD.values(), ids=BAD.keys())
def test_refused(document: Any) -> None:
    with pytest.raises(NotVerified):
        sigstore_bundle.decode(json.dumps(document).encode())


def test_log_entries_are_kept_as_they_stand() -> None:
    material = {**MATERIAL, "tlogEntries": [{"logIndex": "1"}]}
    bundle = sigstore_bundle.decode(json.dumps({**DOCUMENT, "verificationMaterial": material}).encode())
    assert bundle.entries == ({"logIndex": "1"},)


def test_every_changed_byte_is_found() -> None:
    assert _verify(BUNDLE) == "PASSED"
    for place in range(len(BUNDLE)):
        for flip in (0x01, 0x20, 0x80):
            changed = bytearray(BUNDLE)
            changed[place] ^= flip
            with pytest.raises(NotVerified):
                _verify(bytes(changed))


def test_every_cut_is_found() -> None:
    for length in range(len(BUNDLE)):
        with pytest.raises(NotVerified):
            _verify(BUNDLE[:length])


def _verify(bundle: bytes) -> Any:
    found = verify_statement(
        bundle, trust_in(SIGNER), role=Role.BENCH, predicate_types={PredicateType.TEST_RESULT}, subject_sha256="ab" * 32
    )
    return found.statement.predicate["result"]
