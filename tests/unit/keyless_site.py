# SPDX-License-Identifier: Apache-2.0
"""A site whose builder signs keyless at a running Sigstore lab, and the signers that do it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from keyless_bench import WHO, statement
from memory_signer import MemorySigner

from assay.backends.clocks.system_clock import SystemClock
from assay.backends.signers import keyless, keyless_process, messages
from assay.backends.signers.keyless import KeylessSigners
from assay.cli.keys import command as keys
from assay.interfaces.clock import Clock
from assay.model.keyless import KeylessSettings
from assay.model.statement import PredicateType
from assay.pipeline.site import Site
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


def signers_at(folder: Path, clock: Clock | None = None, **settings: Any) -> KeylessSigners:
    """Signers of the folder's settings, which make one attempt by a clock of their own."""
    said: dict[str, Any] = {"trust_config": "config.json", "identity": WHO}
    said["issuer"] = json.loads((folder / "config.json").read_bytes())["signingConfig"]["oidcUrls"][0]["url"]
    if "token_command" not in settings:
        said["token_file"] = "token"
    made = KeylessSettings(schema="assay.keyless/1", **(said | settings))
    return KeylessSigners(MemorySigner(), made, folder, clock or Hurried())


def make_site(folder: Path, lab: SigstoreLab, *words: str) -> list[str]:
    """Sets the site of the folder to the lab by `keys keyless WORDS`; the words that name the site."""
    (folder / "config.json").write_text(json.dumps(lab.trust_config))
    write_token(folder, lab.provider.token(WHO))
    site = ["--site", str(folder / "site")]
    config, token = str(folder / "config.json"), str(folder / "token")
    words = ("--issuer", lab.url, "--identity", WHO, *words)
    done = CliRunner().invoke(keys, ["keyless", "--trust-config", config, "--token-file", token, *words, *site])
    assert done.exit_code == 0, done.output
    return site


def queueing(folder: Path) -> KeylessSigners:
    """The site's signers, which make one attempt."""
    site = Site(folder / "site")
    site.__dict__["clock"] = Hurried()
    signers = site.signers
    assert isinstance(signers, KeylessSigners)
    return signers
