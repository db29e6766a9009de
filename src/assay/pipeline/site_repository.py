# SPDX-License-Identifier: Apache-2.0
"""The repository that a site publishes to: its settings, its folder, and who signs.

Guards: what is written to the folder is written by one process at a time, on top of what this site has published last.
Leaves to others: TUF (`backends.repository`), what is published (`repository_publish`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from assay.backends.durable_file import make_folder, write_durably
from assay.backends.named_file import read_kept
from assay.backends.repository.floor import Floor
from assay.backends.repository.metadata_signer import MetadataSigner, need_tuf, tuf_key
from assay.backends.repository.pending_root import PendingRoot
from assay.backends.repository.repository_folder import Current, Maker, RepositoryFolder
from assay.errors import ManifestFault, StorageError, UsageFault
from assay.formats import canonical_json
from assay.model.keys import RoleKey
from assay.model.repository import RepositoryKey, RepositoryRole, RepositorySettings

if TYPE_CHECKING:
    from assay.pipeline.site import Site

SETTINGS = "repository.json"
FLOOR = "published-repository"


class SiteRepository:
    """The repository of `site`. Raises `UsageFault` when it has none."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._settings: RepositorySettings | None = None

    @property
    def path(self) -> Path:
        """Where the settings are."""
        return self._site.folder / SETTINGS

    @property
    def is_there(self) -> bool:
        """Whether the site has a repository."""
        return self.path.is_file()

    @property
    def is_begun(self) -> bool:
        """Whether a client may have seen something of it: not one whose beginning failed, in a wrong folder or so."""
        return self.is_there and ((self._site.folder / FLOOR).exists() or self.folder.exists)

    @property
    def settings(self) -> RepositorySettings:
        """The settings of the site's repository."""
        if self._settings is None:
            self._settings = _read(self.path)
        return self._settings

    @property
    def folder(self) -> RepositoryFolder:
        """The folder that is served. Raises `ToolMissing` without python-tuf."""
        need_tuf()
        floor, pending = self._site.folder / FLOOR, self._site.folder / f"{FLOOR}-next-root"
        return RepositoryFolder(Path(self.settings.folder), Floor(floor), PendingRoot(pending))

    def maker(self) -> Maker:
        """Who signs now."""
        keys = {tuf_key(key.public).keyid: _plain(key) for key in self.settings.keys}
        return Maker(MetadataSigner(keys, self._site.keys), self._site.clock.now(), self.settings.days)

    def current(self) -> Current:
        """What a client sees now, verified."""
        roots = [key for key in self.settings.keys if key.role is RepositoryRole.ROOT]
        return self.folder.current(frozenset(tuf_key(key.public).keyid for key in roots))

    def save(self, settings: RepositorySettings) -> None:
        """From now on these are the settings. Raises `StorageError`."""
        try:
            make_folder(self.path.parent)
            write_durably(self.path, canonical_json.encode_value(settings) + b"\n", mode=0o600)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}", remedy="free disk space") from error
        self._settings = settings

    def add_keys(self, keys: Iterable[RepositoryKey]) -> None:
        """Know where more keys are; one that is known by its public part is told anew."""
        fresh = {(key.role, key.public): key for key in (*self.settings.keys, *keys)}
        self.save(self.settings.model_copy(update={"keys": tuple(fresh.values())}))


def find_keys(site: Site, named: Iterable[tuple[RepositoryRole, str]], *, production: bool) -> list[RepositoryKey]:
    """The keys at URIs, by role. Raises what their tokens and files raise."""
    found: list[RepositoryKey] = []
    for role, uri in named:
        count = 1 + sum(key.role is role for key in found)
        key = site.keys.repository_key(f"repository-{role}-{count}", uri, production=production)
        found.append(_of_role(key, role))
    return found


def development_key(site: Site, role: RepositoryRole) -> RepositoryKey:
    """The development key of `role`, made on first use. Raises `Refused` where the site is none for development."""
    return _of_role(site.keys.repository_key(f"repository-{role}"), role)


def _of_role(key: RoleKey, role: RepositoryRole) -> RepositoryKey:
    return RepositoryKey(uri=key.uri, public=key.public, name=key.name, role=role, development=key.development)


def _plain(key: RepositoryKey) -> RoleKey:
    return RoleKey(uri=key.uri, public=key.public, name=key.name, development=key.development)


def _read(path: Path) -> RepositorySettings:
    try:
        document = json.loads(read_kept(path))
        return RepositorySettings.model_validate_json(json.dumps(document))
    except FileNotFoundError as error:
        raise UsageFault("this site has no repository", remedy="make one: assay repo init FOLDER") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="make it readable") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ManifestFault(str(path), None, f"{where}: {first['msg']}") from error
    except ValueError as error:
        raise ManifestFault(str(path), None, "is no JSON", remedy="restore it from a backup") from error
