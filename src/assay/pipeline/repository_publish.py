# SPDX-License-Identifier: Apache-2.0
"""Releases and withdrawals into the site's repository.

Guards: every file is there, durably, before signed metadata names it; the same release again changes nothing, unless
there are more test results on it. Leaves to others: what may be released (`publishing`), metadata (`backends`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from assay.errors import NotVerified, Refused
from assay.formats import canonical_json, log_entry, oci_layout, sigstore_bundle, strict_json, tuf_names
from assay.model.artifact import Release
from assay.model.identifiers import Version
from assay.model.record import RecordType
from assay.model.repository import FilePart, ReleaseList, ReleaseTarget, WithdrawalList
from assay.model.statement import PredicateType
from assay.model.value import Value
from assay.pipeline.site_repository import SiteRepository
from assay.pipeline.withdrawals import withdrawals

if TYPE_CHECKING:
    from tuf.api.metadata import Targets

    from assay.backends.repository.repository_folder import Current, RepositoryFolder
    from assay.pipeline.site import Site

V = TypeVar("V", bound=Value)
_TEST_MARK = b'"type":"test"'


@dataclass(frozen=True)
class PublishedTarget:
    """A release as the repository lists it. `changed`: there is a new version of the metadata."""

    name: str
    target: ReleaseTarget
    changed: bool


class _Changes:
    """The bins that a publication changes, each read once."""

    def __init__(self, folder: RepositoryFolder, current: Current) -> None:
        self._folder, self._current = folder, current
        self._read: dict[str, Targets] = {}
        self.changed: dict[str, Targets] = {}

    def document(self, name: str, model: type[V]) -> V | None:
        """The document of the target `name` as it is now. Raises `NotVerified` when the file is another one."""
        target = self._bin(name).targets.get(name)
        if target is None:
            return None
        data = (self._folder.folder / "targets" / _prefixed(name, target.hashes["sha256"])).read_bytes()
        if hashlib.sha256(data).hexdigest() != target.hashes["sha256"]:
            raise NotVerified(f"the repository's file {name} was changed", remedy="put it back from a copy")
        return parse_document(data, model, name)

    def put(self, name: str, data: bytes, custom: Value | None = None) -> bool:
        """The target `name` has these bytes now; False when it had before."""
        from tuf.api.metadata import TargetFile

        digest = hashlib.sha256(data).hexdigest()
        more = {"custom": canonical_json.plain(custom)} if custom else {}
        target = TargetFile(len(data), {"sha256": digest}, tuf_names.check_name(name), more)
        self._folder.put_target(_prefixed(name, digest), data)
        signed = self._bin(name)
        if signed.targets.get(name) == target:
            return False
        signed.targets[name] = target
        self.changed[self._folder.bin_of(self._current, name)] = signed
        return True

    def _bin(self, name: str) -> Targets:
        which = self._folder.bin_of(self._current, name)
        if which not in self._read:
            self._read[which] = self._folder.bin(self._current, which)
        return self._read[which]


def publish_to_repository(site: Site, release: Release) -> PublishedTarget:
    """Put `release`, which is in the store, into the site's repository. Raises `Refused` when a key is away."""
    repository = SiteRepository(site)
    with repository.folder.writing():
        current, folder = repository.current(), repository.folder
        changes = _Changes(folder, current)
        files = _files(site, release)
        for part in files:
            folder.put_target(tuf_names.blob_path(part.sha256), site_bytes(site, part))
        name = tuf_names.release_name(release.board, release.name, release.version)
        target = _target(release, files)
        _check_same_image(changes, name, release)
        changes.put(name, oci_layout.release_config(release), target)
        _list(changes, release)
        if changes.changed:
            with _kept(f"{release.reference} for {release.board}"):
                folder.commit(current, repository.maker(), bins=changes.changed)
    return PublishedTarget(name, target, bool(changes.changed))


def publish_withdrawals(site: Site) -> bool:
    """Put all withdrawals that the store knows into the repository; True when there were new ones."""
    repository = SiteRepository(site)
    with repository.folder.writing():
        current, folder = repository.current(), repository.folder
        changes = _Changes(folder, current)
        there = changes.document(tuf_names.WITHDRAWN, WithdrawalList) or WithdrawalList()
        known = {part.sha256 for part in there.statements}
        added = []
        for found in withdrawals(site.store):
            part = _part(found.bundle, PredicateType.WITHDRAWAL.value)
            if part.sha256 not in known:
                folder.put_target(tuf_names.blob_path(part.sha256), found.bundle)
                added.append(part)
        if not added:
            return False
        grown = there.model_copy(update={"statements": (*there.statements, *added)})
        changes.put(tuf_names.WITHDRAWN, canonical_json.encode_value(grown))
        with _kept("a withdrawal"):
            folder.commit(current, repository.maker(), bins=changes.changed)
        return True


@contextlib.contextmanager
def _kept(what: str) -> Iterator[None]:
    """When a key is away, its error says that `what` is in the store all the same."""
    try:
        yield
    except Refused as error:
        text = f"the store has {what}, and the repository does not have it yet: {error.message}"
        raise Refused(text, remedy=error.remedy) from error


def parse_document(data: bytes, model: type[V], name: str) -> V:
    """A document of a repository. Raises `NotVerified` when it has another form."""
    document = strict_json.loads_object(data, f"the repository's {name}")
    try:
        return model.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        text = f"the repository's {name} has another form: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise NotVerified(text, remedy="use a newer version of assay, or tell who runs the repository") from error


def site_bytes(site: Site, part: FilePart) -> bytes:
    """The bytes of a file of a release: from the store, or a record."""
    if part.kind == PredicateType.TEST_RESULT.value:
        return site.records.record(part.sha256)
    return site.store.get(part.sha256)


def _files(site: Site, release: Release) -> tuple[FilePart, ...]:
    wanted = {release.image.file_sha256: oci_layout.IMAGE_LAYER_TYPE}
    wanted |= {digest: kind for kind, digest in sorted(release.attestations.items())}
    for patch in release.patches:
        wanted |= {patch.file_sha256: oci_layout.PATCH_LAYER_TYPE, patch.statement: PredicateType.PATCH.value}
    if release.rauc:
        wanted[release.rauc.file_sha256] = oci_layout.RAUC_LAYER_TYPE
    parts = [FilePart(sha256=digest, length=len(site.store.get(digest)), kind=kind) for digest, kind in wanted.items()]
    summaries = site.store.attached(release, PredicateType.SUMMARY.value)
    parts += [_part(bundle, PredicateType.SUMMARY.value) for bundle in summaries]
    parts += [_part(bundle, PredicateType.TEST_RESULT.value) for bundle in _tests(site, release)]
    return tuple(parts)


def _part(data: bytes, kind: str) -> FilePart:
    return FilePart(sha256=hashlib.sha256(data).hexdigest(), length=len(data), kind=kind)


def _tests(site: Site, release: Release) -> list[bytes]:
    """The records of this site that are test results on the image of `release`, in the order of the log."""
    if not (site.folder / "log" / "checkpoint").is_file():
        return []
    found = []
    for index, leaf in site.records.log.entries(site.records.log.checkpoint().size):
        if _TEST_MARK not in leaf:
            continue
        entry = log_entry.decode(leaf, f"log: entry {index}")
        if entry.type is RecordType.TEST:
            bundle = site.records.record(entry.record)
            if release.image.file_sha256.encode() in sigstore_bundle.decode(bundle).envelope.payload:
                found.append(bundle)
    return found


def _target(release: Release, files: tuple[FilePart, ...]) -> ReleaseTarget:
    tests = tuple(part.sha256 for part in files if part.kind == PredicateType.TEST_RESULT.value)
    return ReleaseTarget(
        hardware_ids=(release.board,),
        min_revision=release.min_revision,
        release_counter=release.security_counter,
        image_sha256=release.image.file_sha256,
        image_hash=release.image.image_hash,
        provenance_sha256=release.attestations[PredicateType.PROVENANCE.value],
        tests_sha256=tests,
        files=files,
    )


def _check_same_image(changes: _Changes, name: str, release: Release) -> None:
    there = changes.document(name, Release)
    if there is not None and there.image != release.image:
        raise Refused(
            f"the repository has {release.reference} for {release.board} with another image",
            remedy="give the new image a version of its own",
        )


def _list(changes: _Changes, release: Release) -> None:
    name = tuf_names.list_name(release.board, release.name)
    there = changes.document(name, ReleaseList)
    versions = {*(there.versions if there else ()), release.version}
    ordered = tuple(sorted(versions, key=Version))
    document = ReleaseList(board=release.board, name=release.name, versions=ordered)
    changes.put(name, canonical_json.encode_value(document))


def _prefixed(name: str, digest: str) -> str:
    folder, _, last = name.rpartition("/")
    return f"{folder}{'/' if folder else ''}{digest}.{last}"
