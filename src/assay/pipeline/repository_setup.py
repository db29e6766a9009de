# SPDX-License-Identifier: Apache-2.0
"""Begin a repository, change its keys, keep it fresh, say how it is.

Guards: each of these can be cut short anywhere and asked for again; a change of keys is signed as a whole before any of
it is written, for the old and the new root, so that clients see no moment between; only where an old key is lost there
is one, until the new root is there (docs/adr/0256). Leaves to others: TUF (`backends.repository`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.backends.repository.metadata_signer import tuf_key
from assay.backends.repository.repository_folder import DEVELOPMENT_MARK, Current, Maker, RepositoryFolder
from assay.errors import UsageFault
from assay.model.repository import BINS, RepositoryKey, RepositoryRole, RepositorySettings
from assay.pipeline.site_repository import SiteRepository, development_key, find_keys

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root, Targets

    from assay.pipeline.site import Site

BINS_DEFAULT = 16
BINS_MAX = 16384
KEYID_DIGITS_MIN = 8

Named = Iterable[tuple[RepositoryRole, str]]


@dataclass(frozen=True)
class NewRepository:
    """What a repository begins with: URIs of keys and thresholds by role, days by role, how many bins."""

    keys: tuple[tuple[RepositoryRole, str], ...] = ()
    thresholds: Mapping[RepositoryRole, int] = field(default_factory=dict)
    days: Mapping[RepositoryRole, int] = field(default_factory=dict)
    bins: int = BINS_DEFAULT
    production: bool = False


@dataclass(frozen=True)
class KeyChange:
    """What is to change: keys that come (URIs) and go (key ids, or beginnings of them), and thresholds."""

    add: tuple[tuple[RepositoryRole, str], ...] = ()
    remove: tuple[tuple[RepositoryRole, str], ...] = ()
    thresholds: Mapping[RepositoryRole, int] = field(default_factory=dict)
    production: bool = False


@dataclass(frozen=True)
class RoleState:
    """A role of a repository: version, until when, how many of which keys sign."""

    role: str
    version: int
    expires: datetime
    threshold: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class RepositoryState:
    """A repository as clients see it."""

    folder: str
    roles: tuple[RoleState, ...]
    bins: int
    targets: int
    now: datetime
    development: bool
    unfinished: bool = False
    """A change of keys was cut short, and clients see it by halves; whatever is signed next ends that first."""

    @property
    def expired(self) -> tuple[str, ...]:
        """Roles that are no good any more."""
        return tuple(role.role for role in self.roles if role.expires <= self.now)


def init(site: Site, folder: Path, wanted: NewRepository) -> RepositoryState:
    """Begin a repository in `folder`. One that this site began there before is left as it is; of one that failed before
    a client could see anything, nothing counts.

    Raises `UsageFault` for a folder that holds another one, and what keys raise.
    """
    repository = SiteRepository(site)
    begun = repository.is_begun
    if begun and Path(repository.settings.folder) != folder.absolute():
        raise UsageFault(
            f"this site publishes to {repository.settings.folder} already", remedy="use another site (--site)"
        )
    if (folder.is_symlink() or folder.exists()) and not folder.is_dir():
        what = "a link that leads nowhere" if folder.is_symlink() else "no folder"
        raise UsageFault(f"{folder} is {what}", remedy="name a folder, or a name that is free")
    if not begun:
        if (folder / "metadata" / "timestamp.json").exists():
            raise UsageFault(f"{folder} holds a repository of somebody else", remedy="name another folder")
        _check_bins(wanted.bins)
        repository.save(_settings(site, folder, wanted))
    with repository.folder.writing():
        if not repository.folder.exists:
            _create(repository, wanted)
    return status(site)


def refresh(site: Site, *, everything: bool = False, prune: bool = False) -> RepositoryState:
    """A new time stamp, and a new snapshot once half of its days are gone; with `everything` also what offline keys
    sign, but the root; with `prune` old metadata is removed then. Raises `Refused` when a key is away.
    """
    repository = SiteRepository(site)
    with repository.folder.writing():
        current, maker = repository.current(), repository.maker()
        if everything:
            folder = repository.folder
            bins = {name: folder.bin(current, name) for name in _bin_names(current)}
            folder.commit(current, maker, bins=bins, targets=current.targets.signed)
        elif _half_gone(current.snapshot.signed.expires, maker, RepositoryRole.SNAPSHOT):
            repository.folder.commit(current, maker)
        else:
            repository.folder.stamp(current, maker)
        if prune:
            repository.folder.prune(repository.current(), site.clock.now())
    return status(site)


def rotate(site: Site, change: KeyChange) -> RepositoryState:
    """Change keys and thresholds; without any change the root is signed anew. Raises `UsageFault`, `Refused`."""
    repository = SiteRepository(site)
    added = find_keys(site, change.add, production=change.production)
    with repository.folder.writing():
        repository.add_keys(added)
        current, maker = repository.current(), repository.maker()
        root, targets = copy.deepcopy(current.root.signed), copy.deepcopy(current.targets.signed)
        _check_known(repository.settings, change)
        _change(root, targets, added, change)
        _mark(root, targets, repository.settings)
        asked = change.add or change.remove or change.thresholds
        if not asked or (root.roles, _marked(root)) != (current.root.signed.roles, _marked(current.root.signed)):
            root.version += 1
            root.expires = maker.expires(RepositoryRole.ROOT)
            signed = repository.folder.sign_root(current, root, maker)  # first: without it nothing is to change
            current = _sign_for_both(repository.folder, current, signed, targets, maker)
            repository.folder.put_root(current, signed)
        else:
            _sign_for_both(repository.folder, current, None, targets, maker)
    return status(site)


def _sign_for_both(
    folder: RepositoryFolder, current: Current, next_root: Metadata[Root] | None, targets: Targets, maker: Maker
) -> Current:
    """What has other keys now, signed for the root that is there and for `next_root`, before that is there."""
    before = current.root.signed
    root = before if next_root is None else next_root.signed
    bins = {}
    if targets.delegations != current.targets.signed.delegations:
        bins = {name: folder.bin(current, name) for name in _bin_names(current)}
    changed = [name for name in ("targets", "snapshot", "timestamp") if root.roles[name] != before.roles[name]]
    if not bins and not changed:
        return current
    again = targets if bins or "targets" in changed else None
    return folder.commit(current, maker, bins=bins, targets=again, next_root=next_root)


def status(site: Site) -> RepositoryState:
    """The repository as clients see it, verified. Raises `NotVerified` for one that was changed."""
    repository = SiteRepository(site)
    current = repository.current()
    names = {tuf_key(key.public).keyid: key.name for key in repository.settings.keys}
    bins = [repository.folder.bin(current, name) for name in _bin_names(current)]
    return RepositoryState(
        folder=repository.settings.folder,
        roles=tuple(_states(current, bins, names)),
        bins=len(bins),
        targets=sum(len(each.targets) for each in bins),
        now=site.clock.now(),
        development=any(key.development for key in repository.settings.keys),
        unfinished=current.unfinished,
    )


def _settings(site: Site, folder: Path, wanted: NewRepository) -> RepositorySettings:
    found = find_keys(site, wanted.keys, production=wanted.production)
    named = {key.role for key in found}
    if named and len(named) < len(RepositoryRole):
        missing = ", ".join(role for role in RepositoryRole if role not in named)
        raise UsageFault(f"no key is given for {missing}", remedy="give a --key for each role, or none at all")
    found += [development_key(site, role) for role in RepositoryRole if role not in named]
    for role, count in wanted.thresholds.items():
        if not 0 < count <= sum(key.role is role for key in found):
            raise UsageFault(f"{count} keys cannot sign for {role}", remedy="give as many --key ROLE=URI, or more")
    return RepositorySettings(folder=str(folder.absolute()), keys=tuple(found), expiry_days=dict(wanted.days))


def _check_bins(bins: int) -> None:
    if bins < 2 or bins > BINS_MAX or bins & (bins - 1):
        raise UsageFault(f"{bins} bins cannot be", remedy=f"a power of two from 2 to {BINS_MAX}")


def _create(repository: SiteRepository, wanted: NewRepository) -> None:
    from tuf.api.metadata import Delegations, Root, SuccinctRoles, Targets

    maker = repository.maker()
    root = Root(expires=maker.expires(RepositoryRole.ROOT), consistent_snapshot=True)
    succinct = SuccinctRoles([], 1, wanted.bins.bit_length() - 1, BINS)
    targets = Targets(
        expires=maker.expires(RepositoryRole.TARGETS), delegations=Delegations({}, succinct_roles=succinct)
    )
    _change(root, targets, repository.settings.keys, KeyChange(thresholds=wanted.thresholds))
    _mark(root, targets, repository.settings)
    bins = {name: Targets(expires=maker.expires(RepositoryRole.RELEASES)) for name in succinct.get_roles()}
    repository.folder.create(root, targets, bins, maker)


def _change(root: Root, targets: Targets, added: Iterable[RepositoryKey], change: KeyChange) -> None:
    """`root` and `targets` with the keys that come, without those that go, and with the thresholds."""
    for key in added:
        if key.role is RepositoryRole.RELEASES:
            targets.add_key(tuf_key(key.public))
        else:
            root.add_key(tuf_key(key.public), key.role.value)
    for role, keyid in change.remove:
        signed: Any = targets if role is RepositoryRole.RELEASES else root
        of_role = _role_of(root, targets, role)
        found = [each for each in of_role.keyids if each.startswith(keyid)]
        if len(found) > 1:
            raise UsageFault(f"{keyid!r} is more than one key of {role}", remedy="give more digits of its id")
        if found:  # else it went when this was asked for before
            signed.revoke_key(found[0], *(() if role is RepositoryRole.RELEASES else (role.value,)))
    for role in RepositoryRole:
        of_role = _role_of(root, targets, role)
        of_role.threshold = change.thresholds.get(role, of_role.threshold)
        if not 0 < of_role.threshold <= len(of_role.keyids):
            text = f"{len(of_role.keyids)} keys are left for {role}, and {of_role.threshold} have to sign"
            raise UsageFault(text, remedy="add keys, or lower the threshold")


def _check_known(settings: RepositorySettings, change: KeyChange) -> None:
    """A key that is to go is one that the site knows; a slip of the pen removes nothing without a word."""
    for role, keyid in change.remove:
        known = (tuf_key(key.public).keyid for key in settings.keys if key.role is role)
        if len(keyid) < KEYID_DIGITS_MIN or not any(each.startswith(keyid) for each in known):
            raise UsageFault(f"{keyid!r} is no key of {role}", remedy="assay repo status shows their ids")


def _mark(root: Root, targets: Targets, settings: RepositorySettings) -> None:
    """The root says when one of the keys proves nothing: clients want to be told to take it."""
    development = {tuf_key(key.public).keyid for key in settings.keys if key.development}
    used = {keyid for role in RepositoryRole for keyid in _role_of(root, targets, role).keyids}
    root.unrecognized_fields.pop(DEVELOPMENT_MARK, None)
    if development & used:
        root.unrecognized_fields[DEVELOPMENT_MARK] = True


def _marked(root: Root) -> bool:
    return bool(root.unrecognized_fields.get(DEVELOPMENT_MARK))


def _role_of(root: Root, targets: Targets, role: RepositoryRole) -> Any:
    if role is not RepositoryRole.RELEASES:
        return root.roles[role.value]
    assert targets.delegations is not None and targets.delegations.succinct_roles is not None
    return targets.delegations.succinct_roles


def _bin_names(current: Current) -> list[str]:
    return list(_role_of(current.root.signed, current.targets.signed, RepositoryRole.RELEASES).get_roles())


def _half_gone(expires: datetime, maker: Maker, role: RepositoryRole) -> bool:
    return expires < maker.now + (maker.expires(role) - maker.now) / 2


def _states(current: Current, bins: list[Targets], names: Mapping[str, str]) -> Iterator[RoleState]:
    root, targets = current.root.signed, current.targets.signed
    oldest = min(bins, key=lambda each: each.expires)
    signed = {
        RepositoryRole.ROOT: root,
        RepositoryRole.TARGETS: targets,
        RepositoryRole.RELEASES: oldest,
        RepositoryRole.SNAPSHOT: current.snapshot.signed,
        RepositoryRole.TIMESTAMP: current.timestamp.signed,
    }
    for role, metadata in signed.items():
        of_role = _role_of(root, targets, role)
        keys = tuple(f"{keyid[:16]} {names.get(keyid, 'of somebody else')}" for keyid in of_role.keyids)
        yield RoleState(role.value, metadata.version, metadata.expires, of_role.threshold, keys)
