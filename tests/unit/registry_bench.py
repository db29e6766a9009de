# SPDX-License-Identifier: Apache-2.0
"""A site with a release, a registry on loopback that lies when it is told to, and a site that fetches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mock_registry import MockRegistry
from published_release import Published

from assay.errors import Refused
from assay.model.trust import TrustFile
from assay.pipeline.registry_transfer import Pulled, Registry, pull_release, push_release
from assay.pipeline.site import Site

BOARD = "ast1030-evb"


def quiet(_line: str) -> None:
    return


@pytest.fixture
def published(published: Published, made_trust: TrustFile) -> Published:
    published.trust = lambda **changes: made_trust.model_copy(update=changes)  # type: ignore[method-assign]
    return published


@pytest.fixture(autouse=True)
def no_passwords(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("ASSAY_REGISTRY_USER", "DOCKER_CONFIG", "NETRC", "XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=[True, False], ids=["referrers", "tags"])
def mock(request: pytest.FixtureRequest) -> Iterator[MockRegistry]:
    registry = MockRegistry(referrers=request.param)
    yield registry
    registry.close()


@pytest.fixture
def new_mock() -> Iterator[MockRegistry]:
    registry = MockRegistry()
    yield registry
    registry.close()


def push(published: Published, mock: MockRegistry) -> None:
    release = published.site.store.find("tiny", None, BOARD)
    push_release(published.site, release, Registry(mock.url), quiet)


def pull(published: Published, mock: MockRegistry, site: Site, **more: object) -> Pulled:
    return pull_release(site, "tiny", "1.0.0", BOARD, Registry(mock.url, **more), published.trust(), quiet)  # type: ignore[arg-type]


def other_site(tmp_path: Path) -> Site:
    return Site(tmp_path / "other-site")


def left(site: Site) -> set[str]:
    """Every file of the site."""
    files = (path for path in site.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(site.folder)) for path in files} - {"incoming.lock"}


def refused_and_nothing_kept(published: Published, mock: MockRegistry, site: Site, reason: str) -> None:
    """A pull is refused for that reason, with a remedy, and the site is as empty as before."""
    with pytest.raises(Refused, match=reason) as refused:
        pull(published, mock, site)
    assert refused.value.status == 4
    assert refused.value.remedy
    assert left(site) == set()
