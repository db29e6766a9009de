# SPDX-License-Identifier: Apache-2.0
"""Releases with all that refers to them, and what this site's log says of them, in one file for the air gap.

Guards: the same releases at the same state of the log give the same bytes; a release that this site's log does not
vouch for is not exported; the file appears whole or not at all, and in the place of nothing but a bundle.
Leaves to others: the form (`formats.release_bundle`), whom the receiver trusts (`bundle_import`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assay.backends.durable_file import TEMPORARY, make_folder, sync_folder
from assay.errors import Refused, StorageError, UsageFault
from assay.formats import canonical_json, log_entry, oci_layout, release_bundle, sigstore_bundle, tar_stream
from assay.formats.canonical_tar import header_of
from assay.formats.oci_layout import Index
from assay.formats.release_bundle import BundleIndex, LoggedRecord, Since
from assay.formats.statement_verifier import read_statement
from assay.model.artifact import Release
from assay.model.record import LogEntry, RecordType
from assay.model.statement import PredicateType
from assay.pipeline.site import Site
from assay.pipeline.stamp_folder import STAMPS, StampFolder, StampsOf, first_of
from assay.pipeline.withdrawals import withdrawal_of

METADATA_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of one file of trust metadata; the largest of a TUF repository are its bins, far below."""

Give = Callable[[], bytes]


@dataclass(frozen=True)
class Exported:
    """What is in the file that was written: releases, logged records, and the size of the log."""

    releases: tuple[Release, ...]
    records: int
    log_size: int
    size: int
    sha256: str


def find_releases(site: Site, references: Sequence[str], board: str | None) -> tuple[Release, ...]:
    """The releases that `NAME@VERSION` or `NAME` (its highest version) mean, for `board` or for all. Raises
    `UsageFault`.
    """
    known, found = site.store.releases(), []
    for reference in references:
        name, _, version = reference.partition("@")
        boards = sorted({each.board for each in known if each.name == name and board in (None, each.board)})
        if not boards:
            listed = ", ".join(f"{each.reference} for {each.board}" for each in known) or "it is empty"
            text = f"the store has no {reference}" + (f" for {board}" if board else "")
            raise UsageFault(text, remedy=f"publish it; in the store: {listed}")
        found += [site.store.find(name, version or None, each) for each in boards]
    return tuple(each for each in known if each in found)


def export_bundle(
    site: Site,
    releases: Sequence[Release],
    out: Path,
    *,
    since: int | None = None,
    metadata: Path | None = None,
    stamps: Path | None = None,
) -> Exported:
    """Write the bundle of `releases` to `out`. `since`: the size of this log that the receiver has seen; `metadata`: a
    folder with trust metadata (TUF); `stamps`: one with archive stamps, beside that of the site. Raises `UsageFault`,
    `StorageError`.
    """
    _check_replaceable(out)
    for each in releases:
        if (found := withdrawal_of(site.store, each)) is not None:
            text = f"{each.reference} was withdrawn: {found.says.reason}"
            raise Refused(text, remedy="export another release; the withdrawal travels with it")
    size = site.records.log.checkpoint().size
    layout = _Layout(site, releases, size)
    members = layout.members() | _metadata(metadata)
    folders = (stamps, site.folder / STAMPS)
    members |= _stamps(members, first_of(*(StampFolder(each).of for each in folders if each is not None)))
    members[release_bundle.CHECKPOINT] = _held(site.records.log.note())
    if site.records.log.checkpoint().size != size:
        raise StorageError("the log grew while it was read", remedy="export again")
    sizes = {name: length for name, (length, _) in members.items()}
    proofs = tuple(_logged(site, index, entry, size) for index, entry in layout.entries)
    index = BundleIndex(members=sizes, records=proofs, since=_since(site, since, size))
    members[release_bundle.INDEX] = _held(release_bundle.encode_index(index))
    written, sha256 = _write(out, members)
    return Exported(tuple(releases), len(proofs), size, written, sha256)


class _Layout:
    """The OCI image layout of `releases`, with the statements that they were released as beside them."""

    def __init__(self, site: Site, releases: Sequence[Release], log_size: int) -> None:
        self._store = site.store
        self._made: dict[str, bytes] = {}
        self._index = site.store.part_of(releases)
        self.entries: list[tuple[int, LogEntry]] = []
        wanted = set(self._store.blobs_of(self._index))
        missing = {digest: each.reference for each in releases for digest in _needed(each)}
        unlogged = {each.image.file_sha256: each for each in releases}
        for at, entry in site.records.entries(log_size):
            if entry.record in wanted:
                self.entries.append((at, entry))
                missing.pop(entry.record, None)
            elif entry.type is RecordType.RELEASE and (told := _told(site, entry, unlogged)) is not None:
                self._refer(unlogged.pop(told.image.file_sha256), site.records.record(entry.record))
                self.entries.append((at, entry))
        for reference in sorted({*missing.values(), *(each.reference for each in unlogged.values())}):
            raise UsageFault(
                f"{reference} is not a release of this site: its log does not know it",
                remedy="pass on the bundle that it came in, or export it where it was made",
            )

    def members(self) -> dict[str, tuple[int, Give]]:
        """Name to size and content."""
        blobs = {digest: len(data) for digest, data in self._made.items()}
        stored = self._store.blobs_of(Index(manifests=tuple(e for e in self._index.manifests if e.sha256 not in blobs)))
        members = {
            release_bundle.blob_name(digest): (size, self._giver(digest))
            for digest, size in {**stored, **blobs}.items()
        }
        members["index.json"] = _held(canonical_json.encode_value(self._index))
        members["oci-layout"] = _held(oci_layout.LAYOUT)
        return members

    def _giver(self, digest: str) -> Give:
        return lambda: self._made[digest] if digest in self._made else self._store.get(digest)

    def _refer(self, release: Release, bundle: bytes) -> None:
        """The record of the release refers to it, as its other statements do."""
        reference = oci_layout.names_of(release)
        descriptor = next(
            each
            for each in self._index.manifests
            if (each.annotations or {}).get(oci_layout.REFERENCE_ANNOTATION) in reference
        )
        subject = self._store.get(descriptor.sha256)
        manifest = oci_layout.attestation_manifest(subject, PredicateType.RELEASE.value, bundle)
        added = oci_layout.describe(manifest, oci_layout.MANIFEST_TYPE, artifactType=oci_layout.BUNDLE_TYPE)
        if added in self._index.manifests:
            return
        for data in (oci_layout.EMPTY, bundle, manifest):
            self._made[hashlib.sha256(data).hexdigest()] = data
        self._index = self._index.model_copy(update={"manifests": (*self._index.manifests, added)})


def _needed(release: Release) -> list[str]:
    """The statements without which a release is none, by the digests of their bundles."""
    return [*release.attestations.values(), *(patch.statement for patch in release.patches)]


def _told(site: Site, entry: LogEntry, wanted: Mapping[str, Release]) -> Release | None:
    """The release of `wanted` that the record of a release is about."""
    statement = read_statement(sigstore_bundle.decode(site.records.record(entry.record)).envelope.payload)
    release = wanted.get(statement.subject[0].digest.get("sha256", ""))
    is_it = release is not None and statement.predicate == canonical_json.plain(release)
    return release if is_it else None


def _logged(site: Site, index: int, entry: LogEntry, size: int) -> LoggedRecord:
    hashes = tuple(item.hex() for item in site.records.log.inclusion_proof(index, size))
    return LoggedRecord(index=index, entry=log_entry.encode(entry).decode(), hashes=hashes)


def _since(site: Site, since: int | None, size: int) -> Since | None:
    if since is None:
        return None
    if not 0 < since <= size:
        raise UsageFault(f"this site's log has {size} entries, not {since}", remedy="give the size that was seen of it")
    return Since(size=since, hashes=tuple(item.hex() for item in site.records.log.consistency_proof(since, size)))


def _metadata(folder: Path | None) -> dict[str, tuple[int, Give]]:
    """The JSON files in `folder`: what a TUF client reads before it believes anything."""
    if folder is None:
        return {}
    files = sorted(path for path in folder.glob("*.json") if path.is_file())
    if not files:
        raise UsageFault(f"{folder} holds no trust metadata (*.json)", remedy="name the folder of a TUF repository")
    members = {}
    for path in files:
        data = path.read_bytes()
        if len(data) > METADATA_BYTES_MAX:
            raise UsageFault(f"{path} has more than {METADATA_BYTES_MAX} bytes", remedy="name the metadata's folder")
        members[f"metadata/{path.name}"] = _held(data)
    return members


def _stamps(members: Mapping[str, object], stamps_of: StampsOf) -> dict[str, tuple[int, Give]]:
    """The archive stamps of what is in the bundle."""
    found = dict[str, tuple[int, Give]]()
    for digest in filter(None, map(release_bundle.blob_of, members)):
        stamps = enumerate(stamps_of(digest), 1)
        found |= {release_bundle.stamp_name(digest, at): _held(stamp) for at, stamp in stamps}
    return found


def _held(data: bytes) -> tuple[int, Give]:
    return len(data), lambda: data


def _check_replaceable(path: Path) -> None:
    """Nothing is there, an empty file, or a bundle."""
    if not path.exists() or (path.is_file() and (path.stat().st_size == 0 or is_bundle(path))):
        return
    what = "a folder" if path.is_dir() else "no bundle of assay"
    raise UsageFault(f"{path} is {what}, and is not overwritten", remedy="name another file, or remove this one")


def is_bundle(path: Path) -> bool:
    """Whether the file begins as a bundle does; not whether anything in it verifies."""
    with path.open("rb") as file:
        return file.read(len(release_bundle.INDEX)) == release_bundle.INDEX.encode()


def _write(out: Path, members: Mapping[str, tuple[int, Give]]) -> tuple[int, str]:
    """Beside, fsynced, renamed; answers size and SHA-256. Raises `StorageError`."""
    beside = out.with_name(TEMPORARY + out.name)
    digest, written = hashlib.sha256(), 0
    try:
        make_folder(out.absolute().parent)
        with suppress(FileNotFoundError):
            beside.unlink()
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            for part in _parts(members):
                file.write(part)
                digest.update(part)
                written += len(part)
            file.flush()
            os.fsync(descriptor)
        beside.replace(out)
        sync_folder(out.absolute().parent)
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror}", remedy="free space, name another") from error
    finally:
        with suppress(OSError):
            beside.unlink()
    return written, digest.hexdigest()


def _parts(members: Mapping[str, tuple[int, Give]]) -> Iterator[bytes]:
    for name in sorted(members):
        size, give = members[name]
        data = give()
        if len(data) != size:
            raise StorageError(f"{name} has {len(data)} bytes, and the store says {size}", remedy="pull it again")
        yield header_of(name, size)
        yield data
        yield tar_stream.padding_of(size)
    yield tar_stream.END
