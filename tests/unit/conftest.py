# SPDX-License-Identifier: Apache-2.0
"""Fixtures of several test files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from published_release import MODULE, SCRIPT, Published
from repository_pair import Pair
from tiny_build import ROOT

from assay.model.trust import TrustFile
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.publishing import publish_signed
from assay.pipeline.site import Site
from assay.pipeline.site_repository import SiteRepository
from assay.pipeline.trust_file import site_trust


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


@pytest.fixture
def pair(published: Published, monkeypatch: pytest.MonkeyPatch) -> Pair:
    return Pair(published, monkeypatch)


@pytest.fixture(scope="module")
def made_repository(made_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository") / "copy"
    shutil.copytree(made_release, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        pair = Pair(Published(root), patch)
        pair.init()
        pair.publish()
    return root


@pytest.fixture
def served(made_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """One release is in the repository, and nobody has fetched it."""
    root = tmp_path / "copy"
    shutil.copytree(made_repository, root)
    monkeypatch.chdir(root)
    pair = Pair(Published(root), monkeypatch)
    repository = SiteRepository(pair.owner)
    repository.save(repository.settings.model_copy(update={"folder": str(pair.folder)}))
    return pair
