# SPDX-License-Identifier: Apache-2.0
"""Keyless signing of the builder: tokens, deadlines, services that are out of order, and the queue for the log."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from keyless_bench import WHO, identity, services, statement, trust_file
from memory_signer import MemorySigner
from published_release import Published

from assay.backends.clocks.system_clock import SystemClock
from assay.backends.signers import keyless, keyless_process, messages
from assay.backends.signers.keyless import KeylessSigners, settings_text, verify_own
from assay.cli.keys import command as keys
from assay.cli.log import command as log
from assay.cli.verify import command as verify
from assay.errors import InfrastructureError, NotVerified, Refused, ServiceAway, UsageFault
from assay.formats.statement_verifier import verify_statement
from assay.interfaces.clock import Clock
from assay.model.keyless import KeylessSettings
from assay.model.policy import Point
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.log_submit import enqueue, submit_waiting
from assay.pipeline.policy_facts import facts_of
from assay.pipeline.publishing import publish_signed
from assay.pipeline.site import Site
from assay.pipeline.trust_file import write_trust
from assay.simulation.sigstore_lab.lab import SigstoreLab

PAYLOAD = statement()
KIND = PredicateType.RELEASE


@pytest.fixture(scope="module")
def lab() -> Iterator[SigstoreLab]:
    with SigstoreLab() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, lab: SigstoreLab) -> Path:
    """A site folder with the lab's trust config and a token."""
    (tmp_path / "config.json").write_text(json.dumps(lab.trust_config))
    write_token(tmp_path, lab.provider.token(WHO))
    return tmp_path


def write_token(folder: Path, token: str) -> None:
    (folder / "token").write_text(token)
    (folder / "token").chmod(0o600)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keyless process's work in this process: the client is imported once, and what it says crosses as messages."""

    def exchange(request: dict[str, Any], limit_s: float) -> dict[str, Any]:
        assert limit_s > 0
        try:
            reply = keyless_process.sign(messages.decode(messages.encode(request)), lambda _seconds: None)
        except Exception as error:
            reply = messages.of_error(keyless_process.told(error))
        if (told := messages.to_error(messages.decode(messages.encode(reply)))) is not None:
            raise told
        return reply

    monkeypatch.setattr(keyless, "_exchange", exchange)


class Hurried(SystemClock):
    """A clock on which each look costs half of the deadline: one attempt, whatever the machine is busy with."""

    def __init__(self) -> None:
        self._looks = itertools.count()

    def monotonic_s(self) -> float:
        return next(self._looks) * 60.0

    def sleep(self, seconds: float) -> None:
        """At once."""


class NoSleep(SystemClock):
    """A clock that nobody waits by."""

    def sleep(self, seconds: float) -> None:
        raise AssertionError("what is refused is not tried again")


def _signers(folder: Path, clock: Clock | None = None, **settings: Any) -> KeylessSigners:
    said: dict[str, Any] = {"trust_config": "config.json", "identity": WHO}
    said["issuer"] = json.loads((folder / "config.json").read_bytes())["signingConfig"]["oidcUrls"][0]["url"]
    if "token_command" not in settings:
        said["token_file"] = "token"
    made = KeylessSettings(schema="assay.keyless/1", **(said | settings))
    return KeylessSigners(MemorySigner(), made, folder, clock or Hurried())


def test_the_builder_signs_by_certificate(folder: Path, lab: SigstoreLab) -> None:
    script = f"print(open({str(folder / 'token')!r}).read())"
    signers = _signers(folder, token_command=(sys.executable, "-c", script))
    bundle = signers.sign_statement(Role.BUILDER, PAYLOAD)
    found = verify_statement(bundle, trust_file(lab), role=Role.BUILDER, predicate_types={KIND})
    told = "\n".join(check.what for check in found.checks)
    assert found.payload == PAYLOAD
    assert f"signature by the builder {WHO}, as {lab.url} says" in told
    assert "UTC, as http://127.0.0.1" in told and "transparency log 127.0.0.1" in told


@pytest.mark.usefixtures("here")
def test_other_roles_sign_by_key(folder: Path) -> None:
    signers = _signers(folder)
    bundle = signers.sign_statement(Role.FIELD, statement(PredicateType.UPDATE))
    assert b"publicKey" in bundle and b"certificate" not in bundle


@pytest.mark.parametrize("token", ["", "not a token", "a.b.c"])
@pytest.mark.usefixtures("here")
def test_a_bad_token_is_refused_at_once(folder: Path, token: str) -> None:
    (folder / "token").write_text(token)
    with pytest.raises(Refused, match="token"):
        _signers(folder, NoSleep()).sign_statement(Role.BUILDER, PAYLOAD)


@pytest.mark.usefixtures("here")
def test_a_token_of_somebody_else_is_refused_by_the_services(folder: Path) -> None:
    with SigstoreLab() as other:
        (folder / "token").write_text(other.provider.token(WHO))
    with pytest.raises(Refused, match=r"HTTP 400") as refused:
        _signers(folder).sign_statement(Role.BUILDER, PAYLOAD)
    assert "token" in refused.value.remedy


@pytest.mark.usefixtures("here")
def test_no_token_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageFault, match="cannot be read"):
        _signers(folder, token_file="nowhere").sign_statement(Role.BUILDER, PAYLOAD)
    with pytest.raises(InfrastructureError, match="ended with status 3"):
        _signers(folder, token_command=("sh", "-c", "exit 3")).sign_statement(Role.BUILDER, PAYLOAD)
    with pytest.raises(UsageFault, match="cannot be run"):
        _signers(folder, token_command=("/no/such",)).sign_statement(Role.BUILDER, PAYLOAD)


@pytest.mark.usefixtures("here")
def test_a_service_that_comes_back_is_asked_again(folder: Path, lab: SigstoreLab) -> None:
    """The attempts are counted by what the lab is asked for."""
    asked: list[str] = []

    class Recovering(dict[str, int]):
        def items(self) -> Any:
            asked.append("")
            return {"/api": 503}.items() if len(asked) == 1 else {}.items()

    lab.out_of_order = Recovering()
    try:
        _signers(folder, SystemClock()).sign_statement(Role.BUILDER, PAYLOAD)
    finally:
        lab.out_of_order = {}
    assert len(asked) > 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("service", ["/api/v2/signingCert", "/rekor", "/tsa"])
def test_a_service_that_stays_away_is_an_error(folder: Path, lab: SigstoreLab, service: str) -> None:
    lab.out_of_order = {service: 503}
    try:
        with pytest.raises(InfrastructureError, match=r"no keyless signature within 120 s"):
            _signers(folder).sign_statement(Role.BUILDER, PAYLOAD)
    finally:
        lab.out_of_order = {}


def test_a_service_that_never_answers_has_a_deadline(folder: Path, lab: SigstoreLab) -> None:
    """The client itself waits for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = json.dumps(lab.trust_config).replace(f'"{lab.url}"', f'"http://127.0.0.1:{silent.getsockname()[1]}"')
        (folder / "config.json").write_text(config)
        with pytest.raises(InfrastructureError, match=r"did not answer within 3 s|of the 3 s of an attempt"):
            _signers(folder, attempt_s=3).sign_statement(Role.BUILDER, PAYLOAD)


def test_what_an_attempt_has_started_ends_with_it(folder: Path) -> None:
    """A token command that hangs is ended, too, with what it has started."""
    script = f"echo $$ > {folder}/pid; sleep 600"
    for attempt_s in (4, 16, 60):  # as long as a busy machine needs to start it
        with pytest.raises(InfrastructureError, match=f"of the {attempt_s} s of an attempt, the identity token took"):
            _signers(folder, token_command=("sh", "-c", script), attempt_s=attempt_s).sign_statement(
                Role.BUILDER, PAYLOAD
            )
        if (folder / "pid").exists():
            break
    for _ in range(100):
        if (folder / "pid").exists() and not Path(f"/proc/{(folder / 'pid').read_text().strip()}").exists():
            return
        time.sleep(0.1)
    raise AssertionError("the token command is still there")


@pytest.mark.usefixtures("here")
def test_what_does_not_verify_is_not_handed_out(folder: Path, lab: SigstoreLab) -> None:
    """The client takes an entry that another log has signed; it says so only when it verifies."""
    with SigstoreLab() as other:
        config = lab.trust_config
        config["trustedRoot"] = {**config["trustedRoot"], "tlogs": other.trusted_root["tlogs"]}
    (folder / "config.json").write_text(json.dumps(config))
    for when_away in ("refuse", "queue"):  # a service that lies is not one that is away
        with pytest.raises(InfrastructureError, match="does not verify"):
            _signers(folder, when_away=when_away).sign_statement(Role.BUILDER, PAYLOAD)
    assert not (folder / "log-queue").exists()


@pytest.mark.usefixtures("here")
def test_only_what_is_away_is_queued(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token command that fails, or a client that does, is no reason to sign by key."""
    with pytest.raises(InfrastructureError, match="ended with status 3"):
        _signers(folder, when_away="queue", token_command=("sh", "-c", "exit 3")).sign_statement(Role.BUILDER, PAYLOAD)
    assert not (folder / "log-queue").exists()
    monkeypatch.setattr(keyless_process, "sign", lambda *_: (_ for _ in ()).throw(TimeoutError("x")))
    assert b"publicKey" in _signers(folder, when_away="queue").sign_statement(Role.BUILDER, PAYLOAD)
    assert len(list((folder / "log-queue").glob("*.json"))) == 1


@pytest.mark.parametrize(
    ("cause", "away"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), True),
        (TimeoutError("x"), True),
        (socket.gaierror(socket.EAI_NONAME, "x"), True),
        (OSError(errno.ENETUNREACH, "x"), True),
        (requests.ConnectionError("x"), True),
        (requests.ReadTimeout("x"), True),
        (requests.exceptions.SSLError("x"), False),
        (ssl.SSLCertVerificationError("x"), False),
        (PermissionError(errno.EACCES, "x"), False),
        (OSError(errno.ENOSPC, "x"), False),
        (OSError(errno.EMFILE, "x"), False),
        (FileNotFoundError(errno.ENOENT, "x"), False),
    ],
    ids=repr,
)
def test_what_the_network_did_is_told_from_what_this_host_did(cause: Exception, away: bool) -> None:
    for around in (RuntimeError("no"), requests.RequestException("no"), requests.ConnectionError("no")):
        around.__context__ = cause
        assert isinstance(keyless_process.told(around), ServiceAway) is away
    for other in (OSError("no"), ValueError("no")):
        assert not isinstance(keyless_process.told(other), ServiceAway)


@pytest.mark.parametrize(
    ("told", "away"),
    [(b"", False), (b'{"token_s": 1.5}\n', True), (b'{"token_s": 8.5}\n', False)],
    ids=["before the token was there", "after it", "after one that took most of the time"],
)
def test_services_that_nobody_could_ask_are_not_away(told: bytes, away: bool) -> None:
    assert isinstance(keyless._too_late(told, 10.0), ServiceAway) is away


@pytest.mark.usefixtures("here")
def test_a_token_file_is_a_file_that_nobody_else_reads(folder: Path) -> None:
    token = folder / "token"
    for mode in (0o640, 0o604, 0o622):
        token.chmod(mode)
        with pytest.raises(Refused, match=f"can be read by others .mode {mode:04o}"):
            _signers(folder, NoSleep()).sign_statement(Role.BUILDER, PAYLOAD)
    token.chmod(0o600)
    token.write_bytes(b"a" * (keyless_process.TOKEN_BYTES_MAX + 1))
    with pytest.raises(UsageFault, match="is longer than 65536 bytes"):
        _signers(folder, NoSleep()).sign_statement(Role.BUILDER, PAYLOAD)
    with pytest.raises(UsageFault, match="prints is longer than 65536 bytes"):
        _signers(folder, NoSleep(), token_command=("cat", str(token))).sign_statement(Role.BUILDER, PAYLOAD)
    token.unlink()
    os.mkfifo(token, 0o600)  # reading one would wait for ever
    with pytest.raises(UsageFault, match="is no file"):
        _signers(folder, NoSleep()).sign_statement(Role.BUILDER, PAYLOAD)


@pytest.mark.usefixtures("here")
def test_own_verification_wants_this_statement(folder: Path, lab: SigstoreLab) -> None:
    bundle = _signers(folder).sign_statement(Role.BUILDER, PAYLOAD)
    verify_own(bundle, PAYLOAD, identity(lab), services(lab))
    with pytest.raises(NotVerified, match="another statement"):
        verify_own(bundle, statement(extra=1), identity(lab), services(lab))


@pytest.mark.usefixtures("here")
def test_a_token_of_somebody_else_is_told_before_anything_is_recorded(folder: Path, lab: SigstoreLab) -> None:
    (folder / "token").write_text(lab.provider.token("https://ci.example/project/other.yml"))
    with pytest.raises(Refused, match=r"the token is of https://ci\.example/project/other\.yml .* keyless\.toml says"):
        _signers(folder, NoSleep()).sign_statement(Role.BUILDER, PAYLOAD)


@pytest.mark.usefixtures("here")
def test_no_message_holds_the_token(folder: Path, lab: SigstoreLab) -> None:
    token = (folder / "token").read_text()
    lab.out_of_order = {"/api": 403}
    try:
        with pytest.raises(Refused) as refused:
            _signers(folder).sign_statement(Role.BUILDER, PAYLOAD)
    finally:
        lab.out_of_order = {}
    assert token[-20:] not in str(refused.value)
    assert token[-20:] not in str(keyless_process.told(RuntimeError(token)))


def _site(folder: Path, lab: SigstoreLab, *words: str) -> list[str]:
    (folder / "config.json").write_text(json.dumps(lab.trust_config))
    write_token(folder, lab.provider.token(WHO))
    site = ["--site", str(folder / "site")]
    config, token = str(folder / "config.json"), str(folder / "token")
    words = ("--issuer", lab.url, "--identity", WHO, *words)
    done = CliRunner().invoke(keys, ["keyless", "--trust-config", config, "--token-file", token, *words, *site])
    assert done.exit_code == 0, done.output
    return site


def _queueing(folder: Path) -> KeylessSigners:
    """The site's signers, which make one attempt."""
    site = Site(folder / "site")
    site.__dict__["clock"] = Hurried()
    signers = site.signers
    assert isinstance(signers, KeylessSigners)
    return signers


@pytest.mark.usefixtures("here")
def test_signed_by_key_while_the_log_is_away_and_logged_later(tmp_path: Path, lab: SigstoreLab) -> None:
    site = _site(tmp_path, lab, "--queue")
    signers = _queueing(tmp_path)
    lab.out_of_order = {"/": 503}
    try:
        bundle = signers.sign_statement(Role.BUILDER, PAYLOAD)
        still = CliRunner().invoke(log, ["submit", "--json", *site])
        assert still.exit_code == 3 and "still waits" not in still.stdout
    finally:
        lab.out_of_order = {}
    assert len(signers.queue.waiting()) == 1
    listed = CliRunner().invoke(keys, ["list", *site])
    assert f"builder    signs keyless, as {WHO} (by {lab.url}); its key signs what is logged later" in listed.stdout
    assert json.loads(CliRunner().invoke(keys, ["list", "--json", *site]).stdout)["keyless"]["identity"] == WHO
    key = signers.public_key(Role.BUILDER)
    wanted = key.model_copy(update={"sigstore": "lab", "log_required": True})
    trust = trust_file(lab, identities=(), keys=(wanted,), sigstore=(services(lab),))
    with pytest.raises(NotVerified, match="is not in the log"):
        verify_statement(bundle, trust, role=Role.BUILDER, predicate_types={KIND})
    done = CliRunner().invoke(log, ["submit", "--json", *site])
    assert done.exit_code == 0, done.output
    file = Path(json.loads(done.stdout)["logged"][0]["file"])
    found = verify_statement(file.read_bytes(), trust, role=Role.BUILDER, predicate_types={KIND})
    assert found.place is not None and found.time is not None and found.payload == PAYLOAD
    assert not signers.queue.waiting()
    assert CliRunner().invoke(log, ["submit", *site]).stdout == "nothing waits for the log\n"


@pytest.mark.usefixtures("here")
def test_what_waits_is_logged_although_the_builder_has_another_key_since(tmp_path: Path, lab: SigstoreLab) -> None:
    """The key that signed is kept with what waits; else a trust file has it. A key that is not the one is none."""
    _site(tmp_path, lab, "--queue")
    signers = _queueing(tmp_path)
    lab.out_of_order = {"/": 503}
    try:
        signers.sign_statement(Role.BUILDER, PAYLOAD)
    finally:
        lab.out_of_order = {}
    old = signers.public_key(Role.BUILDER)
    new = KeylessSigners(MemorySigner(), Site(tmp_path / "site").keyless, tmp_path / "site", SystemClock())
    other = Site(tmp_path / "site")
    other.__dict__["signers"] = new
    assert new.public_key(Role.BUILDER).keyid != old.keyid
    kept = tmp_path / "site" / "log-queue" / "keys" / f"{old.keyid}.pem"
    kept.write_text(new.public_key(Role.BUILDER).public)
    for trust in (None, trust_file(lab, identities=(), keys=(new.public_key(Role.BUILDER),))):
        (waits,) = submit_waiting(other, trust)
        assert isinstance(waits.error, NotVerified) and "is not the site's" in waits.error.message
    kept.unlink()
    (logged,) = submit_waiting(other, trust_file(lab, identities=(), keys=(old,)))
    assert logged.error is None and logged.place is not None
    assert not new.queue.waiting()
    kept.write_text(old.public)
    enqueue(other, [logged.file.read_bytes()])
    (again,) = submit_waiting(other)
    assert again.error is None and again.place is not None


def test_statements_of_before_are_logged_too(tmp_path: Path, lab: SigstoreLab) -> None:
    """A key that is rotated out goes on to vouch for what carries a time stamp."""
    site = _site(tmp_path, lab)
    keys_of_site = Site(tmp_path / "site").keys
    (tmp_path / "old.json").write_bytes(keys_of_site.sign_statement(Role.BUILDER, PAYLOAD))
    (tmp_path / "other.json").write_bytes(MemorySigner().sign_statement(Role.BUILDER, PAYLOAD))
    refused = CliRunner().invoke(log, ["submit", str(tmp_path / "old.json"), str(tmp_path / "other.json"), *site])
    assert refused.exit_code == 4 and "is not the site's" in refused.output
    assert not (tmp_path / "site" / "log-queue").exists()
    done = CliRunner().invoke(log, ["submit", "--json", str(tmp_path / "old.json"), *site])
    assert done.exit_code == 0, done.output
    logged = Path(json.loads(done.stdout)["logged"][0]["file"]).read_bytes()
    soon = datetime.now(UTC) + timedelta(minutes=1)
    rotated = keys_of_site.public_key(Role.BUILDER).model_copy(update={"sigstore": "lab", "valid_until": soon})
    trust = trust_file(lab, identities=(), keys=(rotated,), sigstore=(services(lab),))
    later = soon + timedelta(days=365)
    verify_statement(logged, trust, role=Role.BUILDER, predicate_types={KIND}, at=later)
    with pytest.raises(NotVerified, match="no time stamp says it is older"):
        verify_statement(
            (tmp_path / "old.json").read_bytes(), trust, role=Role.BUILDER, predicate_types={KIND}, at=later
        )


def test_the_trust_file_of_a_keyless_site(tmp_path: Path, lab: SigstoreLab) -> None:
    site = _site(tmp_path, lab)
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


def test_a_release_that_was_logged_later_is_accepted_where_the_log_is_required(
    published: Published, lab: SigstoreLab
) -> None:
    """Signed by key; published before it was logged, and after: the copy in the store has both forms."""
    root = published.root
    site_words = _site(root, lab)
    site = published.site = Site(root / "site")
    (builder,) = (key for key in published.trust().keys if key.role is Role.BUILDER)
    required = builder.model_copy(update={"sigstore": "lab", "log_required": True})
    others = tuple(key for key in published.trust().keys if key.role is not Role.BUILDER)
    strict = published.trust(identities=(), keys=(*others, required), sigstore=(services(lab),))
    with pytest.raises(NotVerified, match="is not in the log"):
        published.gate(strict)
    files = [str(file) for file in sorted(published.signed.glob("*.sigstore.json"))]
    done = CliRunner().invoke(log, ["submit", "--json", *files, *site_words])
    assert (done.exit_code, len(json.loads(done.stdout)["logged"])) == (0, 2), done.output
    _is_logged(published, strict)
    shutil.rmtree(root / "site" / "store")
    publish_signed(published.signed, site)
    _is_logged(published, strict)
    release = site.store.find("tiny", None, published.board.name)
    logged = site.store.attached(release, PredicateType.PROVENANCE.value)[-1]
    for noise in (logged.replace(b'"tlogEntries"', b'"tlogEntry"'), b"noise", PAYLOAD):  # stands in nobody's way
        site.store.attach(release, PredicateType.PROVENANCE.value, noise)
    _is_logged(published, strict)
    published.gate()


def _is_logged(published: Published, strict: TrustFile) -> None:
    """Gate and facts go by the forms that are logged."""
    image = published.gate(strict)
    told = "\n".join(check.what for check in image.checks)
    assert told.count("transparency log 127.0.0.1") == 2
    assert facts_of(published.site, strict, Point.FLASH, image, published.board).release.provenance is not None


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
