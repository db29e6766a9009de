# SPDX-License-Identifier: Apache-2.0
"""Keyless signing of the builder: its certificate, its tokens, its settings, and a release from end to end."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from keyless_bench import WHO, identity, services, statement, trust_file
from keyless_site import KIND, PAYLOAD, NoSleep, folder, here, lab, make_site, signers_at, write_token
from published_release import Published

from assay.backends.signers import keyless_process
from assay.backends.signers.keyless import settings_text, verify_own
from assay.cli.keys import command as keys
from assay.cli.log import command as log
from assay.cli.verify import command as verify
from assay.errors import InfrastructureError, NotVerified, Refused, UsageFault
from assay.formats.statement_verifier import verify_statement
from assay.model.keyless import KeylessSettings
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.publishing import publish_signed
from assay.pipeline.site import Site
from assay.pipeline.trust_file import write_trust
from assay.simulation.sigstore_lab.lab import SigstoreLab

__all__ = ["folder", "here", "lab"]


def test_the_builder_signs_by_certificate(folder: Path, lab: SigstoreLab) -> None:
    script = f"print(open({str(folder / 'token')!r}).read())"
    signers = signers_at(folder, token_command=(sys.executable, "-c", script))
    bundle = signers.sign_statement(Role.BUILDER, PAYLOAD)
    found = verify_statement(bundle, trust_file(lab), role=Role.BUILDER, predicate_types={KIND})
    told = "\n".join(check.what for check in found.checks)
    assert found.payload == PAYLOAD
    assert f"signature by the builder {WHO}, as {lab.url} says" in told
    assert "UTC, as http://127.0.0.1" in told and f"transparency log {lab.url}/rekor" in told


@pytest.mark.usefixtures("here")
def test_other_roles_sign_by_key(folder: Path) -> None:
    signers = signers_at(folder)
    bundle = signers.sign_statement(Role.FIELD, statement(PredicateType.UPDATE))
    assert b"publicKey" in bundle and b"certificate" not in bundle


@pytest.mark.parametrize("token", ["", "not a token", "a.b.c"])
@pytest.mark.usefixtures("here")
def test_a_bad_token_is_refused_at_once(folder: Path, token: str) -> None:
    (folder / "token").write_text(token)
    with pytest.raises(Refused, match="token"):
        signers_at(folder, NoSleep()).sign_statement(Role.BUILDER, PAYLOAD)


@pytest.mark.usefixtures("here")
def test_a_token_of_somebody_else_is_refused_by_the_services(folder: Path) -> None:
    with SigstoreLab() as other:
        (folder / "token").write_text(other.provider.token(WHO))
    with pytest.raises(Refused, match=r"HTTP 400") as refused:
        signers_at(folder).sign_statement(Role.BUILDER, PAYLOAD)
    assert "token" in refused.value.remedy


@pytest.mark.usefixtures("here")
def test_no_token_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageFault, match="cannot be read"):
        signers_at(folder, token_file="nowhere").sign_statement(Role.BUILDER, PAYLOAD)
    with pytest.raises(InfrastructureError, match="ended with status 3"):
        signers_at(folder, token_command=("sh", "-c", "exit 3")).sign_statement(Role.BUILDER, PAYLOAD)
    with pytest.raises(UsageFault, match="cannot be run"):
        signers_at(folder, token_command=("/no/such",)).sign_statement(Role.BUILDER, PAYLOAD)


@pytest.mark.usefixtures("here")
def test_a_token_file_is_a_file_that_nobody_else_reads(folder: Path) -> None:
    token = folder / "token"
    for mode in (0o640, 0o604, 0o622):
        token.chmod(mode)
        with pytest.raises(Refused, match=f"can be read by others .mode {mode:04o}"):
            signers_at(folder, NoSleep()).sign_statement(Role.BUILDER, PAYLOAD)
    token.chmod(0o600)
    token.write_bytes(b"a" * (keyless_process.TOKEN_BYTES_MAX + 1))
    with pytest.raises(UsageFault, match="is longer than 65536 bytes"):
        signers_at(folder, NoSleep()).sign_statement(Role.BUILDER, PAYLOAD)
    with pytest.raises(UsageFault, match="prints is longer than 65536 bytes"):
        signers_at(folder, NoSleep(), token_command=("cat", str(token))).sign_statement(Role.BUILDER, PAYLOAD)
    token.unlink()
    os.mkfifo(token, 0o600)  # reading one would wait for ever
    with pytest.raises(UsageFault, match="is no file"):
        signers_at(folder, NoSleep()).sign_statement(Role.BUILDER, PAYLOAD)


@pytest.mark.usefixtures("here")
def test_own_verification_wants_this_statement(folder: Path, lab: SigstoreLab) -> None:
    bundle = signers_at(folder).sign_statement(Role.BUILDER, PAYLOAD)
    verify_own(bundle, PAYLOAD, identity(lab), services(lab))
    with pytest.raises(NotVerified, match="another statement"):
        verify_own(bundle, statement(extra=1), identity(lab), services(lab))


@pytest.mark.usefixtures("here")
def test_a_token_of_somebody_else_is_told_before_anything_is_recorded(folder: Path, lab: SigstoreLab) -> None:
    (folder / "token").write_text(lab.provider.token("https://ci.example/project/other.yml"))
    with pytest.raises(Refused, match=r"the token is of https://ci\.example/project/other\.yml .* keyless\.toml says"):
        signers_at(folder, NoSleep()).sign_statement(Role.BUILDER, PAYLOAD)


@pytest.mark.usefixtures("here")
def test_no_message_holds_the_token(folder: Path, lab: SigstoreLab) -> None:
    token = (folder / "token").read_text()
    lab.out_of_order = {"/api": 403}
    try:
        with pytest.raises(Refused) as refused:
            signers_at(folder).sign_statement(Role.BUILDER, PAYLOAD)
    finally:
        lab.out_of_order = {}
    assert token[-20:] not in str(refused.value)
    assert token[-20:] not in str(keyless_process.told(RuntimeError(token)))


def test_the_trust_file_of_a_keyless_site(tmp_path: Path, lab: SigstoreLab) -> None:
    site = make_site(tmp_path, lab)
    file = str(tmp_path / "trust.toml")
    words = ["trust", "--out", file, "--allow-development", "--sigstore", f"lab={tmp_path / 'config.json'}"]
    words += ["--identity", f"lab=builder,{lab.url},{WHO.replace('main', '*')}", *site]
    assert Site(tmp_path / "site").keyless is not None
    done = CliRunner().invoke(keys, words)
    assert done.exit_code == 0, done.output
    from assay.pipeline.trust_file import load_trust

    trust: TrustFile = load_trust(Path(file))
    assert trust.sigstore[0].development and trust.identities[0].san_pattern is not None
    bundle = Site(tmp_path / "site").signers.sign_statement(Role.BUILDER, PAYLOAD)
    found = verify_statement(bundle, trust, role=Role.BUILDER, predicate_types={KIND})
    assert found.signer.development and "UNSAFE-DEVELOPMENT" in found.checks[1].what
    assert found.signer.builder_ids
    off = CliRunner().invoke(keys, ["keyless", "--off", *site])
    assert off.exit_code == 0 and Site(tmp_path / "site").keyless is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trust-config", "nowhere.json"], "cannot be read"),
        (["--token-file", "a", "--token-command", "b"], "at most one"),
        (["--token-command", "'"], "No closing quotation"),
        (["--identity", "https://*/x"], "leaves open whose it is"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, words: list[str], said: str) -> None:
    who = ["--issuer", "https://idp.example", "--identity", WHO]
    done = CliRunner().invoke(keys, ["keyless", *who, *words, "--site", str(tmp_path / "site")])
    assert done.exit_code == 2 and said in done.stderr
    assert not (tmp_path / "site" / "keyless.toml").exists()


def test_settings_read_back(tmp_path: Path) -> None:
    settings = KeylessSettings(
        schema="assay.keyless/1",
        issuer="i",
        identity="a@b",
        trust_config="c.json",
        token_command=("a b", 'c"'),
        when_away="queue",
    )
    (tmp_path / "keyless.toml").write_bytes(settings_text(settings))
    assert Site(tmp_path).keyless == settings


def test_a_release_is_signed_and_published_keyless(published: Published, lab: SigstoreLab) -> None:
    """Provenance and bill of materials carry certificates; the image is signed by its key; the site's gate, a trust
    file for others, and the log accept them.
    """
    root = published.root
    (root / "config.json").write_text(json.dumps(lab.trust_config))
    write_token(root, lab.provider.token(WHO))
    words = [
        "keyless",
        "--issuer",
        lab.url,
        "--identity",
        WHO,
        "--trust-config",
        "config.json",
        "--token-file",
        "token",
    ]
    assert CliRunner().invoke(keys, [*words, "--site", "site"]).exit_code == 0
    site = Site(root / "site")
    published.site = site
    published.build(root / "another", "1.1.0")
    signed = sign_artifact(root / "another", site, root / "another.signed")
    assert all(b"certificate" in bundle for bundle in signed.bundles.values())
    publish_signed(root / "another.signed", site)
    told = "\n".join(check.what for check in published.gate().checks)
    assert told.count(f"signature by the builder {WHO}") == 2 and "builder urn:assay:builder" in told
    by_keys_only = published.trust(identities=(), sigstore=())
    with pytest.raises(NotVerified, match="names no identity for builder"):
        published.gate(by_keys_only)
    assert CliRunner().invoke(log, ["verify", "--site", "site"]).exit_code == 0
    write_trust(root / "trust.toml", published.trust(), replace=False)
    for words in (["tiny@1.1.0"], ["another.signed/provenance.sigstore.json"], ["another.signed/image.signed.bin"]):
        said = CliRunner().invoke(verify, [*words, "--trust", "trust.toml", "--site", "site"])
        assert said.exit_code == 0, said.output
    unknown = CliRunner().invoke(verify, ["tiny@9.9.9", "--trust", "trust.toml", "--site", "site"])
    assert unknown.exit_code == 2 and "not in the store" in unknown.stderr
