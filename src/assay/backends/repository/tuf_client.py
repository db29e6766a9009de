# SPDX-License-Identifier: Apache-2.0
"""The client of a TUF repository: python-tuf's, above a floor of its own that a power cut does not take away.

Guards: before a refresh the cache is brought up to what was verified last, whatever became of it; after one the floor
is durable before any target is handed out. One key under two ids, which python-tuf counts as two, does not come in.
Every error of the library is one of ours: status 4 for what is wrong with the repository, status 3 for what could not
be reached. Leaves to others: the clock (`check_clock` before it), what targets mean.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.backends.durable_file import make_folder
from assay.backends.named_file import NoPlainFile, check_plain, read_kept
from assay.backends.repository.floor import ROLES, Floor, FloorState, version_of
from assay.backends.repository.metadata_signer import need_tuf
from assay.backends.repository.repository_folder import DEVELOPMENT_MARK, MADE
from assay.backends.repository.sources import NotThere, RepositorySource
from assay.errors import AssayError, LinkError, NotVerified, StorageError, UsageFault
from assay.formats.signer_choice import CLOCK_FLOOR, CLOCK_SKEW
from assay.formats.tuf_keys import check_distinct_keys
from assay.formats.tuf_names import check_name

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile
    from tuf.ngclient.fetcher import FetcherInterface
    from tuf.ngclient.updater import Updater

BASE = "repository:/"
"""In place of a URL: the library joins it with names, and the source reads those."""

TARGET_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of a document that is held in memory; images are fetched as files (`blob_download`)."""

_REPOSITORY = "get a newer copy of the repository, or tell who runs it; nothing was taken from it"
_EXPIRED = "whoever runs the repository has to refresh it (assay repo refresh); if this clock is wrong, set it"


@dataclass(frozen=True)
class Target:
    """A target as the signed metadata has it."""

    name: str
    length: int
    sha256: str
    custom: Any


class TufClient:
    """A client with python-tuf's metadata in `cache` and its floor in the file `floor`. One at a time: the caller holds
    a lock.
    """

    def __init__(self, cache: Path, floor: Path, source: RepositorySource) -> None:
        self._cache, self._floor, self._source = cache, Floor(floor), source
        self._updater: Updater | None = None

    def check_clock(self, now: datetime) -> None:
        """`NotVerified` for a clock that is behind what the repository has signed: expiry would mean nothing."""
        floor = self._floor.read()
        made = max(CLOCK_FLOOR, floor.made) if floor and floor.made else CLOCK_FLOOR
        if now + CLOCK_SKEW < made:
            text = f"the clock says {now:%Y-%m-%d %H:%M}, and the repository was signed on {made:%Y-%m-%d %H:%M}"
            raise NotVerified(f"{text}: the clock is wrong", remedy="set the clock: expiry depends on it")

    def refresh(self, first_root: bytes | None, now: datetime) -> None:
        """Take over the newest metadata. `first_root`: needed the first time. Raises as the module says."""
        floor = self._floor.read()
        if floor is None and first_root is None:
            remedy = "give the root.json that you trust with --root FILE, this once"
            raise UsageFault("nothing says yet whose repository this has to be", remedy=remedy)
        try:
            make_folder(self._cache, mode=0o700)
            check_plain(self._cache)
            if floor is not None:
                self._raise_to(floor)
        except OSError as error:
            raise self._unwritable(error) from error
        with self.told():
            self._updater = self._open(floor.metadata["root"] if floor else first_root)
            self._updater.refresh()
            verified = self._read_verified(now)
        self._floor.write(verified)

    @property
    def development(self) -> bool:
        """Whether the verified root says that one of the keys is a development key."""
        return bool(self._root().get(DEVELOPMENT_MARK))

    @property
    def consistent(self) -> bool:
        """Whether the verified root says that targets lie under their digest and name, and not under the name alone."""
        return bool(self._root().get("consistent_snapshot"))

    def _root(self) -> Any:
        return json.loads(read_kept(self._cache / "root.json"))["signed"]

    def target(self, name: str) -> Target | None:
        """The target called `name`, after a refresh; None when the repository does not have it."""
        with self.told():
            found = self.updater.get_targetinfo(check_name(name))
        if found is None:
            return None
        if found.path != name or set(found.hashes) != {"sha256"}:
            raise NotVerified(f"the target {name} is listed in another way than assay writes", remedy=_REPOSITORY)
        return Target(name, found.length, found.hashes["sha256"], found.custom)

    def read(self, target: Target) -> bytes:
        """The bytes of a small target, verified."""
        if target.length > TARGET_BYTES_MAX:
            raise NotVerified(f"the target {target.name} has {target.length} bytes", remedy=_REPOSITORY)
        folder, _, name = target.name.rpartition("/")
        path = f"targets/{folder}{'/' if folder else ''}{target.sha256}.{name}"
        with self.told():
            data = source_fetcher(self._source).download_bytes(f"{BASE}{path}", target.length)
            _file_of(target).verify_length_and_hashes(data)
        return data

    @property
    def updater(self) -> Updater:
        """python-tuf's client, after a refresh."""
        if self._updater is None:
            raise RuntimeError("refresh first")
        return self._updater

    def _open(self, root: bytes | None) -> Updater:
        from tuf.ngclient.updater import Updater

        check_distinct_keys(root or b"")
        return Updater(str(self._cache), f"{BASE}metadata", fetcher=source_fetcher(self._source), bootstrap=root)

    def _raise_to(self, floor: FloorState) -> None:
        """The cache holds at least what the floor holds: what is missing, torn or older there is put back."""
        for role in ROLES[1:]:
            path = self._cache / f"{role}.json"
            if _version_at(path) < floor.version(role):
                beside = path.with_name(f".{role}-{os.getpid()}")
                beside.write_bytes(floor.metadata[role])
                beside.replace(path)

    def _read_verified(self, now: datetime) -> FloorState:
        """The metadata that the library has just verified and kept."""
        metadata = {role: read_kept(self._cache / f"{role}.json") for role in ROLES}
        signed = json.loads(metadata["timestamp"])["signed"]
        made = datetime.fromisoformat(signed[MADE]).astimezone(UTC) if MADE in signed else None
        if made is not None and now + CLOCK_SKEW < made:
            text = f"the repository was signed on {made:%Y-%m-%d %H:%M}, and the clock says {now:%Y-%m-%d %H:%M}"
            raise NotVerified(f"{text}: the clock is wrong", remedy="set the clock: expiry depends on it")
        return FloorState(metadata, made)

    def _unwritable(self, error: OSError) -> StorageError:
        what, remedy = "cannot be written", "make it writable for you"
        if isinstance(error, NoPlainFile):
            what, remedy = f"cannot be used: {error.filename}", "take it away: what is missing there is loaded again"
        return StorageError(f"{self._cache} {what}: {error.strerror}", remedy=remedy)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Errors of the library as ours."""
        need_tuf()
        from tuf.api import exceptions

        try:
            yield
        except AssayError:
            raise
        except exceptions.ExpiredMetadataError as error:
            raise NotVerified(f"the repository is refused: {_line(error)}", remedy=_EXPIRED) from error
        except exceptions.RepositoryError as error:
            text = f"the repository is refused: {type(error).__name__}: {_line(error.__cause__ or error)}"
            raise NotVerified(text, remedy=_REPOSITORY) from error
        except exceptions.DownloadError as error:
            raise _of_download(error) from error
        except OSError as error:
            raise self._unwritable(error) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotVerified(f"the repository is malformed: {_line(error)}", remedy=_REPOSITORY) from error


def _of_download(error: Exception) -> AssayError:
    """Our own error below the library's, or what it means here."""
    from tuf.api import exceptions

    below: BaseException | None = error
    while below is not None:
        if isinstance(below, AssayError) and not isinstance(below, NotThere):
            return below
        below = below.__cause__ or below.__context__
    if isinstance(error, exceptions.DownloadLengthMismatchError):
        return NotVerified(f"the repository gives data without end: {_line(error)}", remedy=_REPOSITORY)
    if isinstance(error, exceptions.DownloadHTTPError):
        return NotVerified(f"the repository is not whole: {_line(error)}", remedy="copy all of it again")
    return LinkError(f"the repository cannot be read: {_line(error)}", remedy="check the network or the medium")


def source_fetcher(source: RepositorySource) -> FetcherInterface:
    """The library's way to `source`."""
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient.fetcher import FetcherInterface

    class SourceFetcher(FetcherInterface):
        def _fetch(self, url: str) -> Iterator[bytes]:
            return _chunks(url)

        def download_bytes(self, url: str, max_length: int) -> bytes:
            data = super().download_bytes(url, max_length)
            if url.startswith(f"{BASE}metadata/"):
                check_distinct_keys(data)
            return data

    def _chunks(url: str) -> Iterator[bytes]:
        path = url.removeprefix(BASE)
        try:
            yield from source.read(path)
        except NotThere as error:
            raise DownloadHTTPError(f"there is no {path}", 404) from error

    return SourceFetcher()


def _file_of(target: Target) -> TargetFile:
    from tuf.api.metadata import TargetFile

    return TargetFile(target.length, {"sha256": target.sha256}, target.name)


def _version_at(path: Path) -> int:
    """The version of a cached file; 0 for one that is missing, torn, or no metadata."""
    try:
        return version_of(read_kept(path))
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:300]
