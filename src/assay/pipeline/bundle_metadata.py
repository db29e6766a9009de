# SPDX-License-Identifier: Apache-2.0
"""Trust metadata that came in a bundle: the metadata of a TUF repository, verified from the root that this site has.

Guards: metadata that is older than what this site has seen, expired, or not signed by the roles is refused, and so is a
bundle whose releases are not those that the repository's targets name; this is tried on a copy of what the site knows,
so that nothing moves before the whole bundle is verified. Leaves to others: TUF (`backends.repository`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.backends.repository.sources import FolderSource
from assay.backends.repository.tuf_client import TufClient
from assay.errors import NotVerified, Refused
from assay.formats import tuf_names
from assay.model.artifact import Release
from assay.model.identifiers import parse_name
from assay.model.trust import TrustFile
from assay.pipeline.repository_fetch import STATES, alone, check_belongs, custom_of, read_root
from assay.pipeline.site import Site


@dataclass(frozen=True)
class MetadataOrder:
    """Which repository the metadata has to be of: its name at this site, and root metadata for the first time."""

    name: str = "releases"
    root: Path | None = None


class BundleMetadata:
    """The metadata below `folder`, in which a bundle was taken apart. Raises `NotVerified`, `UsageFault`."""

    def __init__(self, site: Site, folder: Path, order: MetadataOrder) -> None:
        self._site = site
        self._folder = folder
        self._root = read_root(order.root) if order.root is not None else None
        self._state = site.folder / STATES / parse_name(order.name, "a repository")

    @property
    def is_there(self) -> bool:
        """Whether the bundle came with metadata."""
        return (self._folder / "metadata").is_dir()

    def check(self, releases: Sequence[Release], trust: TrustFile) -> None:
        """The repository is the one that this site knows, newer than or as it was, and names these releases."""
        trial = self._folder / "state"
        if self._state.is_dir():
            with alone(self._state):
                shutil.copytree(self._state, trial)
        client = self._refreshed(trial)
        if client.development and not trust.allow_development:
            text = f"the repository is signed by UNSAFE-DEVELOPMENT keys, which '{trust.name}' refuses"
            raise Refused(text, remedy="use a repository with keys that nobody can copy")
        for release in releases:
            target = client.target(tuf_names.release_name(release.board, release.name, release.version))
            if target is None:
                text = f"the repository whose metadata is in the bundle does not have {release.reference}"
                raise NotVerified(text, remedy="publish it there, then export again")
            check_belongs(release, custom_of(target), (release.name, release.version, release.board))

    def keep(self) -> None:
        """From now on nothing older counts."""
        with alone(self._state):
            self._refreshed(self._state)

    def _refreshed(self, state: Path) -> TufClient:
        client, now = TufClient(state / "metadata", state / "floor", FolderSource(self._folder)), self._site.clock.now()
        client.check_clock(now)
        client.refresh(self._root, now)
        return client
