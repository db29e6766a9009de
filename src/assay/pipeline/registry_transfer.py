# SPDX-License-Identifier: Apache-2.0
"""Releases to and from a registry, with the statements about them as referrers.

Guards: a pulled release is verified as a whole, in a store of its own, before it is kept, and is the one that was asked
for; a push leaves the tag for last but the statements, and moves none. Interrupted, both go on: what is there is not
sent again, and blobs and a part of one are kept for the next pull. Of a pull that is refused nothing is left.
Leaves to others: HTTP (`backends.registries`), what verifies a release (`incoming_release`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from assay.backends.durable_file import exclusive, make_folder
from assay.backends.registries.client import RegistryClient
from assay.backends.registries.connection import RegistryConnection
from assay.backends.registries.credentials import find_credentials, find_token_credentials
from assay.backends.registries.download_folder import DownloadFolder
from assay.backends.registries.upload import Uploads
from assay.backends.stores.blob_folder import BLOB_BYTES_MAX
from assay.backends.stores.oci_layout import OciLayoutStore
from assay.errors import NotVerified, Refused, StorageError
from assay.formats import canonical_json, oci_layout, strict_json
from assay.formats.oci_layout import Descriptor, Index, Manifest
from assay.formats.registry_address import check_tag, parse_address
from assay.interfaces.step_book import Say
from assay.model.artifact import Release
from assay.model.trust import Check, TrustFile
from assay.pipeline.incoming_folder import incoming_folder
from assay.pipeline.incoming_release import STATEMENTS_MAX, check_withdrawals, verify_incoming
from assay.pipeline.manifest_files import board_file, load_board, project_root
from assay.pipeline.site import Site
from assay.pipeline.withdrawals import withdrawal_of

PULL_BYTES_MAX = 4 * BLOB_BYTES_MAX
"""Bytes of one release: image, patches, RAUC bundle and statements."""
LAYERS_MAX = 256

_STATEMENTS = (oci_layout.BUNDLE_TYPE, oci_layout.WITHDRAWAL_TYPE)
_UNTOLD = (None, oci_layout.EMPTY_TYPE)
"""What registries that do not know `artifactType` list a statement as: nothing, or the type of its empty config."""


@dataclass(frozen=True)
class Registry:
    """What the user says of a registry."""

    address: str
    ca: Path | None = None
    also: frozenset[str] = frozenset()

    def client(self, board: str, name: str) -> RegistryClient:
        """The repository of a module. Raises `UsageFault`."""
        address = parse_address(self.address)
        credentials = find_credentials(str(address.origin))
        connection = RegistryConnection(
            address.origin, credentials, ca=self.ca, also=self.also, for_tokens=find_token_credentials
        )
        return RegistryClient(connection, address.repository(board, name))


@dataclass(frozen=True)
class Pushed:
    """Where a release is now, what was sent, and what refers to it there."""

    where: str
    manifest: str
    blobs_sent: int
    blobs_there: int
    statements: int


def push_release(site: Site, release: Release, registry: Registry, say: Say) -> Pushed:
    """Push `release` with all that refers to it, one push of a site at a time. Raises `Refused` where another release
    has its tag.
    """
    uploads = site.cache_dir / "uploads"
    try:
        make_folder(uploads, mode=0o700)
        with exclusive(uploads):
            client = registry.client(release.board, release.name)
            known = Uploads(uploads, client.name)
            known.tidy(site.clock.now().timestamp())
            return _push(site, release, client, known, say)
    except OSError as error:
        text = f"{uploads} cannot be written: {error.strerror}"
        raise StorageError(text, remedy="free disk space, and make the site folder writable") from error


def _push(site: Site, release: Release, client: RegistryClient, uploads: Uploads, say: Say) -> Pushed:
    tag = _tag(release)
    part = _about(site.store, release)
    subject, *statements = part.manifests
    manifest = site.store.get(subject.sha256)
    if withdrawal_of(site.store, release) is not None and client.manifest(tag) != manifest:
        text = f"{release.reference} was withdrawn, and is not in {client.name}"
        raise Refused(text, remedy="push another release")
    sent = there = 0
    for sha256 in site.store.blobs_of(part).keys() - {each.sha256 for each in part.manifests}:
        if client.has_blob(sha256):
            uploads.done(sha256)
            there += 1
            continue
        data = site.store.get(sha256)
        say(f"pushing {sha256[:16]}, {len(data)} bytes")
        if have := client.put_blob(sha256, data, uploads):
            say(f"{have} bytes of it were there")
        sent += 1
    client.put_release(tag, manifest)
    client.put_referrers([(each, site.store.get(each.sha256)) for each in statements], subject)
    return Pushed(f"{client.name}:{tag}", subject.digest, sent, there, len(statements))


def _about(store: OciLayoutStore, release: Release) -> Index:
    """The release first, then what refers to it and to nothing else."""
    part = store.part_of([release])
    first = next(each for each in part.manifests if each.artifactType == oci_layout.RELEASE_TYPE)

    def refers(each: Descriptor) -> bool:
        subject = oci_layout.read_manifest(store.get(each.sha256)).subject
        return subject is not None and subject.digest == first.digest

    return Index(manifests=(first, *(each for each in part.manifests if refers(each))))


@dataclass(frozen=True)
class Pulled:
    """A release that came and is kept, and what was checked of it."""

    release: Release
    checks: tuple[Check, ...]
    statements: int


def pull_release(
    site: Site, name: str, version: str, board: str, registry: Registry, trust: TrustFile, say: Say
) -> Pulled:
    """Pull `name@version` for `board`, verify everything, and keep it. Raises `NotVerified`, `Refused`; `UsageFault`
    before anything is asked for, where the board is not known.
    """
    load_board(board_file(project_root(Path.cwd()), board))
    client = registry.client(board, name)
    check_tag(version.replace("+", "_"))
    try:
        with incoming_folder(site) as folder:
            downloads = DownloadFolder(site.cache_dir / "downloads", PULL_BYTES_MAX)
            downloads.tidy(site.clock.now().timestamp())
            try:
                pulled = _pulled(site, _Pull(client, folder, downloads, say), (name, version, board), trust)
            except Refused:
                downloads.drop()
                raise
            downloads.drop()
            return pulled
    except OSError as error:
        text = f"the release cannot be kept: {error.strerror} ({error.filename})"
        raise StorageError(text, remedy="free disk space, and make the site folder writable") from error


def _pulled(site: Site, pull: _Pull, wanted: tuple[str, str, str], trust: TrustFile) -> Pulled:
    """Bring the release, verify it, and keep it."""
    name, version, board = wanted
    statements = pull.pull(check_tag(version.replace("+", "_")))
    staged = OciLayoutStore(pull.folder)
    found = [each for each in staged.releases() if (each.name, each.version, each.board) == wanted]
    if len(found) != 1:
        named = ", ".join(f"{each.reference} for {each.board}" for each in staged.releases())
        text = f"{pull.where} is {named}, not {name}@{version} for {board}"
        raise NotVerified(text, remedy="somebody moved the tag: ask who runs the registry")
    check_withdrawals(site.store, staged, trust)
    checks = verify_incoming(staged, found[0], trust)
    site.store.adopt(staged)
    return Pulled(found[0], checks, statements)


class _Pull:
    """Brings one release into the layout in `folder`; blobs come into `downloads`, where a stopped pull leaves them."""

    def __init__(self, client: RegistryClient, folder: Path, downloads: DownloadFolder, say: Say) -> None:
        self.folder = folder
        self.where = client.name
        self._client = client
        self._blobs = folder / "blobs" / "sha256"
        self._downloads = downloads
        self._say = say
        self._left = PULL_BYTES_MAX
        self._blobs.mkdir(parents=True)

    def pull(self, tag: str) -> int:
        """Answers how many statements refer to the release."""
        self.where = f"{self._client.name}:{tag}"
        data = self._client.manifest(tag)
        if data is None:
            raise NotVerified(f"there is no {self._client.name}:{tag}", remedy="push the release there")
        manifest = oci_layout.read_manifest(data)
        if manifest.artifactType != oci_layout.RELEASE_TYPE:
            text = f"{self._client.name}:{tag} is no release of assay ({manifest.artifactType})"
            raise NotVerified(text, remedy="name the registry and prefix that releases are pushed to")
        names = self._take(data, manifest)
        subject = oci_layout.describe(data, oci_layout.MANIFEST_TYPE, artifactType=oci_layout.RELEASE_TYPE)
        referring = [found for each in self._listed(subject) if (found := self._statement(each, subject)) is not None]
        named = {oci_layout.REFERENCE_ANNOTATION: names}
        index = Index(manifests=(subject.model_copy(update={"annotations": named}), *referring))
        (self.folder / "index.json").write_bytes(canonical_json.encode_value(index))
        return len(referring)

    def _listed(self, subject: Descriptor) -> Iterable[Descriptor]:
        found = self._client.referrers(subject)
        if len(found) > STATEMENTS_MAX:
            text = f"{self._client.name} has {len(found)} statements about the release; {STATEMENTS_MAX} are taken"
            raise NotVerified(text, remedy="ask who runs the registry")
        return [each for each in found if each.artifactType in (*_STATEMENTS, *_UNTOLD)]

    def _statement(self, descriptor: Descriptor, subject: Descriptor) -> Descriptor | None:
        """What the manifest itself says that it is counts; None for something else that refers to the release."""
        data = self._client.manifest(descriptor.digest)
        if data is None:
            text = f"{self._client.name} lists the statement {descriptor.digest} and does not have it"
            raise NotVerified(text, remedy="push the release again")
        if strict_json.loads_object(data, "a manifest in the registry").get("artifactType") not in _STATEMENTS:
            return None
        manifest = oci_layout.read_manifest(data)
        if manifest.subject is None or manifest.subject.digest != subject.digest:
            text = f"{self._client.name} lists the statement {descriptor.digest}, which is about something else"
            raise NotVerified(text, remedy="ask who runs the registry")
        self._take(data, manifest)
        return oci_layout.describe(data, oci_layout.MANIFEST_TYPE, artifactType=manifest.artifactType)

    def _take(self, data: bytes, manifest: Manifest) -> str:
        """A manifest with its config and layers; answers the name of the release, if it is one."""
        (self._blobs / oci_layout.describe(data, oci_layout.MANIFEST_TYPE).sha256).write_bytes(data)
        if len(manifest.layers) > LAYERS_MAX:
            text = f"{self._client.name} has a manifest with {len(manifest.layers)} layers; {LAYERS_MAX} are taken"
            raise NotVerified(text, remedy="ask who runs the registry")
        for each in (manifest.config, *manifest.layers):
            self._blob(each)
        if manifest.artifactType != oci_layout.RELEASE_TYPE:
            return ""
        config = (self._blobs / manifest.config.sha256).read_bytes()
        return oci_layout.reference_of(oci_layout.read_release(manifest, config))

    def _blob(self, descriptor: Descriptor) -> None:
        file = self._blobs / descriptor.sha256
        if file.exists():
            if (there := file.stat().st_size) != descriptor.size:
                text = (
                    f"{self._client.name} says that {descriptor.digest} has {descriptor.size} bytes, and it has {there}"
                )
                raise NotVerified(text, remedy="ask who runs the registry")
            return
        self._left -= descriptor.size
        if descriptor.size > BLOB_BYTES_MAX or self._left < 0:
            text = f"{self._client.name} has a blob of {descriptor.size} bytes, more than a release may have"
            raise NotVerified(text, remedy="ask who runs the registry")
        if not self._downloads.has(descriptor.sha256, descriptor.size):
            self._say(f"pulling {descriptor.sha256[:16]}, {descriptor.size} bytes")
            self._client.blob(descriptor, self._downloads.place(descriptor.sha256, descriptor.size))
        self._downloads.give(descriptor.sha256, file)


def _tag(release: Release) -> str:
    return check_tag(oci_layout.reference_of(release).partition(":")[2])
