# SPDX-License-Identifier: Apache-2.0
"""The attacks of docs/reference/attacks.md on statements: each refused with its reason, status 4, no traceback."""

from __future__ import annotations

import base64
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attestation_bench import DAY, Scene, changed, changed_entry, check, scene
from click.testing import CliRunner
from keyless_bench import WHO, sign_keyless, statement
from memory_signer import trust_in

from assay.cli.verify import command as verify
from assay.errors import NotVerified, Refused, ToolMissing
from assay.formats import dsse, sigstore_bundle
from assay.model.statement import PredicateType
from assay.model.trust import Role
from assay.pipeline.offline_verify import kind_of
from assay.pipeline.trust_file import write_trust

__all__ = ["scene"]


def test_what_is_good_is_accepted(scene: Scene) -> None:
    keyless, logged = check(scene.keyless, scene.trust()), check(scene.logged, scene.trust(log_required=True))
    assert keyless.time is not None and keyless.place is not None and keyless.signer.name == "ci"
    assert logged.time is not None and logged.place is not None and logged.signer.name == scene.key.name
    assert check(scene.keyed, scene.trust()).place is None
    assert abs(keyless.time.when - datetime.now(UTC)) < DAY


@pytest.mark.parametrize("bundle", ["keyless", "keyed", "logged"])
def test_another_predicate_type(scene: Scene, bundle: str) -> None:
    with pytest.raises(NotVerified, match="the predicate type is"):
        check(getattr(scene, bundle), scene.trust(), predicate_types={PredicateType.SBOM})


@pytest.mark.parametrize("bundle", ["keyless", "keyed", "logged"])
def test_another_subject(scene: Scene, bundle: str) -> None:
    with pytest.raises(NotVerified, match="is not about the file"):
        check(getattr(scene, bundle), scene.trust(), subject_sha256="ef" * 32)


@pytest.mark.parametrize("kind", ["text/plain", "application/vnd.in-toto+jsön"])
@pytest.mark.parametrize("bundle", ["keyless", "keyed"])
def test_another_payload_type(scene: Scene, bundle: str, kind: str) -> None:
    with pytest.raises(NotVerified, match="payload type"):
        check(changed(getattr(scene, bundle), lambda it: it["dsseEnvelope"].update(payloadType=kind)), scene.trust())


def test_lengths_of_a_payload_type_count_bytes() -> None:
    """sigstore-python counts characters, DSSE bytes: a type of one would verify as a type of another."""
    assert dsse.pae("ä", b"x") == b"DSSEv1 2 \xc3\xa4 1 x"


def test_a_key_in_the_place_of_the_certificate(scene: Scene) -> None:
    """cosign GHSA-fx35-mq7g-6g98."""
    from assay.formats.public_key import der_of

    def swap(document: dict[str, Any]) -> None:
        raw = {"rawBytes": dsse.encode_base64(der_of(scene.key.public))}
        material = document["verificationMaterial"]
        document["verificationMaterial"] = {**material, "certificate": raw}

    with pytest.raises(NotVerified, match="does not verify"):
        check(changed(scene.keyless, swap), scene.trust())
    keyed_as_certificate = changed(scene.logged, lambda it: (swap(it), it["verificationMaterial"].pop("publicKey")))
    with pytest.raises(NotVerified, match="does not verify"):
        check(keyed_as_certificate, scene.trust())


def test_a_certificate_where_a_key_is_trusted(scene: Scene) -> None:
    trust = trust_in(scene.signer)
    with pytest.raises(NotVerified, match="carries a certificate"):
        check(scene.keyless, trust)
    both = changed(scene.keyless, lambda it: it["verificationMaterial"].update(publicKey={"hint": scene.key.keyid}))
    with pytest.raises(NotVerified, match="not exactly one"):
        check(both, scene.trust())


@pytest.mark.parametrize("bundle", ["keyless", "keyed"])
def test_a_key_of_json_twice(scene: Scene, bundle: str) -> None:
    data: bytes = getattr(scene, bundle)
    for name in (b'"payload"', b'"mediaType"', b'"sig"'):
        member = re.search(name + rb':\s*"[^"]*"', data)
        assert member is not None
        with pytest.raises(NotVerified, match="there twice"):
            check(data.replace(member[0], member[0] + b"," + member[0], 1), scene.trust())


def test_a_key_of_json_twice_in_the_statement(scene: Scene) -> None:
    twice = statement().replace(b'"predicateType"', b'"predicateType":"x","predicateType"')
    for bundle in (sign_keyless(scene.lab, twice), scene.signer.sign_statement(Role.BUILDER, twice)):
        with pytest.raises(NotVerified, match="there twice"):
            check(bundle, scene.trust())


@pytest.mark.parametrize("bundle", ["keyless", "keyed"])
def test_url_safe_base64(scene: Scene, bundle: str) -> None:
    def change(document: dict[str, Any]) -> None:
        signature = document["dsseEnvelope"]["signatures"][0]
        raw = base64.b64decode(signature["sig"])
        signature["sig"] = base64.urlsafe_b64encode(raw[:-3] + b"\xff\xff\xff").decode()

    with pytest.raises(NotVerified, match="base64"):
        check(changed(getattr(scene, bundle), change), scene.trust())


@pytest.mark.parametrize("change", [lambda it: b"", lambda it: b"\xef\xbb\xbf" + it, lambda it: b"z" + it[1:]])
def test_what_is_no_bundle_any_more_is_refused(scene: Scene, change: Any) -> None:
    """The first byte is no better than the others."""
    assert kind_of(scene.keyed) == "statement"
    with pytest.raises(NotVerified, match="neither an export"):
        kind_of(change(scene.keyed))


@pytest.mark.parametrize("bundle", ["keyless", "logged"])
def test_bytes_changed_anywhere_are_refused_or_change_nothing(scene: Scene, bundle: str) -> None:
    """A bundle is malleable outside of what is signed: then the answer is the very same one."""
    data: bytes = getattr(scene, bundle)
    trust, good = scene.trust(log_required=True), check(data, scene.trust(log_required=True))
    for place in range(0, len(data), 7):
        bad = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            found = check(bad, trust)
        except Refused:
            continue
        assert found == good, bad[place - 40 : place + 40]


@pytest.mark.parametrize("version", ["0.1", "0.2"])
def test_older_bundles(scene: Scene, version: str) -> None:
    """Before v0.3 a chain stands for the certificate; v0.1 wants a promise of the log, which Rekor v2 does not make."""

    def older(document: dict[str, Any]) -> None:
        document["mediaType"] = f"application/vnd.dev.sigstore.bundle+json;version={version}"
        leaf = document["verificationMaterial"].pop("certificate")
        document["verificationMaterial"]["x509CertificateChain"] = {"certificates": [leaf]}

    bundle = changed(scene.keyless, older)
    if version == "0.2":
        assert check(bundle, scene.trust()).signer.name == "ci"
    else:
        with pytest.raises(NotVerified, match="inclusion promise"):
            check(bundle, scene.trust())
    new_kind = changed(bundle, lambda it: it.update(mediaType=sigstore_bundle.MEDIA_TYPE))
    with pytest.raises(NotVerified, match="malformed"):
        check(new_kind, scene.trust())
    keyed = changed(
        scene.logged, lambda it: it.update(mediaType=f"application/vnd.dev.sigstore.bundle+json;version={version}")
    )
    assert check(keyed, scene.trust()).place is not None


@pytest.mark.parametrize("brought", ["root", "junk"])
def test_a_root_that_a_bundle_brings_along(scene: Scene, brought: str) -> None:
    """Before v0.3 a bundle has a chain: nobody is to verify it by its own root."""
    root = scene.lab.trusted_root["certificateAuthorities"][0]["certChain"]["certificates"][-1]

    def older(document: dict[str, Any]) -> None:
        document["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2"
        leaf = document["verificationMaterial"].pop("certificate")
        chain = [leaf, root if brought == "root" else {"rawBytes": "AAAA"}]
        document["verificationMaterial"]["x509CertificateChain"] = {"certificates": chain}

    with pytest.raises(NotVerified, match=r"brings a root certificate along|a certificate of the bundle is malformed"):
        check(changed(scene.keyless, older), scene.trust())


@pytest.mark.parametrize("what", ["good", "changed", "junk"])
def test_the_command(tmp_path: Path, scene: Scene, what: str) -> None:
    write_trust(tmp_path / "trust.toml", scene.trust(), replace=False)
    data = {"good": scene.keyless, "changed": changed(scene.keyless, changed_entry("root")), "junk": b'{"a": [}'}[what]
    (tmp_path / "bundle.json").write_bytes(data)
    (tmp_path / "second.json").write_bytes(scene.keyed)
    words = [str(tmp_path / "bundle.json"), "--trust", str(tmp_path / "trust.toml"), "--json"]
    done = CliRunner().invoke(verify, words)
    document = json.loads(done.stdout)
    assert done.exit_code == (0 if what == "good" else 4) and "Traceback" not in done.output
    if what == "good":
        assert WHO in done.stdout
        (signed,) = document["signed"]
        assert (signed["san"], signed["issuer"]) == (WHO, scene.lab.url)
        assert signed["log"]["log"] == f"{scene.lab.url}/rekor"
        assert signed["time"]["source"] == f"{scene.lab.url}/tsa"
    else:
        assert document["broken"][0]["faults"]
    early = CliRunner().invoke(verify, [*words, "--at", "2026-02-01T00:00:00Z"])
    assert early.exit_code == 4
    wrong = CliRunner().invoke(verify, [*words, "--at", "yesterday"])
    assert wrong.exit_code == 2
    two = CliRunner().invoke(verify, [words[0], str(tmp_path / "second.json"), *words[1:]])
    assert two.exit_code == (0 if what == "good" else 4)


def test_what_is_neither_a_file_nor_anything_else(tmp_path: Path, scene: Scene) -> None:
    write_trust(tmp_path / "trust.toml", scene.trust(), replace=False)
    (tmp_path / "site").mkdir()
    (tmp_path / "page").write_text("text")
    trust = ["--trust", str(tmp_path / "trust.toml"), "--site", str(tmp_path / "site")]
    for what, status in (("SN-0001", 4), ("a@1.0.0", 2), ("./none.json", 2), (str(tmp_path / "page"), 4), ("", 2)):
        said = CliRunner().invoke(verify, [what, *trust])
        assert said.exit_code == status and "Traceback" not in said.output, (what, said.output)


@pytest.mark.parametrize(("module", "bundle"), [("sigstore.models", "keyless"), ("rfc3161_client", "logged")])
def test_without_the_extra_the_line_that_installs_it_is_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, module: str, bundle: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ToolMissing, match=r"assay\[sigstore\]"):
        check(getattr(scene, bundle), scene.trust())
