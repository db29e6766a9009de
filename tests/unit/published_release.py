# SPDX-License-Identifier: Apache-2.0
"""A project with a site, and one module built, signed and published there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_build import ROOT, VERSIONED

from assay.model.artifact import VerifiedImage
from assay.model.board import Board
from assay.model.trust import TrustFile
from assay.pipeline.build_recipe import BuildRequest
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.manifest_files import load_board
from assay.pipeline.module_build import build_module
from assay.pipeline.publishing import publish_signed
from assay.pipeline.release_gate import verify_release
from assay.pipeline.site import Site
from assay.pipeline.trust_file import site_trust

MODULE = VERSIONED.replace(
    "[update]",
    """\
[interfaces]
requires = [{ name = "assay-handoff", version = "1" }]

[[dependencies]]
name = "assay-bootloader"
version = ">=1.0.0"

[update]""",
)


SCRIPT = "import sys; open(sys.argv[1] + '/payload.bin', 'w').write('x' * 1000 + sys.argv[2])"


class NoPause:
    """The host's clock, on which nobody waits."""

    def __getattr__(self, name: str) -> object:
        from assay.backends.clocks.system_clock import SystemClock

        return getattr(SystemClock(), name)

    def sleep(self, seconds: float) -> None:
        return


class Published:
    """A project with a site, and one module built, signed and published there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.site = Site(root / "site")
        self.site.__dict__["clock"] = NoPause()
        self.artifact, self.signed = root / "artifact", root / "signed"

    @property
    def board(self) -> Board:
        return load_board(self.root / "boards" / "ast1030-evb.toml")

    def trust(self, **changes: object) -> TrustFile:
        trusted = site_trust(self.site, "test", allow_development=True, allow_emulated=True)
        return trusted.model_copy(update=changes)

    def gate(self, trust: TrustFile | None = None) -> VerifiedImage:
        return verify_release(self.site.store, trust or self.trust(), "tiny", None, self.board)

    def build(self, out: Path, version: str = "1.0.0") -> None:
        request = BuildRequest(self.root / "mod" / "module.toml", "ast1030-evb", version, builder="host")
        build_module(request, self.site, out, lambda _line: None)


@pytest.fixture(scope="module")
def made_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    shutil.copytree(ROOT / "boards", root / "boards")
    (root / "mod").mkdir()
    (root / "mod" / "module.toml").write_text(MODULE)
    (root / "mod" / "build.py").write_text(SCRIPT)
    published = Published(root)
    published.build(published.artifact)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        sign_artifact(published.artifact, published.site, published.signed)
        publish_signed(published.signed, published.site)
    published.site.signers.close()  # type: ignore[attr-defined]
    return root


@pytest.fixture(scope="module")
def made_trust(made_release: Path) -> TrustFile:
    """Who trusts the maker of the release; made once, since asking the signer process costs a second each time."""
    site = Site(made_release / "site")
    trust = site_trust(site, "test", allow_development=True, allow_emulated=True)
    site.signers.close()  # type: ignore[attr-defined]
    return trust


@pytest.fixture
def published(made_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    root = tmp_path / "copy"
    shutil.copytree(made_release, root)
    monkeypatch.chdir(root)
    return Published(root)
