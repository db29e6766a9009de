# SPDX-License-Identifier: Apache-2.0
"""Somebody's project with a release, a stranger with nothing, and the release built again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_build import NoPause, request_for, tiny_project

from assay.formats import canonical_json, sigstore_bundle
from assay.model.trust import Role, TrustFile
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.module_build import build_module
from assay.pipeline.publishing import publish_signed
from assay.pipeline.rebuild import RebuildOrder, Rebuilt, rebuild
from assay.pipeline.site import Site
from assay.pipeline.trust_file import site_trust

MODULE_CHANGES = ('"{out}", "{defines}"', '"{out}", "{image_pubkey}", "{defines}"')
SCRIPT = """\
import base64, sys
key, blob = open(sys.argv[2]).read(), open('mod/data/blob').read()
raw = base64.b64decode(''.join(key.splitlines()[1:-1]))
open(sys.argv[1] + '/payload.bin', 'wb').write(raw + (str(sys.argv[3:]) + blob).encode())
"""


class House:
    """Somebody's project in git, with a site, and one module built, signed and published: `tiny`, with a key inside."""

    def __init__(self, root: Path, script: str = SCRIPT) -> None:
        self.root = tiny_project(root)
        self.site = site_in(root / "site")
        text = (self.root / "mod" / "module.toml").read_text()
        (self.root / "mod" / "module.toml").write_text(text.replace(*MODULE_CHANGES))
        (self.root / "mod" / "data" / "blob").write_text("text")
        (self.root / "mod" / "build.py").write_text(script)
        (self.root / "mod" / "link").symlink_to("/etc/passwd")
        for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "x")):
            git(self.root, *words)
        (self.root / "mod" / "link").unlink()

    def publish(self, monkeypatch: pytest.MonkeyPatch, **how: Any) -> None:
        """Build, `how` the request may say, and sign; publishing is left to the test."""
        monkeypatch.chdir(self.root)
        keys = {"image": self.site.signers.public_key(Role.IMAGE).public}
        out = self.root.parent / "artifact"
        request = replace(request_for(self.root), **{"keys": keys, "defines": {"A": "1"}, **how})
        build_module(request, self.site, out, lambda _line: None)
        sign_artifact(out, self.site, self.root.parent / "signed")

    @property
    def bundle(self) -> Path:
        return self.root.parent / "signed" / "provenance.sigstore.json"

    def trust(self, *others: Site) -> TrustFile:
        mine = site_trust(self.site, "test", allow_development=True, allow_emulated=True)
        keys = tuple(key for other in others for key in site_trust(other, "x").keys if key.role is Role.BUILDER)
        return mine.model_copy(update={"keys": (*mine.keys, *keys)})


def site_in(folder: Path) -> Site:
    site = Site(folder)
    site.__dict__["clock"] = NoPause()
    return site


def git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Made once: no test changes what is in its commit."""
    made = House(tmp_path_factory.mktemp("house"))
    with pytest.MonkeyPatch.context() as patch:
        made.publish(patch)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.root)
        publish_signed(made.root.parent / "signed", made.site)
    yield made


@pytest.fixture
def stranger(tmp_path: Path) -> Site:
    return site_in(tmp_path / "stranger")


def again(house: House, site: Site, tmp_path: Path, **changes: Any) -> Rebuilt:
    order = RebuildOrder(house.bundle.read_bytes(), house.trust(), source=str(house.root), builder="host")
    return rebuild(replace(order, **changes), site, tmp_path / "rebuilt", lambda _line: None)


def predicate(bundle: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sigstore_bundle.decode(bundle).envelope.payload)["predicate"]
    return found


def tampered(bundle: bytes, house: House, change: Any) -> bytes:
    """The provenance with a change, signed again by the house: what a rebuilder meets when the builder lies."""
    statement = json.loads(sigstore_bundle.decode(bundle).envelope.payload)
    change(statement)
    return house.site.signers.sign_statement(Role.BUILDER, canonical_json.encode(statement))
