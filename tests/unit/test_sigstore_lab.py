# SPDX-License-Identifier: Apache-2.0
"""The Sigstore lab in the hands of the real client, of `openssl ts`, and of people who ask it for the wrong things."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sigstore import dsse
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext
from sigstore.verify import Verifier, policy

from assay.cli.lab import SUBJECT
from assay.errors import InfrastructureError, NotVerified, UsageFault
from assay.formats import checkpoint, der, merkle, signed_note, tlog_tiles
from assay.pipeline import lab_folder
from assay.simulation.sigstore_lab.lab import SigstoreLab

WHO = "https://ci.example/release.yml@refs/heads/main"
STATEMENT = json.dumps(
    {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "image", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
    }
).encode()


@pytest.fixture(scope="module")
def lab() -> Iterator[SigstoreLab]:
    with SigstoreLab() as running:
        yield running


@pytest.fixture(scope="module")
def config(lab: SigstoreLab) -> ClientTrustConfig:
    return ClientTrustConfig.from_json(json.dumps(lab.trust_config))


@pytest.fixture(scope="module")
def bundle(lab: SigstoreLab, config: ClientTrustConfig) -> Bundle:
    with SigningContext.from_trust_config(config).signer(IdentityToken(lab.provider.token(WHO))) as signer:
        signer.sign_artifact(b"an entry before")
        return signer.sign_dsse(dsse.Statement(STATEMENT))


@pytest.mark.parametrize("who", [WHO, "someone@example.org"])
def test_the_real_client_signs_and_verifies(lab: SigstoreLab, config: ClientTrustConfig, who: str) -> None:
    with SigningContext.from_trust_config(config).signer(IdentityToken(lab.provider.token(who))) as signer:
        statement, artifact = signer.sign_dsse(dsse.Statement(STATEMENT)), signer.sign_artifact(b"artifact")
    verifier = Verifier(trusted_root=config.trusted_root)
    wanted = policy.Identity(identity=who, issuer=lab.url)
    assert verifier.verify_dsse(statement, wanted) == ("application/vnd.in-toto+json", STATEMENT)
    verifier.verify_artifact(b"artifact", artifact, wanted)
    with pytest.raises(Exception, match="do not match"):
        verifier.verify_dsse(statement, policy.Identity(identity="https://ci.example/other", issuer=lab.url))
    assert statement.log_entry._inner.kind_version.version == "0.0.2"


def test_names_say_that_it_is_no_production_ca(lab: SigstoreLab, bundle: Bundle) -> None:
    for certificate in (lab.authority.root.certificate, lab.stamper.root.certificate, lab.stamper.stamper.certificate):
        text = certificate.subject.rfc4514_string()
        assert "UNSAFE-DEVELOPMENT" in text and "no production CA" in text
    assert "UNSAFE-DEVELOPMENT" in bundle.signing_certificate.issuer.rfc4514_string()
    assert "no production CA" in json.dumps(lab.trust_config)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_the_time_stamp(tmp_path: Path, lab: SigstoreLab, bundle: Bundle) -> None:
    document = json.loads(bundle.to_json())
    stamp = document["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"]
    (tmp_path / "answer.tsr").write_bytes(base64.b64decode(stamp))
    (tmp_path / "root.pem").write_bytes(lab.stamper.root.certificate.public_bytes(Encoding.PEM))

    def verified(data: bytes) -> bool:
        (tmp_path / "data").write_bytes(data)
        words = ["openssl", "ts", "-verify", "-in", "answer.tsr", "-data", "data", "-CAfile", "root.pem"]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, check=False).returncode == 0

    assert verified(bundle.signature)
    assert not verified(bundle.signature + b"x")


def test_the_log_is_read_as_tiles(lab: SigstoreLab, bundle: Bundle) -> None:
    note = lab.log.read("checkpoint")
    head = checkpoint.verify(note, signed_note.VerifierKey(lab.log.origin, lab.log.public_raw))
    hashes = tlog_tiles.hash_reader(head.size, lambda tile: lab.log.read(tile.path))
    assert merkle.root(head.size, hashes) == head.root
    entries = tlog_tiles.decode_entries(lab.log.read(f"tile/entries/000.p/{head.size}"), head.size, "entries")
    assert bundle.log_entry._inner.canonicalized_body in entries
    assert _get(f"{lab.url}/rekor/api/v2/checkpoint")[0] == 200
    assert _get(f"{lab.url}/rekor/api/v2/tile/0/999")[0] == 404


def _get(url: str) -> tuple[int, bytes]:
    return _ask(urllib.request.Request(url))


def _ask(request: urllib.request.Request) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _certificate(lab: SigstoreLab, token: str, key: Any = None, request: bytes | None = None) -> tuple[int, bytes]:
    key = key or ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    pem = request or made.public_bytes(Encoding.PEM)
    body = json.dumps({"certificateSigningRequest": base64.b64encode(pem).decode()}).encode()
    return _ask(urllib.request.Request(f"{lab.url}/api/v2/signingCert", body, {"Authorization": f"Bearer {token}"}))


def test_no_certificate_without_a_good_token(lab: SigstoreLab) -> None:
    assert _certificate(lab, lab.provider.token(WHO))[0] == 200
    header, claims, signature = lab.provider.token(WHO).split(".")
    forged = base64.urlsafe_b64encode(base64.urlsafe_b64decode(claims + "==").replace(b"release", b"another")).rstrip(
        b"="
    )
    for token in ("", "x", f"{header}.{forged.decode()}.{signature}", lab.provider.token(WHO, valid_s=-60)):
        status, body = _certificate(lab, token)
        assert status == 400 and b"token" in body
    with SigstoreLab() as other:
        assert _certificate(lab, other.provider.token(WHO))[0] == 400


def test_no_certificate_without_the_key(lab: SigstoreLab) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    damaged = bytearray(made.public_bytes(Encoding.DER))
    damaged[-1] ^= 1
    text = base64.encodebytes(damaged)
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + text + b"-----END CERTIFICATE REQUEST-----\n"
    status, body = _certificate(lab, lab.provider.token(WHO), request=pem)
    assert status == 400 and b"possession" in body
    assert _certificate(lab, lab.provider.token(WHO), key=ec.generate_private_key(ec.SECP384R1()))[0] == 400


@pytest.mark.parametrize("what", ["signature", "digest", "kind", "junk"])
def test_nothing_is_logged_that_does_not_verify(lab: SigstoreLab, bundle: Bundle, what: str) -> None:
    spec = json.loads(bundle.log_entry._inner.canonicalized_body)["spec"]["hashedRekordV002"]
    asked = {"digest": spec["data"]["digest"], "signature": spec["signature"]}
    if what == "digest":
        asked["digest"] = base64.b64encode(b"x" * 32).decode()
    if what == "signature":
        asked["signature"] = {**asked["signature"], "content": base64.b64encode(b"x" * 70).decode()}
    document = {"dsseRequestV002" if what == "kind" else "hashedRekordRequestV002": asked}
    body = b"{" if what == "junk" else json.dumps(document).encode()
    size = checkpoint.read(lab.log.read("checkpoint")).size
    assert _ask(urllib.request.Request(f"{lab.url}/rekor/api/v2/log/entries", body))[0] == 400
    assert checkpoint.read(lab.log.read("checkpoint")).size == size


@pytest.mark.parametrize(
    "request_", [b"", b"0", b"\x30\x03\x02\x01", b"\x30\x03\x02\x01\x01", b"\x30\x84\xff\xff\xff\xff"]
)
def test_no_time_stamp_for_what_is_no_request(lab: SigstoreLab, request_: bytes) -> None:
    assert _ask(urllib.request.Request(f"{lab.url}/tsa", request_))[0] == 400


def test_der_to_the_last_byte() -> None:
    value = der.encode(der.SEQUENCE, der.integer(0), der.integer(255), der.encode(der.OCTETS, b"x" * 300))
    assert [item.tag for item in der.items(der.only(value, der.SEQUENCE).content)] == [2, 2, 4]
    assert der.oid("1.2.840.113549.1.7.2").hex() == "06092a864886f70d010702"
    for cut in range(1, len(value)):
        with pytest.raises(NotVerified):
            der.only(value[:cut], der.SEQUENCE)


def test_what_is_too_long_or_not_there(lab: SigstoreLab) -> None:
    headers = {"Content-Length": str(10**9)}
    assert _ask(urllib.request.Request(f"{lab.url}/tsa", b"x", headers))[0] == 413
    assert _get(f"{lab.url}/nothing")[0] == 404
    assert _get(f"{lab.url}/token")[0] == 404
    assert json.loads(_get(f"{lab.url}/.well-known/openid-configuration")[1])["issuer"] == lab.url


def test_a_port_that_is_taken(lab: SigstoreLab) -> None:
    with pytest.raises(InfrastructureError, match="cannot be used"):
        lab_folder.open_lab(int(lab.url.rpartition(":")[2]))


def test_a_folder_of_no_lab(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="not the folder of a Sigstore lab"):
        lab_folder.ask_token(tmp_path, WHO)
    elsewhere = {"oidcUrls": [{"url": "https://oauth2.example"}]}
    (tmp_path / "signing_config.json").write_text(json.dumps(elsewhere))
    with pytest.raises(UsageFault, match="on this machine"):
        lab_folder.ask_token(tmp_path, WHO)


def test_the_command_with_a_command_in_it(tmp_path: Path) -> None:
    script = f"'{tmp_path}/lab/token' --subject {WHO} > token; cat $ASSAY_LAB/trust_config.json > config; exit 7"
    words = [sys.executable, "-m", "assay", "lab", "sigstore", str(tmp_path / "lab"), "--", "sh", "-c", script]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 7 and "NO PRODUCTION CA" in done.stderr, done.stderr
    token = IdentityToken((tmp_path / "token").read_text().strip())
    assert token.identity == WHO
    assert token.issuer == ClientTrustConfig.from_json((tmp_path / "config").read_text()).signing_config.get_oidc_url()
    assert not any(b"PRIVATE" in file.read_bytes() for file in (tmp_path / "lab").iterdir())


def test_the_command_ends_when_told(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "assay", "lab", "sigstore", "--json", str(tmp_path / "lab")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and process.stdout is not None
        assert "NO PRODUCTION CA" in process.stderr.readline()
        os.kill(process.pid, signal.SIGTERM)
        document = json.loads(process.stdout.read())
    assert process.returncode == 0 and document["folder"] == str(tmp_path / "lab")


def test_the_default_subject_is_written_twice() -> None:
    assert lab_folder.DEFAULT_SUBJECT == SUBJECT
