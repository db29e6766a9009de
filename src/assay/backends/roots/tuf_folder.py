# SPDX-License-Identifier: Apache-2.0
"""Trusted roots that travel as a TUF repository in a folder or on a stick, verified without a network.

Guards: nothing counts that the roles of the repository have not signed, for now, and not older than what was seen
before (python-tuf's client does that); a clock that went back since then is told, since an expired repository would
pass under it. The cache of an earlier verification is never believed in place of one.
Leaves to others: what is done with the root (`pipeline.root_refresh`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from assay.backends.durable_file import exclusive, make_folder, write_durably
from assay.backends.named_file import NoPlainFile, check_plain, read_kept
from assay.errors import AssayError, NotVerified, StorageError, ToolMissing, UsageFault
from assay.formats.signer_choice import CLOCK_FLOOR
from assay.formats.time_stamps import INSTALL
from assay.formats.tuf_keys import check_distinct_keys

if TYPE_CHECKING:
    from tuf.ngclient.fetcher import FetcherInterface

TARGET = "trusted_root.json"
SEEN = "seen"
"""When the last verification was, in the state folder."""

CHUNK_BYTES = 65536
_STICK = "get a newer copy of the repository from who runs the services"


def read_root(repository: Path, state: Path, now: datetime, first_root: bytes | None = None) -> bytes:
    """`trusted_root.json` out of the TUF repository in `repository`, verified from what `state` remembers.

    `first_root`: root metadata that came on another way, needed the first time. Raises `NotVerified`, `UsageFault` when
    there is no repository or nothing to begin from, `StorageError`, `ToolMissing`.
    """
    if not (repository / "timestamp.json").is_file():
        raise UsageFault(f"{repository} is no TUF repository: no timestamp.json", remedy="name its folder")
    try:
        make_folder(state / "metadata", mode=0o700)
        make_folder(state / "targets", mode=0o700)
        with exclusive(state / ".lock"):
            check_plain(state)
            _check_clock(state, now)
            data = _verified(repository, state, first_root)
            write_durably(state / SEEN, now.astimezone(UTC).isoformat().encode())
    except NoPlainFile as error:
        told = f"{state} cannot be used: {error.filename}: {error.strerror}"
        raise StorageError(told, remedy="take it away") from error
    except OSError as error:
        raise StorageError(f"{state} cannot be written: {error.strerror}", remedy="make it writable for you") from error
    return data


def _check_clock(state: Path, now: datetime) -> None:
    seen = CLOCK_FLOOR
    if os.path.lexists(state / SEEN):
        try:
            seen = datetime.fromisoformat(read_kept(state / SEEN).decode("ascii"))
        except ValueError as error:
            raise NotVerified(f"{state / SEEN} is damaged", remedy="begin again with another state folder") from error
    if now < seen:
        text = f"the clock says {now:%Y-%m-%d %H:%M}, and it was {seen:%Y-%m-%d %H:%M} before: the clock is wrong"
        raise NotVerified(text, remedy="set the clock: whether the roots are still valid depends on it")


def _verified(repository: Path, state: Path, first_root: bytes | None) -> bytes:
    try:
        from tuf.api.exceptions import DownloadError, RepositoryError
        from tuf.ngclient.updater import Updater
    except ImportError as error:
        raise ToolMissing("trusted roots need the package tuf, which is not there", remedy=INSTALL) from error
    if first_root is None and not (state / "metadata" / "root.json").exists():
        raise UsageFault("nothing says yet which TUF root is trusted", remedy="give it with --root FILE, this once")
    base = repository.resolve().as_uri()
    try:
        updater = Updater(
            str(state / "metadata"),
            base,
            str(state / "targets"),
            f"{base}/targets",
            _fetcher(repository.resolve()),
            bootstrap=first_root,
        )
        updater.refresh()
        target = updater.get_targetinfo(TARGET)
        if target is None:
            raise NotVerified(f"the TUF repository {repository} has no {TARGET}", remedy=_STICK)
        return Path(updater.download_target(target)).read_bytes()
    except AssayError:
        raise
    except RepositoryError as error:
        text = f"the TUF repository {repository} is refused: {type(error).__name__}: {_first_line(error)}"
        raise NotVerified(text, remedy=_STICK) from error
    except DownloadError as error:
        text = f"the TUF repository {repository} is not whole: {_first_line(error)}"
        raise NotVerified(text, remedy="copy all of it again") from error
    except (ValueError, KeyError) as error:
        raise NotVerified(f"the TUF repository {repository} is malformed", remedy=_STICK) from error


def _fetcher(folder: Path) -> FetcherInterface:
    """Reads files below `folder`, and nothing else: no network, and no link that leads out."""
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient.fetcher import FetcherInterface

    class FileFetcher(FetcherInterface):
        def _fetch(self, url: str) -> Iterator[bytes]:
            path = Path(unquote(urlsplit(url).path))
            if not path.is_file() or not path.resolve().is_relative_to(folder):
                raise DownloadHTTPError(f"there is no {path.name}", 404)
            return _chunks(path)

        def download_bytes(self, url: str, max_length: int) -> bytes:
            data = super().download_bytes(url, max_length)
            check_distinct_keys(data)
            return data

    return FileFetcher()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
