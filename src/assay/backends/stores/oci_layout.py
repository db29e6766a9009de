# SPDX-License-Identifier: Apache-2.0
"""The store of releases as an OCI image layout in a folder: other people's tools can copy it to a registry.

Guards: a release is published whole or not at all, whenever the process dies; publishers take turns; nothing that was
published changes under its name. What comes out has the digests that it is known by.
Leaves to others: whether a release is to be trusted (`pipeline.release_gate`), the documents (`formats.oci_layout`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from assay.backends.durable_file import exclusive, make_folder, write_durably
from assay.backends.named_file import read_kept
from assay.backends.stores.blob_folder import BlobFolder
from assay.errors import NotVerified, Refused, StorageError, UsageFault
from assay.formats import canonical_json, oci_layout
from assay.formats.oci_layout import Descriptor, Index, Manifest
from assay.model.artifact import Release
from assay.model.identifiers import Version
from assay.model.statement import PredicateType


class OciLayoutStore:
    """Implements `interfaces.store.Store` in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = BlobFolder(root / "blobs" / "sha256")
        self._known: dict[str, Manifest] = {}

    def put(self, data: bytes) -> str:
        """Keep `data` durably; answers its SHA-256 in hex."""
        with self._writing():
            return self._blobs.put(data)

    def get(self, sha256: str) -> bytes:
        """The bytes with that digest."""
        return self._blobs.get(sha256)

    def publish(self, release: Release) -> str:
        """Publish `release`, whose blobs were `put` before; answers the digest of its manifest.

        An image that was published under this name, version and board before stays as it is, with the attestations
        that it had then; another image under the same name is `Refused`.
        """
        bundles = [(kind, self.get(sha256)) for kind, sha256 in sorted(release.attestations.items())]
        bundles += [(PredicateType.PATCH.value, self.get(patch.statement)) for patch in release.patches]
        if any(len(self.get(patch.file_sha256)) != patch.size for patch in release.patches):
            raise NotVerified(f"a patch of {release.reference} has another size", remedy="sign the artifact again")
        if len(self.get(release.image.file_sha256)) != release.image.size:
            raise NotVerified(f"the image of {release.reference} has another size", remedy="sign the artifact again")
        with self._writing():
            index = self.index()
            there = self._published(index, release)
            return there.sha256 if there else self._add(index, release, bundles)

    def find(self, name: str, version: str | None, board: str) -> Release:
        """The release; without `version` the highest one."""
        releases = self.releases()
        fitting = [
            release
            for release in releases
            if (release.name, release.board) == (name, board) and version in (None, release.version)
        ]
        if not fitting:
            wanted = f"{name}@{version}" if version else name
            known = ", ".join(f"{release.reference} for {release.board}" for release in releases) or "it is empty"
            raise UsageFault(f"the store has no {wanted} for {board}", remedy=f"publish it; in the store: {known}")
        return max(fitting, key=lambda release: Version(release.version))

    def releases(self) -> tuple[Release, ...]:
        """All releases, by name, version and board."""
        found = (self._release(descriptor) for descriptor in _releases(self.index()))
        return tuple(sorted(found, key=lambda each: (each.name, Version(each.version), each.board)))

    def attach(self, release: Release, kind: str, bundle: bytes) -> None:
        """Keep `bundle` beside the published `release`, as an OCI referrer."""
        with self._writing():
            index = self.index()
            there = self._published(index, release)
            if there is None:
                raise UsageFault(f"{release.reference} is not in the store", remedy="publish it first")
            manifest = oci_layout.attestation_manifest(self.get(there.sha256), kind, bundle)
            added = oci_layout.describe(manifest, oci_layout.MANIFEST_TYPE, artifactType=oci_layout.BUNDLE_TYPE)
            self._refer(index, added, bundle, manifest)

    def attached(self, release: Release, kind: str) -> tuple[bytes, ...]:
        """The statements of the type `kind` that refer to `release`, the oldest first."""
        index = self.index()
        there = self._published(index, release)
        found = []
        for descriptor in index.manifests:
            if descriptor.artifactType != oci_layout.BUNDLE_TYPE:
                continue
            manifest = self._referrer(descriptor)
            named = (manifest.annotations or {}).get(oci_layout.PREDICATE_ANNOTATION)
            if there is not None and manifest.subject and (manifest.subject.digest, named) == (there.digest, kind):
                found.append(self.get(manifest.layers[0].sha256))
        return tuple(found)

    def withdraw(self, manifest: tuple[str, int], bundle: bytes) -> None:
        """Keep `bundle`, which withdraws the release with that manifest, as an OCI referrer."""
        with self._writing():
            index = self.index()
            data = oci_layout.withdrawal_manifest(manifest, bundle)
            added = oci_layout.describe(data, oci_layout.MANIFEST_TYPE, artifactType=oci_layout.WITHDRAWAL_TYPE)
            self._refer(index, added, bundle, data)

    def _refer(self, index: Index, added: Descriptor, bundle: bytes, manifest: bytes) -> None:
        """Keep a referrer: its parts first, then the index that names it; once only."""
        if added in index.manifests:
            return
        for data in (oci_layout.EMPTY, bundle, manifest):
            self._blobs.put(data)
        grown = index.model_copy(update={"manifests": (*index.manifests, added)})
        write_durably(self._root / "index.json", canonical_json.encode_value(grown))

    def withdrawals(self) -> tuple[bytes, ...]:
        """The statements that withdraw releases, the oldest first."""
        manifests = (
            oci_layout.read_manifest(self.get(descriptor.sha256))
            for descriptor in self.index().manifests
            if descriptor.artifactType == oci_layout.WITHDRAWAL_TYPE
        )
        return tuple(self.get(layer.sha256) for manifest in manifests for layer in manifest.layers[:1])

    def part_of(self, releases: Sequence[Release]) -> Index:
        """The part of the index that is about `releases` and what refers to them, and everything that was withdrawn.

        Raises `UsageFault` for a release that is not here.
        """
        index, wanted = self.index(), []
        for release in releases:
            there = self._published(index, release)
            if there is None:
                raise UsageFault(f"{release.reference} is not in the store", remedy="publish it first")
            wanted += [there, *self.referring(index, there)]
        wanted += [each for each in index.manifests if each.artifactType == oci_layout.WITHDRAWAL_TYPE]
        return Index(manifests=tuple(each for each in index.manifests if each in wanted))

    def blobs_of(self, index: Index) -> dict[str, int]:
        """Every blob that `index` needs, by digest, with its size: manifests, configs and layers."""
        blobs: dict[str, int] = {}
        for descriptor in index.manifests:
            manifest = oci_layout.read_manifest(self.get(descriptor.sha256))
            for each in (descriptor, manifest.config, *manifest.layers):
                if blobs.setdefault(each.sha256, each.size) != each.size:
                    text = f"the blob {each.sha256} is given two sizes"
                    raise NotVerified(text, remedy="restore the store from a copy")
        return blobs

    def check_adoptable(self, other: OciLayoutStore) -> None:
        """Raises `Refused` for a name of `other` under which another release is here."""
        index = self.index()
        for descriptor in _releases(other.index()):
            there = self._published(index, other._release(descriptor))
            if there is not None and there.digest != descriptor.digest:
                text = f"{_name(descriptor)} is here already, with other attestations"
                raise Refused(text, remedy="take what is here, or import into a site of its own")

    def adopt(self, other: OciLayoutStore) -> tuple[Release, ...]:
        """Publish all that the store `other` has, whole or not at all; what is here already stays as it is.

        Raises `Refused`, before anything is kept, for a name under which another release is here.
        """
        incoming, releases = other.index(), other.releases()
        with self._writing():
            self.check_adoptable(other)
            index = self.index()
            new = tuple(each for each in incoming.manifests if each not in index.manifests)
            for sha256 in other.blobs_of(Index(manifests=new)):
                self._blobs.put(other.get(sha256))
            if new:
                grown = index.model_copy(update={"manifests": (*index.manifests, *new)})
                # Last of all, and at once: until then nothing that came is there.
                write_durably(self._root / "index.json", canonical_json.encode_value(grown))
        return releases

    def referring(self, index: Index, release: Descriptor) -> list[Descriptor]:
        """The descriptors of statements that refer to `release`."""
        found = []
        for descriptor in index.manifests:
            if descriptor.artifactType == oci_layout.BUNDLE_TYPE:
                subject = self._referrer(descriptor).subject
                if subject is not None and subject.digest == release.digest:
                    found.append(descriptor)
        return found

    def _referrer(self, descriptor: Descriptor) -> Manifest:
        """The manifest of a statement, read and compared with its digest once for each store: a gate asks for several
        types, and a store may have thousands.
        """
        if descriptor.sha256 not in self._known:
            self._known[descriptor.sha256] = oci_layout.read_manifest(self.get(descriptor.sha256))
        return self._known[descriptor.sha256]

    def _release(self, descriptor: Descriptor) -> Release:
        name = _name(descriptor)
        manifest = oci_layout.read_manifest(self._part(descriptor.sha256, name))
        release = oci_layout.read_release(manifest, self._part(manifest.config.sha256, name))
        if name not in oci_layout.names_of(release):
            text = f"the store's index gives {release.reference} another name"
            raise NotVerified(text, remedy="restore index.json from a copy, or publish into a new store")
        return release

    def _part(self, sha256: str, name: str) -> bytes:
        """A document of the release that the index calls `name`."""
        try:
            return self.get(sha256)
        except StorageError as error:
            raise StorageError(f"the release {name} is not whole: {error.message}", remedy=error.remedy) from error

    def _published(self, index: Index, release: Release) -> Descriptor | None:
        for descriptor in _releases(index):
            if _name(descriptor) in oci_layout.names_of(release):
                if self._release(descriptor).image == release.image:
                    return descriptor
                text = f"{release.reference} for {release.board} is published with another image"
                raise Refused(text, remedy="give the new image a version of its own")
        return None

    def _add(self, index: Index, release: Release, bundles: list[tuple[str, bytes]]) -> str:
        manifest = oci_layout.release_manifest(release)
        attestations = [oci_layout.attestation_manifest(manifest, kind, data) for kind, data in bundles]
        for data in (oci_layout.EMPTY, oci_layout.release_config(release), *attestations, manifest):
            self._blobs.put(data)
        named = {oci_layout.REFERENCE_ANNOTATION: oci_layout.reference_of(release)}
        added = oci_layout.describe(
            manifest, oci_layout.MANIFEST_TYPE, artifactType=oci_layout.RELEASE_TYPE, annotations=named
        )
        referring = [
            oci_layout.describe(data, oci_layout.MANIFEST_TYPE, artifactType=oci_layout.BUNDLE_TYPE)
            for data in attestations
        ]
        grown = index.model_copy(update={"manifests": (*index.manifests, added, *referring)})
        # Last of all: what the index does not name is not published.
        write_durably(self._root / "index.json", canonical_json.encode_value(grown))
        return added.sha256

    def index(self) -> Index:
        """What is published here: releases, and the statements that refer to them."""
        path = self._root / "index.json"
        if path.is_symlink():
            raise NotVerified(f"{path} is a symbolic link; a store has none", remedy="restore it from a copy")
        try:
            return oci_layout.read_index(read_kept(path))
        except FileNotFoundError:
            return Index()
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="check the store's folder") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """The store to ourselves, and tidy. Raises `StorageError`."""
        try:
            make_folder(self._root)
            with exclusive(self._root / ".lock"):
                self._blobs.tidy()
                if not (self._root / "oci-layout").exists():
                    write_durably(self._root / "oci-layout", oci_layout.LAYOUT)
                yield
        except OSError as error:
            text = f"the store {self._root} cannot be written: {error.strerror}"
            raise StorageError(text, remedy="free disk space, and make its folder writable") from error


def _name(descriptor: Descriptor) -> str:
    return (descriptor.annotations or {}).get(oci_layout.REFERENCE_ANNOTATION, "without a name")


def _releases(index: Index) -> list[Descriptor]:
    return [descriptor for descriptor in index.manifests if descriptor.artifactType == oci_layout.RELEASE_TYPE]
