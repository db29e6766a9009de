# SPDX-License-Identifier: Apache-2.0
"""Services of keyless signing that are away, silent or lie: deadlines, and what is signed by key meanwhile."""

from __future__ import annotations

import errno
import json
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from keyless_site import PAYLOAD, folder, here, lab, signers_at

from assay.backends.clocks.system_clock import SystemClock
from assay.backends.signers import keyless, keyless_process
from assay.errors import InfrastructureError, ServiceAway
from assay.model.trust import Role
from assay.simulation.sigstore_lab.lab import SigstoreLab

__all__ = ["folder", "here", "lab"]


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
        signers_at(folder, SystemClock()).sign_statement(Role.BUILDER, PAYLOAD)
    finally:
        lab.out_of_order = {}
    assert len(asked) > 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("service", ["/api/v2/signingCert", "/rekor", "/tsa"])
def test_a_service_that_stays_away_is_an_error(folder: Path, lab: SigstoreLab, service: str) -> None:
    lab.out_of_order = {service: 503}
    try:
        with pytest.raises(InfrastructureError, match=r"no keyless signature within 120 s"):
            signers_at(folder).sign_statement(Role.BUILDER, PAYLOAD)
    finally:
        lab.out_of_order = {}


def test_a_service_that_never_answers_has_a_deadline(folder: Path, lab: SigstoreLab) -> None:
    """The client itself waits for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = json.dumps(lab.trust_config).replace(f'"{lab.url}"', f'"http://127.0.0.1:{silent.getsockname()[1]}"')
        (folder / "config.json").write_text(config)
        with pytest.raises(InfrastructureError, match=r"did not answer within 3 s|of the 3 s of an attempt"):
            signers_at(folder, attempt_s=3).sign_statement(Role.BUILDER, PAYLOAD)


def test_what_an_attempt_has_started_ends_with_it(folder: Path) -> None:
    """A token command that hangs is ended, too, with what it has started."""
    script = f"echo $$ > {folder}/pid; sleep 600"
    for attempt_s in (4, 16, 60):  # as long as a busy machine needs to start it
        with pytest.raises(InfrastructureError, match=f"of the {attempt_s} s of an attempt, the identity token took"):
            signers_at(folder, token_command=("sh", "-c", script), attempt_s=attempt_s).sign_statement(
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
            signers_at(folder, when_away=when_away).sign_statement(Role.BUILDER, PAYLOAD)
    assert not (folder / "log-queue").exists()


@pytest.mark.usefixtures("here")
def test_only_what_is_away_is_queued(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token command that fails, or a client that does, is no reason to sign by key."""
    with pytest.raises(InfrastructureError, match="ended with status 3"):
        signers_at(folder, when_away="queue", token_command=("sh", "-c", "exit 3")).sign_statement(
            Role.BUILDER, PAYLOAD
        )
    assert not (folder / "log-queue").exists()
    monkeypatch.setattr(keyless_process, "sign", lambda *_: (_ for _ in ()).throw(TimeoutError("x")))
    assert b"publicKey" in signers_at(folder, when_away="queue").sign_statement(Role.BUILDER, PAYLOAD)
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
