# SPDX-License-Identifier: Apache-2.0
"""Keyless signing with tokens that are not good, at services that lie or hang: nothing that does not verify is handed
out, nothing is signed by key because somebody lied, and no message holds a token.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from keyless_bench import WHO
from keyless_site import PAYLOAD, Hurried, here, signers_at, write_token

from assay.backends.clocks.system_clock import SystemClock
from assay.errors import AssayError, InfrastructureError, Refused, ServiceAway, UsageFault
from assay.formats import der, sigstore_bundle
from assay.model.trust import Role
from assay.simulation.sigstore_lab.lab import LOG, SigstoreLab
from assay.simulation.sigstore_lab.timestamp_authority import TimestampAuthority
from assay.simulation.sigstore_lab.transparency_log import TransparencyLog

__all__ = ["here"]
CERTIFICATE, ENTRIES, STAMP = "/api/v2/signingCert", f"{LOG}/log/entries", "/tsa"
Change = Callable[["LyingLab", bytes, Any], Any]


class LyingLab(SigstoreLab):
    """A lab whose answers to a path can be changed (by what is asked and the right answer), or that does not answer."""

    def __init__(self) -> None:
        self.lies: dict[str, Change] = {}
        self.hangs: str | None = None
        self.goes_on = threading.Event()
        super().__init__()

    def post(self, path: str, body: bytes, authorization: str) -> tuple[str, bytes]:
        if path == self.hangs:
            self.goes_on.wait(120)
        kind, right = super().post(path, body, authorization)
        if path in self.lies and path == STAMP:
            return kind, self.lies[path](self, body, right)
        if path in self.lies:
            return kind, json.dumps(self.lies[path](self, body, json.loads(right))).encode()
        return kind, right


@pytest.fixture(scope="module")
def running() -> Iterator[LyingLab]:
    with LyingLab() as found:
        yield found


@pytest.fixture
def lab(running: LyingLab) -> Iterator[LyingLab]:
    yield running
    running.goes_on.set()
    running.lies, running.hangs, running.goes_on = {}, None, threading.Event()


@pytest.fixture
def folder(tmp_path: Path, lab: LyingLab) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(lab.trust_config))
    write_token(tmp_path, lab.provider.token(WHO))
    return tmp_path


def _token(lab: LyingLab, key: Any = None, algorithm: str = "ES256", **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": lab.url, "sub": WHO, "aud": "sigstore", "iat": now, "nbf": now, "exp": now + 600, **changes}
    return jwt.encode(claims, lab.provider._key if key is None else key, algorithm=algorithm, headers={"kid": "lab"})


TOKENS: dict[str, tuple[Callable[[LyingLab], str], type[AssayError]]] = {
    "expired": (lambda lab: _token(lab, exp=int(time.time()) - 3600, nbf=0, iat=0), Refused),
    "from the future": (lambda lab: _token(lab, nbf=int(time.time()) + 9000, exp=int(time.time()) + 9999), Refused),
    "issued in the future": (
        lambda lab: _token(lab, iat=int(time.time()) + 9000, exp=int(time.time()) + 9999),
        Refused,
    ),
    "for another audience": (lambda lab: _token(lab, aud="another"), Refused),
    "for none": (lambda lab: _token(lab, aud=[]), Refused),
    "of another issuer": (lambda lab: _token(lab, iss="https://token.example"), Refused),
    "of nobody": (lambda lab: _token(lab, sub=None), Refused),
    "without an end": (lambda lab: _token(lab, exp=None), Refused),
    "by another key": (lambda lab: _token(lab, ec.generate_private_key(ec.SECP256R1())), Refused),
    "unsigned": (lambda lab: _token(lab, "", "none"), Refused),
    "of somebody else": (lambda lab: _token(lab, sub="https://ci.example/evil"), Refused),
    "of a name that goes on behind a null byte": (lambda lab: _token(lab, sub=f"{WHO}\0evil"), Refused),
    "with a null byte": (lambda lab: f"{lab.provider.token(WHO)}\0", Refused),
    "with a null byte inside": (lambda lab: lab.provider.token(WHO).replace(".", ".\0", 1), Refused),
    "with a line feed inside": (lambda lab: lab.provider.token(WHO).replace(".", ".\n", 1), Refused),
    "huge": (lambda lab: _token(lab, pad="x" * 65536), UsageFault),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("kind", TOKENS)
def test_a_token_that_is_not_good(folder: Path, lab: LyingLab, kind: str) -> None:
    make, error = TOKENS[kind]
    write_token(folder, make(lab))
    with pytest.raises(error) as told:
        signers_at(folder, Hurried(), when_away="queue").sign_statement(Role.BUILDER, PAYLOAD)
    assert (folder / "token").read_text()[10:40] not in str(told.value) + str(told.value.remedy)
    assert not (folder / "log-queue").exists()


def _certificate_of(answer: Any, certificate: x509.Certificate) -> Any:
    chain = answer["signedCertificateEmbeddedSct"]["chain"]["certificates"]
    return {
        "signedCertificateEmbeddedSct": {
            "chain": {"certificates": [certificate.public_bytes(Encoding.PEM).decode("ascii"), *chain[1:]]}
        }
    }


def _another_key(lab: LyingLab, _body: bytes, answer: Any) -> Any:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return _certificate_of(answer, lab.authority.issue(key, WHO))


def _key_of(answer: Any) -> ec.EllipticCurvePublicKey:
    pem = answer["signedCertificateEmbeddedSct"]["chain"]["certificates"][0]
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _another_name(lab: LyingLab, _body: bytes, answer: Any) -> Any:
    return _certificate_of(answer, lab.authority.issue(_key_of(answer), "https://ci.example/evil"))


def _of_strangers(_lab: LyingLab, _body: bytes, answer: Any) -> Any:
    with SigstoreLab() as other:
        return _certificate_of(answer, other.authority.issue(_key_of(answer), WHO))


def _ended(lab: LyingLab, _body: bytes, answer: Any) -> Any:
    return _certificate_of(answer, lab.authority.issue(_key_of(answer), WHO, timedelta(hours=-1)))


def _another_entry(lab: LyingLab, _body: bytes, answer: Any) -> Any:
    """Of an artifact before this one, with a good proof under the newest checkpoint."""
    return lab.log._proved(int(answer["logIndex"]) - 1, int(answer["inclusionProof"]["treeSize"]))


def _an_old_checkpoint(lab: LyingLab, _body: bytes, answer: Any) -> Any:
    size = int(answer["inclusionProof"]["treeSize"])
    answer["inclusionProof"]["checkpoint"]["envelope"] = lab.log._checkpoint(size - 1)
    return answer


def _a_proof_of_before(lab: LyingLab, _body: bytes, answer: Any) -> Any:
    """The whole set of before this entry: the proof, size and checkpoint of the one before it."""
    size = int(answer["inclusionProof"]["treeSize"])
    answer["inclusionProof"] = lab.log._proved(int(answer["logIndex"]) - 1, size - 1)["inclusionProof"]
    return answer


def _a_shard_that_nobody_knows(lab: LyingLab, body: bytes, _answer: Any) -> Any:
    """Another key under the same name."""
    return TransparencyLog(lab.log.origin).answer(json.loads(body))


def _an_index_from_elsewhere(_lab: LyingLab, _body: bytes, answer: Any) -> Any:
    answer["logIndex"] = answer["inclusionProof"]["logIndex"] = str(2**62)
    return answer


def _no_entry(_lab: LyingLab, _body: bytes, _answer: Any) -> Any:
    return {}


def _another_hash(lab: LyingLab, body: bytes, _answer: bytes) -> bytes:
    """A good stamp, with the nonce that was asked for, over other bytes."""
    parts = list(der.items(der.only(body, der.SEQUENCE).content))
    algorithm, digest = der.items(parts[1].content)
    other = der.encode(der.OCTETS, bytes(each ^ 1 for each in digest.content))
    imprint = der.encode(der.SEQUENCE, algorithm.whole, other)
    return lab.stamper.answer(der.encode(der.SEQUENCE, parts[0].whole, imprint, *(part.whole for part in parts[2:])))


def _another_nonce(lab: LyingLab, body: bytes, _answer: bytes) -> bytes:
    parts = list(der.items(der.only(body, der.SEQUENCE).content))
    nonce = next(part for part in parts if part.tag == der.INTEGER and part is not parts[0])
    changed = der.encode(der.INTEGER, bytes([nonce.content[0], *nonce.content[1:-1], nonce.content[-1] ^ 1]))
    return lab.stamper.answer(der.encode(der.SEQUENCE, *(changed if part is nonce else part.whole for part in parts)))


def _at(shift: timedelta) -> Change:
    """A good stamp of the authority, of another time."""

    def stamp(lab: LyingLab, body: bytes, _answer: bytes) -> bytes:
        lab.stamper.clock = lambda: datetime.now(UTC) + shift
        try:
            return lab.stamper.answer(body)
        finally:
            lab.stamper.clock = lambda: datetime.now(UTC)

    return stamp


def _by_a_stranger(_lab: LyingLab, body: bytes, _answer: bytes) -> bytes:
    return TimestampAuthority().answer(body)


def _rejection(_lab: LyingLab, _body: bytes, _answer: bytes) -> bytes:
    return der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, der.integer(2)))


LIES: dict[str, tuple[str, Change]] = {
    "a certificate for another key": (CERTIFICATE, _another_key),
    "a certificate for another name": (CERTIFICATE, _another_name),
    "a certificate of strangers": (CERTIFICATE, _of_strangers),
    "a certificate that had ended": (CERTIFICATE, _ended),
    "no certificate": (CERTIFICATE, _no_entry),
    "another entry": (ENTRIES, _another_entry),
    "an old checkpoint": (ENTRIES, _an_old_checkpoint),
    "a proof of before": (ENTRIES, _a_proof_of_before),
    "a shard that nobody knows": (ENTRIES, _a_shard_that_nobody_knows),
    "an index from elsewhere": (ENTRIES, _an_index_from_elsewhere),
    "no entry": (ENTRIES, _no_entry),
    "a stamp of another hash": (STAMP, _another_hash),
    "a stamp from before the certificate": (STAMP, _at(timedelta(hours=-1))),
    "a stamp from after the certificate": (STAMP, _at(timedelta(hours=1))),
    "a stamp of strangers": (STAMP, _by_a_stranger),
    "a rejection": (STAMP, _rejection),
    "an empty stamp": (STAMP, lambda *_: b""),
    "a stamp of zeros": (STAMP, lambda *_: bytes(2**20)),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("kind", LIES)
def test_a_service_that_lies(folder: Path, lab: LyingLab, kind: str) -> None:
    """Status 3, but for a certificate of somebody else, which is the token's or the setting's fault (4)."""
    signers_at(folder).sign_statement(Role.BUILDER, PAYLOAD)  # an entry before the one that is lied about
    path, lie = LIES[kind]
    lab.lies = {path: lie}
    with pytest.raises((InfrastructureError, Refused)) as told:
        signers_at(folder, Hurried(), when_away="queue").sign_statement(Role.BUILDER, PAYLOAD)
    assert told.value.remedy
    assert not (folder / "log-queue").exists(), told.value


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("status", [503, 429])
def test_who_stamps_is_away(folder: Path, lab: LyingLab, status: int) -> None:
    """The client goes on without a stamp, logs, and calls its own bundle invalid in the end: that is a service that is
    away, and no client that failed.
    """
    lab.out_of_order = {STAMP: status}
    try:
        bundle = signers_at(folder, Hurried(), when_away="queue").sign_statement(Role.BUILDER, PAYLOAD)
        with pytest.raises(ServiceAway, match=f"do not answer \\(HTTP {status}\\): TimestampError"):
            signers_at(folder, Hurried()).sign_statement(Role.BUILDER, PAYLOAD)
    finally:
        lab.out_of_order = {}
    assert isinstance(sigstore_bundle.decode(bundle).material, sigstore_bundle.KeyHint)


@pytest.mark.usefixtures("here")
def test_a_stamp_with_another_nonce_counts(folder: Path, lab: LyingLab) -> None:
    """The client does not compare it. A nonce shows that the answer is new; here the signature that is stamped is,
    which nobody had before: an older answer is over another one.
    """
    lab.lies = {STAMP: _another_nonce}
    bundle = signers_at(folder).sign_statement(Role.BUILDER, PAYLOAD)
    assert isinstance(sigstore_bundle.decode(bundle).material, sigstore_bundle.CertificateMaterial)


@pytest.mark.parametrize("path", [ENTRIES, STAMP])
def test_a_service_that_hangs_in_the_middle_is_away(folder: Path, lab: LyingLab, path: str) -> None:
    """The certificate was there, and the log, or who stamps, does not answer: signed by key, and kept for the log."""
    lab.hangs = path
    for attempt_s in (8, 40, 120):  # as long as a busy machine needs for what comes before
        limits = {"attempt_s": attempt_s, "deadline_s": attempt_s}
        signers = signers_at(folder, SystemClock(), **limits, when_away="queue")
        began_s = time.monotonic()
        try:
            bundle = signers.sign_statement(Role.BUILDER, PAYLOAD)
        except InfrastructureError as error:
            assert "of an attempt, the identity token took" in error.message
            continue
        assert time.monotonic() - began_s < attempt_s + 60
        break
    assert isinstance(sigstore_bundle.decode(bundle).material, sigstore_bundle.KeyHint)
    assert len(list((folder / "log-queue").glob("*.sigstore.json"))) == 1
