# SPDX-License-Identifier: Apache-2.0
"""Identity tokens that CI systems give to their jobs, from the variables and addresses that these systems have; the
lab's provider stands behind them, on loopback.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from id._internal.oidc import ambient
from keyless_bench import WHO, statement, trust_file
from memory_signer import MemorySigner

from assay.backends.clocks.system_clock import SystemClock
from assay.backends.signers import keyless_process
from assay.backends.signers.keyless import KeylessSigners
from assay.errors import Refused, UsageFault
from assay.formats.dsse import decode_base64, encode_base64
from assay.formats.statement_verifier import verify_statement
from assay.model.keyless import KeylessSettings
from assay.model.statement import PredicateType
from assay.model.trust import Role
from assay.simulation.sigstore_lab.lab import SigstoreLab

BEARER = "of-this-job"
PAYLOAD = statement()
SYSTEMS = ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI", "GOOGLE_SERVICE_ACCOUNT_NAME")


@pytest.fixture(scope="module")
def lab() -> Iterator[SigstoreLab]:
    with SigstoreLab() as running:
        yield running


@pytest.fixture(scope="module")
def actions(lab: SigstoreLab) -> Iterator[str]:
    """The address at which a job of GitHub's asks for its token: with its bearer, for an audience."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            good = self.headers["Authorization"] == f"bearer {BEARER}" and asked.get("audience") == ["sigstore"]
            good = good and asked.get("api-version") == ["2.0"]
            self.send_response(200 if good else 401)
            self.end_headers()
            self.wfile.write(json.dumps({"value": lab.provider.token(WHO)} if good else {}).encode())

        def log_message(self, *_words: Any) -> None:
            """Nothing: the test says what it expects."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/token?api-version=2.0"
        server.shutdown()


@pytest.fixture(autouse=True)
def no_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where these tests run in one."""
    for name in SYSTEMS:
        monkeypatch.delenv(name, raising=False)


def _github(monkeypatch: pytest.MonkeyPatch, url: str, bearer: str = BEARER) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", url)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", bearer)


def _signed(lab: SigstoreLab) -> bytes:
    """What the keyless process makes when nobody names a token."""
    request = {"payload": encode_base64(PAYLOAD), "trust_config": json.dumps(lab.trust_config)}
    return decode_base64(keyless_process.sign(request)["bundle"], "the bundle")


def _check(bundle: bytes, lab: SigstoreLab) -> None:
    kinds = {PredicateType.RELEASE}
    found = verify_statement(bundle, trust_file(lab), role=Role.BUILDER, predicate_types=kinds)
    assert any(f"signature by the builder {WHO}, as {lab.url} says" in check.what for check in found.checks)


def test_a_site_in_github_actions_signs(
    tmp_path: Path, lab: SigstoreLab, actions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole: the site's signers, their process of its own, which inherits the job's variables; checked on the way."""
    _github(monkeypatch, actions)
    (tmp_path / "config.json").write_text(json.dumps(lab.trust_config))
    settings = KeylessSettings(schema="assay.keyless/1", trust_config="config.json", identity=WHO, issuer=lab.url)
    signers = KeylessSigners(MemorySigner(), settings, tmp_path, SystemClock())
    _check(signers.sign_statement(Role.BUILDER, PAYLOAD), lab)


def test_gitlab(lab: SigstoreLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """`id_tokens: SIGSTORE_ID_TOKEN: aud: sigstore` puts it into the job's variables."""
    monkeypatch.setenv("GITLAB_CI", "true")
    with pytest.raises(Refused, match="gives no identity token") as refused:
        _signed(lab)
    assert "id_tokens" in refused.value.remedy
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", lab.provider.token(WHO))
    _check(_signed(lab), lab)


@pytest.mark.parametrize(
    ("system", "program", "words"),
    [
        ("BUILDKITE", "buildkite-agent", "oidc request-token --audience sigstore"),
        ("CIRCLECI", "circleci", 'run oidc get --claims {"aud": "sigstore"} --root-issuer'),
    ],
)
def test_a_program_of_the_ci_system(
    tmp_path: Path, lab: SigstoreLab, monkeypatch: pytest.MonkeyPatch, system: str, program: str, words: str
) -> None:
    """Buildkite's agent and CircleCI's command are asked."""
    agent = tmp_path / program
    agent.write_text(f"#!/bin/sh\n[ \"$*\" = '{words}' ] && echo {lab.provider.token(WHO)}\n")
    agent.chmod(0o755)
    monkeypatch.setenv(system, "true")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    _check(_signed(lab), lab)


def test_google_cloud(lab: SigstoreLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service account is impersonated: an access token of the machine, and for it an identity token. Both addresses
    are Google's own, and stand for loopback here.
    """

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(self.headers["Metadata-Flavor"] == "Google", {"access_token": BEARER})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            good = self.headers["Authorization"] == f"Bearer {BEARER}" and asked["audience"] == "sigstore"
            self._answer(good and self.path == "/builder@x", {"token": lab.provider.token(WHO)})

        def _answer(self, good: bool, told: dict[str, str]) -> None:
            self.send_response(200 if good else 403)
            self.end_headers()
            self.wfile.write(json.dumps(told if good else {}).encode())

        def log_message(self, *_words: Any) -> None:
            """Nothing: the test says what it expects."""

    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_NAME", "builder@x")
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(ambient, "_GCP_TOKEN_REQUEST_URL", f"{address}/token")
        monkeypatch.setattr(ambient, "_GCP_GENERATEIDTOKEN_REQUEST_URL", address + "/{}")
        _check(_signed(lab), lab)
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_NAME", "another@x")
        with pytest.raises(Refused, match="gives no identity token"):
            _signed(lab)
        server.shutdown()


def test_a_job_without_the_permission(lab: SigstoreLab, actions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _github(monkeypatch, actions, "of-another-job")
    with pytest.raises(Refused, match="gives no identity token"):
        _signed(lab)
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    with pytest.raises(Refused, match="gives no identity token") as refused:
        _signed(lab)
    assert "id-token: write" in refused.value.remedy


def test_no_ci_system(lab: SigstoreLab) -> None:
    with pytest.raises(UsageFault, match="no CI system that gives one"):
        _signed(lab)
