# SPDX-License-Identifier: Apache-2.0
"""The small module of the build tests, with every key of its site in a SoftHSM2 token: built, signed, published and
verified by the verbs, and the PIN is seen by nobody.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from published_release import MODULE, Published
from soft_token import LABEL, LIBRARY, PIN, SoftToken, make_keys, needs_softhsm
from tiny_build import ROOT

from assay.backends.signers import withheld
from assay.backends.signers.service import SignerProcess
from assay.backends.signers.withheld import withhold
from assay.errors import ExitStatus
from assay.model.keys import PinSource, Token
from assay.pipeline.trust_file import load_trust
from assay.pipeline.verb_process import VerbProcess

pytestmark = needs_softhsm

VARIABLE = "ASSAY_PIN_FACTORY"
SPY = f"""
import os, pathlib, sys
pin = {PIN[::-1]!r}[::-1].encode()
read = 0
for process in pathlib.Path("/proc").iterdir():
    for file in ("environ", "cmdline"):
        try:
            found = (process / file).read_bytes() if process.name.isdecimal() else b""
        except OSError:
            continue
        read += bool(found)
        if pin in found:
            sys.exit("the PIN is in " + str(process / file) + " of " + (process / "cmdline").read_bytes().decode())
if pin.decode() in str(dict(os.environ)) or read < 2:
    sys.exit("the PIN is in the environment, or nothing was seen")
open(sys.argv[1] + '/payload.bin', 'w').write('x' * 1000 + sys.argv[2])
"""
"""A build that looks at all processes that it can see."""


class Chain:
    """A project whose keys are in a token; `said` is all that the verbs said."""

    def __init__(self, root: Path, token: SoftToken) -> None:
        self.root = root
        self.said = ""
        self._environment = {**os.environ, **token.environment, "ASSAY_SITE": str(root / "site"), VARIABLE: PIN}

    def assay(self, *words: str) -> dict[str, object]:
        """The answer of `assay WORDS --json`."""
        command = [sys.executable, "-P", "-m", "assay", *words, "--json"]
        done = subprocess.run(
            command, cwd=self.root, env=self._environment, capture_output=True, text=True, check=False
        )
        self.said += done.stdout + done.stderr
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, object] = json.loads(done.stdout)
        return answer


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    token = SoftToken(tmp_path / "hsm").make()
    for name, value in token.environment.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "project"
    shutil.copytree(ROOT / "boards", root / "boards")
    (root / "mod").mkdir()
    (root / "mod" / "module.toml").write_text(MODULE)
    (root / "mod" / "build.py").write_text(SPY)
    signers = SignerProcess(root / "site" / "keys")
    signers.set_token(LABEL, token.described())
    make_keys(signers)
    signers.set_token(LABEL, Token(module=str(LIBRARY), pin=PinSource(env=VARIABLE), timeout_s=60.0))
    signers.close()
    return Chain(root, token)


def test_the_chain(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(chain.root)
    chain.assay("build", "mod", "--board", "ast1030-evb", "--builder", "host", "--out", "out")
    chain.assay("sign", "out")
    chain.assay("publish", "out.signed")
    chain.assay("keys", "trust", "--allow-emulated", "--out", "trust.toml")
    trust = (chain.root / "trust.toml").read_text()
    assert "development = true" not in trust
    assert "UNSAFE" not in trust
    chain.assay("log", "verify", "--trust", "trust.toml")
    assert Published(chain.root).gate(load_trust(chain.root / "trust.toml")).release.reference == "tiny@1.0.0"
    verified = ["verify", "--key", "key.pem", "out.signed/image.signed.bin"]
    (chain.root / "key.pem").write_text(str(chain.assay("keys", "show", "image")["pem"]) + "\n")
    subprocess.run([sys.executable, "-m", "imgtool.main", *verified], check=True, capture_output=True)
    assert_nowhere(chain)


def test_a_pipeline_hands_the_pin_to_its_verbs(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, PIN)
    withhold()
    assert VARIABLE not in os.environ
    reading, writing = os.pipe()
    site, out = chain.root / "site", chain.root / "out.json"
    verb = VerbProcess(("keys", "login", LABEL), folder=chain.root, site=site, stdout=out, lifeline=writing)
    assert verb.result().status is ExitStatus.PASS
    os.close(reading)
    os.close(writing)
    withheld._taken.clear()


def assert_nowhere(chain: Chain) -> None:
    """The PIN is in nothing that was said, and in no file that was left."""
    assert PIN not in chain.said
    files = [path for path in chain.root.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if PIN.encode() in path.read_bytes()] == []
