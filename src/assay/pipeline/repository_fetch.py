# SPDX-License-Identifier: Apache-2.0
"""Fetch a release from a TUF repository into the site's store.

Guards: nothing comes into the store that the repository's roles have not signed, or that the trust file refuses; what
was withdrawn, and by who may withdraw, is learned first, and durable before anything else is kept. Cut short anywhere,
the next call goes on.
Leaves to others: TUF and transport (`backends.repository`), the gate (`fetched_release`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.backends.durable_file import exclusive, make_folder
from assay.backends.named_file import read_named
from assay.backends.repository.blob_download import download
from assay.backends.repository.sources import RepositorySource, open_source
from assay.backends.repository.tuf_client import TARGET_BYTES_MAX, Target, TufClient
from assay.errors import AssayError, InfrastructureError, NotVerified, Refused, StorageError, UsageFault
from assay.formats import tuf_names
from assay.interfaces.step_book import Say, say_nothing
from assay.model.artifact import Release
from assay.model.identifiers import parse_name
from assay.model.repository import FilePart, ReleaseList, ReleaseTarget, WithdrawalList
from assay.model.statement import PredicateType
from assay.pipeline.fetched_release import ATTACHED, FetchedRelease
from assay.pipeline.manifest_files import board_file, load_board, project_root
from assay.pipeline.repository_publish import parse_document
from assay.pipeline.trust_file import load_trust
from assay.pipeline.withdrawals import Withdrawn, refusal
from assay.pipeline.withdrawing import import_withdrawals

if TYPE_CHECKING:
    from assay.model.trust import TrustFile
    from assay.pipeline.site import Site

STATES = "repositories"
"""The folder of a site with what it knows of the repositories that it fetches from."""

ROOT_BYTES_MAX = 512_000
STATEMENT_BYTES_MAX = TARGET_BYTES_MAX
IMAGE_BYTES_MAX = 1024 * 1024 * 1024
"""Bytes, as of a blob in the store."""

WITHDRAWALS_MAX = 10_000


@dataclass(frozen=True)
class FetchOrder:
    """What is asked for: a release (`name` or `name@version`), or with None only what was withdrawn."""

    release: str | None
    board: str | None
    where: str
    trust: Path
    name: str = "releases"
    root: Path | None = None


@dataclass(frozen=True)
class Fetched:
    """The release that is in the store now, and the withdrawals that were new here."""

    release: Release | None
    manifest_sha256: str
    withdrawn: tuple[Withdrawn, ...]
    checks: tuple[str, ...] = ()


def fetch(site: Site, order: FetchOrder, say: Say = say_nothing) -> Fetched:
    """Fetch what is asked for. Raises `Refused` and its kin, `LinkError`, `StorageError`, `UsageFault`."""
    _check_names(order)
    trust, source = load_trust(order.trust), open_source(order.where)
    state = site.folder / STATES / parse_name(order.name, "a repository")
    root = read_root(order.root) if order.root is not None else None
    if order.release is not None:
        load_board(board_file(project_root(Path.cwd()), _board_of(order)))  # said before anything is asked for
    with alone(state):
        client, now = TufClient(state / "metadata", state / "floor", source), site.clock.now()
        incoming = _Incoming(site, trust, client, source, state / "incoming", say)
        try:
            client.check_clock(now)
            client.refresh(root, now)
            if client.development and not trust.allow_development:
                text = f"the repository is signed by UNSAFE-DEVELOPMENT keys, which '{trust.name}' refuses"
                raise Refused(text, remedy="fetch from a repository with keys that nobody can copy")
            return _take(site, order, trust, incoming)
        except InfrastructureError:
            raise  # the next fetch goes on with what came
        except AssayError:
            incoming.clear()
            raise


def _take(site: Site, order: FetchOrder, trust: TrustFile, incoming: _Incoming) -> Fetched:
    withdrawn = import_withdrawals(site, incoming.withdrawals(), trust)
    if order.release is None:
        incoming.clear()
        return Fetched(None, "", withdrawn)
    came = incoming.release(order.release, _board_of(order))
    image = came.verify(trust, load_board(board_file(project_root(Path.cwd()), came.release.board)))
    manifest = came.keep(site.store)
    incoming.clear()
    return Fetched(came.release, manifest, withdrawn, tuple(check.what for check in image.checks))


@dataclass(frozen=True)
class _Incoming:
    """What comes, on its way into the store."""

    site: Site
    trust: TrustFile
    client: TufClient
    source: RepositorySource
    folder: Path
    say: Say

    def withdrawals(self) -> Iterator[bytes]:
        """The withdrawals that are not known here."""
        target = self.client.target(tuf_names.WITHDRAWN)
        if target is None:
            return
        listed = parse_document(self.client.read(target), WithdrawalList, target.name)
        if len(listed.statements) > WITHDRAWALS_MAX:
            raise NotVerified(f"{target.name} lists {len(listed.statements)} withdrawals", remedy="use another version")
        known = set(self.site.store.withdrawals())
        for part in listed.statements:
            bundle = self._small(part)
            if bundle not in known:
                yield bundle

    def release(self, reference: str, board: str) -> FetchedRelease:
        """The release with all its files, each with its signed digest."""
        name, version = self._wanted(reference, board)
        target = self.client.target(tuf_names.release_name(board, name, version))
        if target is None:
            raise UsageFault(f"the repository has no {name}@{version} for {board}", remedy=self._known(name, board))
        release = parse_document(self.client.read(target), Release, target.name)
        custom = custom_of(target)
        check_belongs(release, custom, (name, version, board))
        self._check_not_withdrawn(release)
        blobs: dict[str, bytes] = {}
        attachments: dict[str, tuple[bytes, ...]] = {}
        for part in custom.files:
            data = self._file(part)
            if part.kind in ATTACHED:
                attachments[part.kind] = (*attachments.get(part.kind, ()), data)
            else:
                blobs[part.sha256] = data
        return FetchedRelease(release, blobs, attachments, self.site.store.withdrawals())

    def clear(self) -> None:
        """What is in the store is not needed here."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wanted(self, reference: str, board: str) -> tuple[str, str]:
        name, at, version = reference.partition("@")
        if at:
            return name, version
        listed = self._listed(name, board)
        if listed is None or not listed.versions:
            raise UsageFault(f"the repository has no {name} for {board}", remedy="check the names")
        dead = {(each.says.release, each.says.board) for each in self._dead()}
        left = [each for each in listed.versions if (f"{name}@{each}", board) not in dead]
        return name, (left or listed.versions)[-1]

    def _known(self, name: str, board: str) -> str:
        listed = self._listed(name, board)
        return f"it has {', '.join(listed.versions)}" if listed else f"it has no {name} for {board} at all"

    def _listed(self, name: str, board: str) -> ReleaseList | None:
        target = self.client.target(tuf_names.list_name(board, name))
        return None if target is None else parse_document(self.client.read(target), ReleaseList, target.name)

    def _dead(self) -> tuple[Withdrawn, ...]:
        from assay.pipeline.withdrawals import withdrawals

        return withdrawals(self.site.store)

    def _check_not_withdrawn(self, release: Release) -> None:
        """Before its image is fetched."""
        for found in self._dead():
            if found.is_about(release):
                raise refusal(found, self.trust)

    def _small(self, part: FilePart) -> bytes:
        if part.length > STATEMENT_BYTES_MAX:
            raise NotVerified(f"a statement of {part.length} bytes is listed", remedy="tell who runs the repository")
        return self._file(part)

    def _file(self, part: FilePart) -> bytes:
        if part.length > IMAGE_BYTES_MAX:
            raise NotVerified(f"a file of {part.length} bytes is listed", remedy="tell who runs the repository")
        self.say(f"{part.kind}: {part.length} bytes")
        return download(self.source, part, self.folder).read_bytes()


def custom_of(target: Target) -> ReleaseTarget:
    """What the signed target of a release says beside length and hash. Raises `NotVerified`."""
    import json

    if not isinstance(target.custom, dict):
        raise NotVerified(f"{target.name} is no release of assay", remedy="check the name")
    return parse_document(json.dumps(target.custom).encode(), ReleaseTarget, target.name)


def check_belongs(release: Release, custom: ReleaseTarget, wanted: tuple[str, str, str]) -> None:
    """The document is the release that was asked for, and says what its signed target says."""
    said = (release.name, release.version, release.board)
    here = (
        (release.board,),
        release.min_revision,
        release.security_counter,
        release.image.file_sha256,
        release.image.image_hash,
        release.attestations.get(PredicateType.PROVENANCE.value),
    )
    signed = (
        custom.hardware_ids,
        custom.min_revision,
        custom.release_counter,
        custom.image_sha256,
        custom.image_hash,
        custom.provenance_sha256,
    )
    if said != wanted or here != signed:
        text = f"the repository's {wanted[0]}@{wanted[1]} for {wanted[2]} is another release than its target says"
        raise NotVerified(text, remedy="tell who runs the repository; nothing was kept")


def _board_of(order: FetchOrder) -> str:
    if order.board is None:
        raise UsageFault("which board the release is for is not said", remedy="give --board NAME")
    return order.board


def _check_names(order: FetchOrder) -> None:
    """What a person asks for: a name that cannot be is theirs, and no attack of a repository."""
    if order.release is None:
        return
    name, at, version = order.release.partition("@")
    board = _board_of(order)
    try:
        tuf_names.check_name(tuf_names.release_name(board, name, version if at else "0"))
    except NotVerified as error:
        text = f"{order.release!r} for {board!r} cannot be the name of a release"
        raise UsageFault(text, remedy="write NAME or NAME@VERSION, and --board BOARD") from error


def read_root(path: Path) -> bytes:
    """Root metadata that came on another way; not whether it verifies. Raises `UsageFault`."""
    try:
        data = read_named(path, ROOT_BYTES_MAX)
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}", remedy="check the path") from error
    try:
        is_root = json.loads(data)["signed"]["_type"] == "root"
    except (ValueError, KeyError, TypeError, RecursionError):
        is_root = False
    if not is_root:
        text = f"{path} is no root metadata of a repository"
        raise UsageFault(text, remedy="name the N.root.json that you got from who runs it")
    return data


@contextlib.contextmanager
def alone(state: Path) -> Iterator[None]:
    """One process at a time has the state of a repository."""
    with contextlib.ExitStack() as held:
        try:
            make_folder(state, mode=0o700)
            held.enter_context(exclusive(state))
        except OSError as error:
            raise StorageError(
                f"{state} cannot be used: {error.strerror}", remedy="make it writable for you"
            ) from error
        yield
