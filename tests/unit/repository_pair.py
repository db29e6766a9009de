# SPDX-License-Identifier: Apache-2.0
"""A site that publishes to a repository, and a station that fetches from it: two sites of one project."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from keys_in_process import KeysInProcess
from published_release import NoPause, Published

from assay.model.repository import RepositoryRole
from assay.pipeline.image_signing import sign_artifact
from assay.pipeline.publishing import publish_signed
from assay.pipeline.repository_fetch import Fetched, FetchOrder, fetch
from assay.pipeline.repository_publish import publish_to_repository
from assay.pipeline.repository_setup import NewRepository, RepositoryState, init, refresh
from assay.pipeline.site import Site
from assay.pipeline.site_repository import SiteRepository
from assay.pipeline.trust_file import write_trust

BOARD = "ast1030-evb"
REFERENCE = "tiny@1.0.0"


class ShiftedClock(NoPause):
    """The host's clock, ahead by `ahead`."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Pair:
    """`owner` publishes to `folder`, `station` fetches."""

    def __init__(self, published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
        self.published, self.owner = published, published.site
        self.folder, self.clock = published.root / "repository", ShiftedClock()
        self.owner.__dict__ |= {"clock": self.clock, "keys": KeysInProcess(self.owner.keys_dir)}
        self.station = self.new_station("station")
        self.trust = published.root / "station.toml"
        write_trust(self.trust, published.trust(name="station"), replace=True)
        self.first_root = published.root / "root.json"
        self._monkeypatch = monkeypatch

    def new_station(self, name: str) -> Site:
        site = Site(self.published.root / name)
        site.__dict__["clock"] = self.clock
        return site

    def init(self, **wanted: Any) -> RepositoryState:
        state = init(self.owner, self.folder, NewRepository(**wanted))
        self.first_root.write_bytes((self.folder / "metadata" / "1.root.json").read_bytes())
        return state

    def publish(self, version: str = "1.0.0") -> None:
        if version != "1.0.0":
            self.published.build(self.published.artifact, version)
            sign_artifact(self.published.artifact, self.owner, self.published.signed)
            publish_signed(self.published.signed, self.owner)
        publish_to_repository(self.owner, self.owner.store.find("tiny", version, BOARD))

    def refresh(self) -> None:
        refresh(self.owner)

    def fetch(self, release: str | None = REFERENCE, *, where: str = "", station: Site | None = None) -> Fetched:
        order = FetchOrder(release, BOARD, where or str(self.folder), self.trust, root=self.first_root)
        return fetch(station or self.station, order)

    def at(self, ahead: timedelta) -> None:
        """From now on it is later for everybody, python-tuf's client too."""
        import tuf.ngclient._internal.trusted_metadata_set as trusted_set

        clock = self.clock
        clock.ahead = ahead

        class Datetime(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return clock.now()

        class Module:
            datetime = Datetime
            from datetime import timezone

        self._monkeypatch.setattr(trusted_set, "datetime", Module)


def files_below(folder: Path) -> Mapping[str, bytes]:
    """Every file below `folder`, by its path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


ROOT, TARGETS, RELEASES = RepositoryRole.ROOT, RepositoryRole.TARGETS, RepositoryRole.RELEASES
SNAPSHOT, TIMESTAMP = RepositoryRole.SNAPSHOT, RepositoryRole.TIMESTAMP


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
