# SPDX-License-Identifier: Apache-2.0
"""A bundle from elsewhere, verified as a whole before any of it is kept.

Guards: names, sizes and room are known before a byte is copied; what was verified is what is kept, since it is read
from a copy of our own; until the store's index is written, at once and last, nothing of the bundle is there. Killed
anywhere, the next import begins anew and removes what was left.
Leaves to others: the form (`formats.release_bundle`), the release gate, whom to trust (the trust file).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assay.backends.durable_file import make_folder, write_durably
from assay.backends.stores.oci_layout import OciLayoutStore
from assay.errors import NotVerified, StorageError, UsageFault
from assay.formats import checkpoint, oci_layout, release_bundle, tar_stream
from assay.formats.checkpoint import Checkpoint
from assay.formats.release_bundle import BundleIndex, LogPart
from assay.formats.tar_stream import Member
from assay.model.artifact import Release
from assay.model.predicates import Withdrawal
from assay.model.trust import Check, TrustFile
from assay.pipeline.bundle_metadata import BundleMetadata, MetadataOrder
from assay.pipeline.bundle_stamps import BundleStamps
from assay.pipeline.incoming_folder import incoming_folder
from assay.pipeline.incoming_release import check_withdrawals, verify_incoming
from assay.pipeline.site import Site
from assay.pipeline.stamp_folder import STAMPS, with_stamps

IMPORTS = "imports"
"""Folder of the site with the newest checkpoint of each log that a bundle came with."""
ROOM_KEPT = 64 * 1024 * 1024
"""Bytes of the disk that an import leaves free."""

_TYPES = (oci_layout.RELEASE_TYPE, oci_layout.BUNDLE_TYPE, oci_layout.WITHDRAWAL_TYPE)
_REMEDY = "get the bundle again from who made it"


@dataclass(frozen=True)
class Imported:
    """What came: releases and what was checked of each, withdrawals, and the state of the log that vouches for them.
    `stamped`: how many statements came with archive stamps that count here; `passed_over`: those of which none does;
    `other_stamps`: those of which other ones lie where gates look, and are what counts.
    """

    releases: tuple[tuple[Release, tuple[Check, ...]], ...]
    withdrawn: tuple[Withdrawal, ...]
    log: LogPart
    kept: bool
    metadata: bool = False
    stamped: int = 0
    passed_over: tuple[str, ...] = ()
    other_stamps: tuple[str, ...] = ()


def import_bundle(
    site: Site,
    file: Path,
    trust: TrustFile,
    *,
    keep: bool = True,
    repository: MetadataOrder | None = None,
    stamps: Path | None = None,
) -> Imported:
    """Verify the bundle in `file` and keep its releases; with `keep` false only verify. `repository`: whose metadata
    may have come along. `stamps`: the folder where gates look for archive stamps (None: that of the site).

    Raises `NotVerified` or `Refused` for what must not be kept, `StorageError`, `UsageFault`.
    """
    try:
        with incoming_folder(site) as folder:
            index = _take_apart(file, folder)
            staged = OciLayoutStore(folder)
            _check_layout(staged, index)
            came = BundleStamps(staged, folder, index, trust, stamps or site.folder / STAMPS)
            trust = with_stamps(trust, came.counted)
            note = (folder / release_bundle.CHECKPOINT).read_bytes()
            seen_file = _seen_file(site, checkpoint.read(note).origin)
            log = release_bundle.verify_log(index, note, trust, _seen(seen_file))
            withdrawn = check_withdrawals(site.store, staged, trust, log)
            checked = tuple((each, verify_incoming(staged, each, trust, log)) for each in staged.releases())
            if not checked and not withdrawn:
                raise NotVerified("the bundle holds no release", remedy=_REMEDY)
            metadata = BundleMetadata(site, folder, repository or MetadataOrder())
            if metadata.is_there:
                metadata.check([release for release, _ in checked], trust)
            if keep:
                # What refuses older bundles is durable before anything of this one counts: killed in between, the same
                # bundle comes in again, and an older one does not.
                site.store.check_adoptable(staged)
                if metadata.is_there:
                    metadata.keep()
                make_folder(seen_file.parent)
                write_durably(seen_file, note)
                came.keep()
                site.store.adopt(staged)
            told = (len(came.counted), came.passed_over, came.others)
            return Imported(checked, withdrawn, log, keep, metadata.is_there, *told)
    except OSError as error:
        text = f"the bundle cannot be taken apart: {error.strerror} ({error.filename})"
        raise StorageError(text, remedy="free disk space, and make the site folder writable") from error


def _take_apart(file: Path, folder: Path) -> BundleIndex:
    """Every file that the index names, and no other, copied into `folder`; a blob has the digest that it is called."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UsageFault(f"{file} cannot be read: {error.strerror}", remedy="name a bundle") from error
    with os.fdopen(descriptor, "rb", buffering=0) as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageFault(f"{file} is no file", remedy="name a bundle that `assay bundle export` wrote")
        members = tar_stream.read_members(opened.read)
        index = _read_index(members)
        _check_room(index, folder)
        wanted = dict(index.members)
        for member in members:
            if wanted.pop(member.name, None) != member.size:
                text = f"the bundle has a file '{member.name}' of {member.size} bytes that its index does not name"
                raise NotVerified(text, remedy=_REMEDY)
            _copy(member, folder)
    if wanted:
        raise NotVerified(f"the bundle lacks '{min(wanted)}', which its index names", remedy=_REMEDY)
    return index


def _read_index(members: Iterator[Member]) -> BundleIndex:
    first = next(members, None)
    if first is None or first.name != release_bundle.INDEX or first.size > release_bundle.INDEX_BYTES_MAX:
        text = f"the file is no bundle: it does not begin with '{release_bundle.INDEX}'"
        raise NotVerified(text, remedy="name a file that `assay bundle export` wrote")
    return release_bundle.read_index(b"".join(first.chunks))


def _check_room(index: BundleIndex, folder: Path) -> None:
    """Twice the size: once to verify, once to keep."""
    total, free = sum(index.members.values()), shutil.disk_usage(folder).free
    if 2 * total + ROOM_KEPT > free:
        raise StorageError(
            f"the bundle has {total} bytes, twice of which are needed, and {free} are free", remedy="free disk space"
        )


def _copy(member: Member, folder: Path) -> None:
    path = folder / member.name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for chunk in member.chunks:
            digest.update(chunk)
            file.write(chunk)
    named = release_bundle.blob_of(member.name)
    if named is not None and digest.hexdigest() != named:
        raise NotVerified(f"the blob {named} in the bundle has another digest: it was changed", remedy=_REMEDY)


def _check_layout(staged: OciLayoutStore, index: BundleIndex) -> None:
    """Every blob is one that the releases need, and every statement refers to one of them."""
    layout = staged.index()
    there = {digest for name in index.members if (digest := release_bundle.blob_of(name))}
    if lacking := sorted({each.sha256 for each in layout.manifests} - there):
        raise NotVerified(f"the bundle lacks the blob {lacking[0]}", remedy=_REMEDY)
    needed = staged.blobs_of(layout)
    for digest in sorted(there ^ needed.keys()):
        what = "lacks" if digest in needed else "has, without any need,"
        raise NotVerified(f"the bundle {what} the blob {digest}", remedy=_REMEDY)
    digests = [each.digest for each in layout.manifests]
    if len(set(digests)) != len(digests):
        raise NotVerified("the bundle's index has a manifest twice", remedy=_REMEDY)
    for descriptor in layout.manifests:
        subject = oci_layout.read_manifest(staged.get(descriptor.sha256)).subject
        if descriptor.artifactType not in _TYPES:
            raise NotVerified(f"the bundle has a manifest of the type {descriptor.artifactType}", remedy=_REMEDY)
        if descriptor.artifactType == oci_layout.BUNDLE_TYPE and (subject is None or subject.digest not in digests):
            raise NotVerified(f"the statement {descriptor.digest} refers to nothing in the bundle", remedy=_REMEDY)


def _seen_file(site: Site, origin: str) -> Path:
    return site.folder / IMPORTS / hashlib.sha256(origin.encode()).hexdigest() / "checkpoint"


def _seen(path: Path) -> Checkpoint | None:
    """The newest checkpoint that an import left: this site's own file, so its signature is not asked again."""
    return checkpoint.read(path.read_bytes()) if path.is_file() else None
