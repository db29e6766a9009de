# SPDX-License-Identifier: Apache-2.0
"""A role's key in AWS KMS: the real client (boto3) in the real signer process, against a service on loopback.

The service below is ours and no cloud: it answers GetPublicKey and Sign as the protocol says (`TrentService`, JSON 1.1;
a digest comes, a DER signature goes), and fails as it documents. moto cannot stand in: it signs no digests.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from keyless_bench import SHA256 as SUBJECT
from keyless_bench import statement
from signer_process import signer

from assay.backends.signers.service import SignerProcess
from assay.cli.main import main
from assay.errors import AssayError, InfrastructureError, StorageError
from assay.formats.statement_verifier import verify_statement
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile

__all__ = ["signer"]

pytest.importorskip("boto3")

KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"


class KeyService(ThreadingHTTPServer):
    """One P-256 key. `refuses`: the error that it answers with."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.asked: list[dict[str, Any]] = []
        self.refuses: str | None = None

    @property
    def pem(self) -> str:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def answer(self, operation: str, said: dict[str, Any]) -> dict[str, Any]:
        self.asked.append({"operation": operation, **said})
        assert (operation, said["MessageType"]) == ("TrentService.Sign", "DIGEST")
        digest = base64.b64decode(said["Message"])
        signature = self.key.sign(digest, ec.ECDSA(Prehashed(SHA256())))
        return {"KeyId": said["KeyId"], "SigningAlgorithm": said["SigningAlgorithm"], "Signature": _text(signature)}


class _Handler(BaseHTTPRequestHandler):
    server: KeyService

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, told = 200, dict[str, Any]()
        if self.server.refuses is not None or said["KeyId"] != KEY_ID:
            status, told = 400, {"__type": self.server.refuses or "NotFoundException", "message": "no"}
        else:
            told = self.server.answer(self.headers["X-Amz-Target"], said)
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KeyService]:
    with KeyService() as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        environment = {
            "AWS_ENDPOINT_URL_KMS": f"http://127.0.0.1:{service.server_port}",
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield service
        service.shutdown()


def test_a_builder_signs_by_a_key_in_the_service(kms: KeyService, signer: SignerProcess) -> None:
    key = signer.use_key(Role.BUILDER, f"awskms:{KEY_ID}", public=kms.pem, name=None, make=False, production=True)
    bundle = signer.sign_statement(Role.BUILDER, statement())
    trust = TrustFile(schema="assay.trust/1", name="strict", keys=(key,))  # it is no development key
    kinds = {PredicateType.RELEASE}
    found = verify_statement(bundle, trust, role=Role.BUILDER, predicate_types=kinds, subject_sha256=SUBJECT)
    assert found.signer == key and not key.development
    (asked,) = kms.asked
    assert (asked["KeyId"], asked["SigningAlgorithm"]) == (KEY_ID, "ECDSA_SHA_256")
    assert b"in-toto" not in base64.b64decode(asked["Message"])  # the digest leaves the host, and no more


def test_the_verb_gives_a_role_such_a_key(kms: KeyService, tmp_path: Path) -> None:
    public = tmp_path / "public.pem"
    public.write_text(kms.pem)
    words = ["keys", "use", "bench", f"awskms:{KEY_ID}", "--public", str(public), "--site", str(tmp_path / "site")]
    told = CliRunner().invoke(main, [*words, "--json"])
    assert told.exit_code == 0, told.output
    image = ["keys", "use", "image", f"awskms:{KEY_ID}", "--public", str(public), "--site", str(tmp_path / "site")]
    assert CliRunner().invoke(main, image).exit_code == 4  # images are signed by Ed25519


@pytest.mark.parametrize("refusal", ["AccessDeniedException", "DisabledException", "KMSInternalException"])
def test_a_service_that_does_not_sign(kms: KeyService, signer: SignerProcess, refusal: str) -> None:
    signer.use_key(Role.BUILDER, f"awskms:{KEY_ID}", public=kms.pem, name=None, make=False, production=True)
    kms.refuses = refusal
    with pytest.raises(InfrastructureError, match="the key service of awskms: fails"):
        signer.sign_statement(Role.BUILDER, statement())
    kms.refuses = None
    assert signer.sign_statement(Role.BUILDER, statement())  # the signer goes on


def test_a_key_that_is_not_there_and_one_that_is_another(kms: KeyService, signer: SignerProcess) -> None:
    signer.use_key(Role.BUILDER, "awskms:another", public=kms.pem, name=None, make=False, production=True)
    with pytest.raises(InfrastructureError, match="the key service of awskms: fails"):
        signer.sign_statement(Role.BUILDER, statement())
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    signer.use_key(Role.BUILDER, f"awskms:{KEY_ID}", public=pem, name=None, make=False, production=True)
    with pytest.raises(InfrastructureError, match="does not verify with its public key"):
        signer.sign_statement(Role.BUILDER, statement())


def test_a_service_that_is_away_or_not_set_up(
    kms: KeyService, signer: SignerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer.use_key(Role.BUILDER, f"awskms:{KEY_ID}", public=kms.pem, name=None, make=False, production=True)
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")
    signer.close()  # the next one gets the environment of now
    with pytest.raises(InfrastructureError, match="EndpointConnectionError"):
        signer.sign_statement(Role.BUILDER, statement())
    signer.close()
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    with pytest.raises(StorageError, match="NoRegionError") as told:
        signer.sign_statement(Role.BUILDER, statement())
    assert isinstance(told.value, AssayError) and "region" in told.value.remedy
