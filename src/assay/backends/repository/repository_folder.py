# SPDX-License-Identifier: Apache-2.0
"""A TUF repository in a folder: what any file server serves, changed so that a reader sees the old state or the new.

Guards: what is there is verified before anything is built on it, from the newest state that this site has published, so
that nobody who can write to the folder has their own entries signed. All of a change is signed before any of it is
written, so a key that is away leaves the folder as it was. `timestamp.json` is written last of all: a process that is
killed before that has changed nothing that a client sees, and the next one begins again from there; one that is killed
before a next root is there left that root beside the floor, and the next one puts it there.
Leaves to others: keys (`metadata_signer`), what the targets are (`pipeline.repository_publish`).
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.backends.durable_file import exclusive, make_folder, remove_unfinished, sync_folder, write_durably
from assay.backends.named_file import read_kept
from assay.backends.repository.floor import Floor, FloorState
from assay.backends.repository.metadata_signer import MetadataSigner
from assay.backends.repository.pending_root import PendingRoot
from assay.errors import NotVerified, Refused, StorageError
from assay.formats.tuf_names import check_name
from assay.model.repository import RepositoryRole

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

MADE = "x-assay-made"
"""A member of `timestamp.json`: when it was made. A clock that is behind it is wrong (docs/adr/0232)."""

DEVELOPMENT_MARK = "x-assay-development"
"""A member of the root: one of the keys is a development key."""

_MALFORMED = (ValueError, KeyError, TypeError, AttributeError)
"""What python-tuf raises for metadata of another role, or of another shape."""

PRUNED_AFTER_S = 24 * 3600.0
"""Seconds for which metadata stays that no new client asks for: one that has read the time stamp before may."""

_OLD = re.compile(r"([0-9]+)\.((?:snapshot|targets|releases-[0-9a-f]+)\.json)")

_OTHER = "put the folder back as this site published it last, or begin a new repository; see who changed it"


@dataclass
class Current:
    """The metadata that a client sees now, verified. Bins are read when they are asked for."""

    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]
    raw: dict[str, bytes] = field(default_factory=dict)
    unfinished: bool = False
    """A change of keys was cut short, and `root` is the next one, which clients do not see yet."""


@dataclass(frozen=True)
class Maker:
    """Who signs what is written, when, and for how many days each role is good."""

    signer: MetadataSigner
    now: datetime
    days: Callable[[RepositoryRole], int]

    def expires(self, role: RepositoryRole) -> datetime:
        """When metadata of `role` that is made now expires (TUF: whole seconds, UTC)."""
        return self.now.astimezone(UTC).replace(microsecond=0) + timedelta(days=self.days(role))


class RepositoryFolder:
    """The repository in `folder`, as the site with `floor` and `pending` publishes it. Raises `StorageError`."""

    def __init__(self, folder: Path, floor: Floor, pending: PendingRoot) -> None:
        self.folder = folder
        self._floor = floor
        self._pending = pending
        self._metadata = folder / "metadata"

    @property
    def exists(self) -> bool:
        """Whether a client would find something here."""
        return (self._metadata / "timestamp.json").is_file()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """The folder to ourselves, tidy, and a change of keys that was cut short brought to its end."""
        try:
            for part in (self._metadata, self.folder / "targets" / "blobs"):
                make_folder(part)
            with exclusive(self._metadata):
                for part in (self._metadata, *(path for path in (self.folder / "targets").rglob("*") if path.is_dir())):
                    remove_unfinished(part)
                self._finish()
                yield
        except OSError as error:
            text = f"the repository {self.folder} cannot be written: {error.strerror}"
            raise StorageError(text, remedy="free disk space, and make its folder writable") from error

    def create(self, root: Root, targets: Targets, bins: Mapping[str, Targets], maker: Maker) -> Current:
        """The first state; a process that was killed in the middle is repeated from the start."""
        from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

        snapshot = Snapshot(1, expires=maker.expires(RepositoryRole.SNAPSHOT), meta={"targets.json": MetaFile(1)})
        timestamp = Timestamp(1, expires=maker.expires(RepositoryRole.TIMESTAMP), snapshot_meta=MetaFile(1))
        signed = Metadata(root)
        maker.signer.sign(signed, root.roles["root"], what="root.json")
        empty = Current(signed, Metadata(timestamp), Metadata(snapshot), Metadata(targets), {"root": _bytes(signed)})
        for metadata in (snapshot, timestamp, targets, *bins.values()):
            metadata.version = 0  # that of the first one that is made is 1
        self._write("1.root.json", empty.raw["root"])
        return self.commit(empty, maker, bins=bins, targets=targets)

    def current(self, first_keys: frozenset[str] = frozenset()) -> Current:
        """What is there, verified. Without a floor the first root has to be by `first_keys` (key ids) alone.

        Raises `NotVerified` for what was changed, `Refused` for an older state than this site published.
        """
        from tuf.api.exceptions import RepositoryError

        floor = self._floor.read()
        try:
            found = self._verified(floor, first_keys)
        except (RepositoryError, *_MALFORMED) as error:
            text = f"the repository {self.folder} does not verify: {type(error).__name__}: {error}"
            raise NotVerified(text, remedy=_OTHER) from error
        if floor is not None:
            self._check_not_older(found, floor)
        return found

    def bin_of(self, current: Current, target: str) -> str:
        """The name of the bin that `target` belongs to."""
        roles = current.targets.signed.delegations
        assert roles is not None and roles.succinct_roles is not None
        return roles.succinct_roles.get_role_for_target(target)

    def bin(self, current: Current, name: str) -> Targets:
        """The bin `name`, verified; a copy that may be changed. Raises `NotVerified`."""
        from tuf.api.exceptions import RepositoryError
        from tuf.api.metadata import Metadata

        version = current.snapshot.signed.meta[f"{name}.json"].version
        try:
            found = Metadata[Any].from_bytes(self._read(f"{version}.{name}.json"))
            current.targets.signed.verify_delegate(name, found.signed_bytes, found.signatures)
        except (RepositoryError, *_MALFORMED) as error:
            text = f"the repository {self.folder} does not verify: {name}: {error}"
            raise NotVerified(text, remedy=_OTHER) from error
        if found.signed.version != version:
            raise NotVerified(f"{name} in {self.folder} is version {found.signed.version}", remedy=_OTHER)
        signed: Targets = found.signed
        return signed

    def put_target(self, path: str, data: bytes) -> None:
        """Keep a file below `targets/`, durably; one that is there and whole is left as it is."""
        at = self.folder / "targets" / check_name(path)
        if at.is_file() and not at.is_symlink() and at.read_bytes() == data:
            sync_folder(at.parent)  # whoever wrote it may have been killed before its name was durable
            return
        make_folder(at.parent)
        write_durably(at, data)

    def commit(
        self,
        current: Current,
        maker: Maker,
        *,
        bins: Mapping[str, Targets] | None = None,
        targets: Targets | None = None,
        next_root: Metadata[Root] | None = None,
    ) -> Current:
        """The next state: the changed `bins`, `targets` when it changed, and a new snapshot and time stamp.

        With `next_root` (`sign_root`) they are signed for the root that is there and for the next one. Raises `Refused`
        when a key is away, before anything is written.
        """
        from tuf.api.metadata import MetaFile

        if next_root is not None:
            self._done(
                current
            )  # a beginning may have been killed before it had a floor, from which the next one goes on
        fresh, files = copy.deepcopy(current), dict[str, bytes]()
        meta, roots = fresh.snapshot.signed.meta, _roots(fresh, next_root)
        if targets is not None:
            fresh.targets.signed = targets
            name, files[name] = self._make(fresh.targets, "targets", RepositoryRole.TARGETS, maker, roots)
            meta["targets.json"] = MetaFile(targets.version)
        for each, signed in (bins or {}).items():
            name, files[name] = self._make_bin(each, signed, fresh.targets.signed, maker)
            meta[f"{each}.json"] = MetaFile(signed.version)
        name, fresh.raw["snapshot"] = self._make(fresh.snapshot, "snapshot", RepositoryRole.SNAPSHOT, maker, roots)
        files[name] = fresh.raw["snapshot"]
        return self._stamp(fresh, files, maker, next_root)

    def stamp(self, current: Current, maker: Maker) -> Current:
        """The state that is there, with a new time stamp: it is still the newest."""
        return self._stamp(copy.deepcopy(current), {}, maker, None)

    def prune(self, current: Current, now: datetime) -> int:
        """Remove snapshots, targets and bins that newer ones took the place of a day ago; answers how many.

        Roots stay: clients follow each of them. Who reads the folder needs what `current` names, and nothing else.
        """
        newest = {name: meta.version for name, meta in current.snapshot.signed.meta.items()}
        newest["snapshot.json"] = current.snapshot.signed.version
        count = 0
        for path in sorted(self._metadata.iterdir()):
            found = _OLD.fullmatch(path.name)
            if found is None or int(found[1]) >= newest.get(found[2], 0):
                continue
            after = self._metadata / f"{int(found[1]) + 1}.{found[2]}"
            if not after.exists() or now.timestamp() - after.stat().st_mtime > PRUNED_AFTER_S:
                path.unlink()
                count += 1
        return count

    def sign_root(self, current: Current, root: Root, maker: Maker) -> Metadata[Root]:
        """`root` as the next one, signed for the root that is there and for itself; nothing is written.

        Raises `Refused` when a key is away.
        """
        from tuf.api.metadata import Metadata

        signed = Metadata(root)
        maker.signer.sign(signed, current.root.signed.roles["root"], root.roles["root"], what="root.json")
        return signed

    def put_root(self, current: Current, signed: Metadata[Root]) -> Current:
        """The next root. Clients follow it from the moment that its file is there."""
        fresh = copy.deepcopy(current)
        fresh.root, fresh.raw["root"] = signed, _bytes(signed)
        self._write(f"{signed.signed.version}.root.json", fresh.raw["root"])
        fresh = self._done(fresh)
        self._pending.clear()
        return fresh

    def _finish(self) -> None:
        """The next root of a change of keys that was cut short is there, when clients need it by now."""
        if not self._pending.is_there or self._floor.read() is None:
            return
        with contextlib.suppress(Refused):  # who asks for what is there is told
            found = self.current()
            if found.unfinished:
                self.put_root(found, found.root)
            elif self._pending.following(found.root) is None:
                self._pending.clear()

    def _stamp(
        self, fresh: Current, files: dict[str, bytes], maker: Maker, next_root: Metadata[Root] | None
    ) -> Current:
        """Sign the time stamp, then write: the next root beside the floor, `files`, and the time stamp last."""
        from tuf.api.metadata import MetaFile

        timestamp, snapshot = fresh.timestamp.signed, fresh.raw["snapshot"]
        digest = hashlib.sha256(snapshot).hexdigest()
        timestamp.snapshot_meta = MetaFile(fresh.snapshot.signed.version, len(snapshot), {"sha256": digest})
        timestamp.unrecognized_fields[MADE] = maker.now.astimezone(UTC).replace(microsecond=0).isoformat()
        roots = _roots(fresh, next_root)
        _, fresh.raw["timestamp"] = self._make(fresh.timestamp, "timestamp", RepositoryRole.TIMESTAMP, maker, roots)
        if next_root is None:
            self._pending.clear()
        else:
            self._pending.write(_bytes(next_root))
        for name, data in files.items():
            self._write(name, data)
        fresh.raw["targets"] = self._read(f"{fresh.snapshot.signed.meta['targets.json'].version}.targets.json")
        self._write("timestamp.json", fresh.raw["timestamp"])
        return self._done(fresh)

    def _done(self, fresh: Current) -> Current:
        self._floor.write(FloorState({role: fresh.raw[role] for role in ("root", "timestamp", "snapshot", "targets")}))
        return fresh

    def _make(
        self, metadata: Metadata[Any], name: str, role: RepositoryRole, maker: Maker, roots: list[Root]
    ) -> tuple[str, bytes]:
        """The next version of a top-level role: its file's name and bytes. Its last root has to be satisfied, an older
        one where that can be.
        """
        metadata.signed.version += 1
        metadata.signed.expires = maker.expires(role)
        roles = [root.roles[name] for root in roots]
        maker.signer.sign(metadata, *roles, what=f"{name}.json", needed=roles[-1:])
        return f"{metadata.signed.version}.{name}.json", _bytes(metadata)

    def _make_bin(self, name: str, signed: Targets, targets: Targets, maker: Maker) -> tuple[str, bytes]:
        from tuf.api.metadata import Metadata

        signed.version += 1
        signed.expires = maker.expires(RepositoryRole.RELEASES)
        metadata = Metadata(signed)
        assert targets.delegations is not None and targets.delegations.succinct_roles is not None
        maker.signer.sign(metadata, targets.delegations.succinct_roles, what=f"{name}.json")
        return f"{signed.version}.{name}.json", _bytes(metadata)

    def _verified(self, floor: FloorState | None, first_keys: frozenset[str]) -> Current:
        """By the newest root that is there; where that does not do, by the next one of a change that was cut short."""
        from tuf.api.exceptions import RepositoryError

        root, raw_root = self._newest_root(floor, first_keys)
        try:
            return self._below(root, raw_root)
        except (RepositoryError, *_MALFORMED):
            following = self._pending.following(root) if floor else None
            if following is None:
                raise
        found = self._below(*following)
        found.unfinished = True
        return found

    def _below(self, root: Metadata[Root], raw_root: bytes) -> Current:
        """The metadata that is there, verified by `root`."""
        from tuf.api.metadata import Metadata

        raw = {"root": raw_root, "timestamp": self._read("timestamp.json")}
        found: dict[str, Any] = {"root": root}

        def take(name: str, data: bytes) -> Any:
            metadata = Metadata[Any].from_bytes(data)
            root.signed.verify_delegate(name, metadata.signed_bytes, metadata.signatures)
            found[name], raw[name] = metadata, data
            return metadata.signed

        meta = take("timestamp", raw["timestamp"]).snapshot_meta
        data = self._read(f"{meta.version}.snapshot.json")
        meta.verify_length_and_hashes(data)
        versions = take("snapshot", data).meta
        take("targets", self._read(f"{versions['targets.json'].version}.targets.json"))
        return Current(**found, raw=raw)

    def _newest_root(self, floor: FloorState | None, first_keys: frozenset[str]) -> tuple[Metadata[Root], bytes]:
        from tuf.api.metadata import Metadata

        raw = floor.metadata["root"] if floor else self._read("1.root.json")
        root = Metadata[Any].from_bytes(raw)
        root.signed.verify_delegate("root", root.signed_bytes, root.signatures)
        if floor is None and not set(root.signed.roles["root"].keyids) <= first_keys:
            raise ValueError("its root is by keys that this site does not have")
        while (path := self._metadata / f"{root.signed.version + 1}.root.json").is_file():
            data = self._read(path.name)
            following = Metadata[Any].from_bytes(data)
            for signed in (root.signed, following.signed):
                signed.verify_delegate("root", following.signed_bytes, following.signatures)
            root, raw = following, data
        return root, raw

    def _check_not_older(self, found: Current, floor: FloorState) -> None:
        for role in ("root", "timestamp", "snapshot", "targets"):
            version = getattr(found, role).signed.version
            if version < floor.version(role):
                raise Refused(
                    f"the repository {self.folder} was put back: {role} is version {version}, this site has published"
                    f" {floor.version(role)}",
                    remedy=_OTHER,
                )

        before = json.loads(floor.metadata["snapshot"])["signed"]["meta"]
        for name, meta in before.items():
            now = found.snapshot.signed.meta.get(name)
            if now is None or now.version < meta["version"]:
                raise Refused(f"the repository {self.folder} was put back: {name} is missing or older", remedy=_OTHER)

    def _read(self, name: str) -> bytes:
        path = self._metadata / name
        try:
            if path.is_symlink():
                raise NotVerified(f"{path} is a symbolic link; a repository has none", remedy=_OTHER)
            return read_kept(path)
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}", remedy=_OTHER) from error

    def _write(self, name: str, data: bytes) -> None:
        write_durably(self._metadata / name, data)


def _roots(current: Current, next_root: Metadata[Root] | None) -> list[Root]:
    """The root that is there, and the next one if there is one."""
    return [current.root.signed, *([next_root.signed] if next_root else [])]


def _bytes(metadata: Metadata[Any]) -> bytes:
    from tuf.api.serialization.json import JSONSerializer

    return metadata.to_bytes(JSONSerializer(compact=True))
