# SPDX-License-Identifier: Apache-2.0
"""Statements of strangers by the public Sigstore services, verified by its trusted root and without a network; where
they are from: tests/data/public_sigstore/README.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from assay.cli.verify import command as verify
from assay.conformance import sigstore as conformance
from assay.errors import NotVerified
from assay.formats import sigstore_bundle, trusted_root
from assay.formats.keyless_proof import names_of
from assay.formats.log_entry_proof import LoggedSignature, _check_body, verify_entry
from assay.formats.public_key import der_of, signature_is_good, trusted_key
from assay.formats.statement_verifier import verify_statement
from assay.model.signer_limits import TrustedServices
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustedIdentity, TrustFile, VerifiedStatement
from assay.pipeline.trust_file import write_trust

pytest.importorskip("sigstore")

DATA = Path(__file__).parents[1] / "data" / "public_sigstore"
MADE = datetime(2024, 12, 4, 23, 13, 46, tzinfo=UTC)
ARCHIVE_SHA256 = "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3"
WORKFLOW = "https://github.com/trailofbits/pypi-attestations/.github/workflows/release.yml@refs/tags/"
NPM_MADE = datetime(2023, 8, 18, 16, 5, 35, tzinfo=UTC)
NPM_WORKFLOW = "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"
WHEEL_SHA256 = "c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201"


def root_of(instance: str) -> str:
    """The trusted root of `sigstore` (public) or `sigstage` (its staging) that the client's wheel has."""
    stores = files("sigstore").joinpath("_store").iterdir()
    return next(each for each in stores if f".{instance}." in each.name).joinpath("trusted_root.json").read_text()


def bundle(version: str = "0.3") -> bytes:
    """The provenance as the parts of a Sigstore bundle have been named in each version."""
    said = json.loads((DATA / "pypi_attestations-0.0.19.tar.gz.slsa.attestation").read_bytes())
    material, envelope = said["verification_material"], said["envelope"]
    leaf = {"rawBytes": material["certificate"]}
    old = version != "0.3"
    before = f"application/vnd.dev.sigstore.bundle+json;version={version}"
    document = {
        "mediaType": before if old else sigstore_bundle.MEDIA_TYPE,
        "verificationMaterial": {
            **({"x509CertificateChain": {"certificates": [leaf]}} if old else {"certificate": leaf}),
            "tlogEntries": material["transparency_entries"],
        },
        "dsseEnvelope": {
            "payload": envelope["statement"],
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": envelope["signature"]}],
        },
    }
    return json.dumps(document).encode()


def trust(instance: str = "sigstore", **limits: Any) -> TrustFile:
    who = TrustedIdentity(
        role=Role.BUILDER,
        name="release-workflow",
        sigstore="public",
        issuer="https://token.actions.githubusercontent.com",
        san_pattern=WORKFLOW + "*",
    )
    return TrustFile(
        schema="assay.trust/1",
        name="strangers",
        sigstore=(TrustedServices(name="public", trusted_root=root_of(instance)),),
        identities=(who.model_copy(update={"builder_ids": (WORKFLOW + "v0.0.19",), **limits}),),
    )


def check(data: bytes, by: TrustFile, subject: str = ARCHIVE_SHA256) -> VerifiedStatement:
    kinds = {PredicateType.PROVENANCE}
    return verify_statement(data, by, role=Role.BUILDER, predicate_types=kinds, subject_sha256=subject)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("somebody asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_a_provenance_of_the_public_services(version: str) -> None:
    found = check(bundle(version), trust())
    assert found.time is not None and found.time.when == MADE
    assert found.place is not None and found.place.index == 31550385
    assert found.named == (trust().identities[0].issuer, WORKFLOW + "v0.0.19")


def test_the_verb_says_which_identity_which_log_and_which_time(tmp_path: Path) -> None:
    file, by = tmp_path / "provenance.sigstore.json", tmp_path / "trust.toml"
    file.write_bytes(bundle())
    write_trust(by, trust(), replace=False)
    told = CliRunner().invoke(verify, [str(file), "--trust", str(by)], obj=None)
    words = " ".join(told.output.split())
    assert told.exit_code == 0, told.output
    for said in (WORKFLOW + "v0.0.19", "2024-12-04 23:13:46 UTC", "entry 31550385", "https://rekor.sigstore.dev"):
        assert said in words


def entry(change: Callable[[dict[str, Any]], object], of: bytes | None = None) -> bytes:
    document = json.loads(of or bundle())
    change(document["verificationMaterial"]["tlogEntries"][0])
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("data", "limits", "reason"),
    [
        (entry(lambda it: it.update(integratedTime="1733354027")), {}, "does not verify"),
        (entry(lambda it: it.pop("inclusionPromise")), {}, "does not verify"),
        (entry(lambda it: it["inclusionProof"].pop("hashes")), {}, "does not verify"),
        (bundle(), {"san_pattern": WORKFLOW.replace("release", "other") + "*"}, "does not trust"),
        (bundle(), {"issuer": "https://gitlab.com"}, "does not trust"),
        (bundle(), {"builder_ids": ("urn:assay:builder:sandbox",)}, "may not vouch for the builder"),
        (bundle(), {"valid_until": datetime(2024, 12, 4, tzinfo=UTC)}, r"when this was signed .as https://rekor"),
        (bundle(), {"revoked": True}, "revoked"),
    ],
)
def test_what_is_not_so_is_refused(data: bytes, limits: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotVerified, match=reason):
        check(data, trust(**limits))


def test_another_root_or_another_file() -> None:
    with pytest.raises(NotVerified, match="does not verify"):
        check(bundle(), trust("sigstage"))
    with pytest.raises(NotVerified, match="is not about the file"):
        check(bundle(), trust(), WHEEL_SHA256)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x0a"),  # version 11; found by atheris
        (b"\x06\x03\x55\x1d\x0e", b"\x06\x03\x55\x1d\x0f"),  # an extension twice
    ],
)
def test_a_certificate_that_its_parser_has_an_error_of_its_own_for(good: bytes, bad: bytes) -> None:
    leaf = base64.b64decode(json.loads(bundle())["verificationMaterial"]["certificate"]["rawBytes"])
    assert leaf.count(good) == 1 and names_of(leaf)[1] == WORKFLOW + "v0.0.19"
    with pytest.raises(NotVerified, match="the bundle's certificate is malformed"):
        names_of(leaf.replace(good, bad))

    def changed(it: dict[str, Any]) -> None:
        body = json.loads(base64.b64decode(it["canonicalizedBody"]))
        pem = (
            b"-----BEGIN CERTIFICATE-----\n"
            + base64.b64encode(leaf.replace(good, bad))
            + b"\n-----END CERTIFICATE-----\n"
        )
        body["spec"]["signatures"][0]["verifier"] = base64.b64encode(pem).decode()
        it["canonicalizedBody"] = base64.b64encode(json.dumps(body).encode()).decode()

    (logged,) = json.loads(entry(changed))["verificationMaterial"]["tlogEntries"]
    about = LoggedSignature(b"", b"", certificate_der=leaf, payload=b"")
    with pytest.raises(NotVerified):
        verify_entry(logged, about, trusted_root.read(root_of("sigstore")))


def test_a_statement_whose_type_says_all(tmp_path: Path) -> None:
    """A predicate may be left out, or `null`, by the in-toto specification."""
    root = tmp_path / "root.json"
    root.write_text(root_of("sigstage"))
    words = ["verify-bundle", "--bundle", str(DATA / "rfc8785-0.1.2-py3-none-any.whl.sigstore")]
    words += ["--certificate-identity", "william@yossarian.net"]
    words += ["--certificate-oidc-issuer", "https://github.com/login/oauth", "--trusted-root", str(root)]
    assert conformance.main([*words, f"sha256:{WHEEL_SHA256}"]) == 0
    assert conformance.main([*words, f"sha256:{ARCHIVE_SHA256}"]) == 4


# What npm made in 2023: v0.1, and a kind of log entry that the Sigstore client does not know around an envelope.

NPM = (DATA / "sigstore.js-2.0.0-provenance.sigstore.json").read_bytes()


def npm_trust(**limits: Any) -> TrustFile:
    builders = ("https://github.com/actions/runner/github-hosted",)
    return trust(**{"san_pattern": NPM_WORKFLOW[:-4] + "*", "builder_ids": builders, **limits})


def check_npm(data: bytes, by: TrustFile) -> VerifiedStatement:
    return verify_statement(data, by, role=Role.BUILDER, predicate_types={PredicateType.PROVENANCE})


def test_a_provenance_that_npm_made() -> None:
    found = check_npm(NPM, npm_trust())
    assert found.time is not None and (found.time.when, found.time.source) == (NPM_MADE, "https://rekor.sigstore.dev")
    assert found.place is not None and found.place.index == 27657874
    assert found.named == (trust().identities[0].issuer, NPM_WORKFLOW)
    assert found.statement.subject[0].name == "pkg:npm/sigstore@2.0.0"


def npm_entry(change: Callable[[dict[str, Any]], object]) -> bytes:
    return entry(change, NPM)


@pytest.mark.parametrize(
    ("data", "limits", "reason"),
    [
        (npm_entry(lambda it: it.update(integratedTime="1692374736")), {}, "invalid inclusion promise"),
        (npm_entry(lambda it: it.pop("inclusionPromise")), {}, "does not verify"),
        (npm_entry(lambda it: it["inclusionProof"].pop("hashes")), {}, "does not verify"),
        (npm_entry(lambda it: it["kindVersion"].update(kind="dsse", version="0.0.1")), {}, "does not verify"),
        (NPM, {"san_pattern": WORKFLOW + "*"}, "does not trust"),
        (NPM, {"valid_until": datetime(2023, 8, 18, tzinfo=UTC)}, r"when this was signed .as https://rekor"),
    ],
)
def test_what_is_not_so_of_npm_is_refused(data: bytes, limits: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotVerified, match=reason):
        check_npm(data, npm_trust(**limits))


def test_bytes_of_npm_changed_anywhere_are_refused_or_change_nothing() -> None:
    good = check_npm(NPM, npm_trust())
    for place in range(0, len(NPM), 23):
        bad = NPM[:place] + bytes([NPM[place] ^ 1]) + NPM[place + 1 :]
        try:
            found = check_npm(bad, npm_trust())
        except NotVerified:
            continue
        assert found == good, bad[place - 40 : place + 40]


def test_authorities_of_the_public_services_that_ended() -> None:
    """The first authority of certificates of the public services is still in their root: it ended in 2022."""
    windows = json.loads(root_of("sigstore"))["certificateAuthorities"]
    ended = [each for each in windows if "end" in each["validFor"]]
    (text,) = {trusted_root.for_client(root_of("sigstore"), [when], [when]) for when in (NPM_MADE, MADE)}
    kept = json.loads(text)["certificateAuthorities"]
    assert ended and len(kept) == len(windows) - len(ended) and all("end" not in each["validFor"] for each in kept)


def test_what_npm_published_by_key_has_a_promise_of_the_log_alone() -> None:
    """v0.1, signed by the key of npm's registry, in an entry `intoto` 0.0.2 whose proof has no checkpoint."""
    data, pem = (DATA / "npm-publish.sigstore.json").read_bytes(), (DATA / "npm-publish.pub").read_text()
    opened = sigstore_bundle.decode(data)
    key = trusted_key(pem, Role.BUILDER, name="npm", development=False)
    assert signature_is_good(key, opened.envelope.signature, opened.envelope.signed)
    digest = hashlib.sha256(opened.envelope.signed).digest()
    about = LoggedSignature(opened.envelope.signature, digest, key_der=der_of(pem), payload=opened.envelope.payload)
    (logged,) = opened.entries
    with pytest.raises(NotVerified, match="no proof of inclusion with a checkpoint"):
        verify_entry(logged, about, trusted_root.read(root_of("sigstore")))
    body = json.loads(base64.b64decode(logged["canonicalizedBody"]))
    _check_body(logged["kindVersion"], body, about)
    with pytest.raises(NotVerified, match="about another signature"):
        _check_body(logged["kindVersion"], body, replace(about, payload=b"x"))
