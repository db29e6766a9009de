# SPDX-License-Identifier: Apache-2.0
"""Where a repository is read from: a folder, or any static file server.

Guards: a folder gives files below it and nothing that a link leads to; a server gives what it was asked for and not
what it redirects to; whoever is silent, or drips, is given up. Nothing that comes is trusted.
Leaves to others: verifying it (`tuf_client`, `blob_download`).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from assay.backends.paced_answer import Pace, TooSlow
from assay.errors import LinkError, NotVerified, StorageError, UsageFault

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

CHUNK_BYTES = 65536
SILENT_S = 20.0
"""Seconds without a byte after which a server is given up."""

CONNECT_S = 10.0
PACE = Pace(grace_s=SILENT_S, slowest_bytes_s=200.0)
"""How slow an answer may be: 1 KiB of metadata, byte by byte, would keep a station for a day."""

_ADDRESS = "give the URL that the files are at, without a password and without '?' or '#'"


class NotThere(StorageError):
    """The repository does not have the file."""


class RepositorySource(Protocol):
    """A repository as files. Raises `NotThere`, `LinkError`, `StorageError`, `NotVerified` for a way out."""

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """The file at `path`, from `offset` on where it can be had so, else from its beginning (see `resumes`)."""
        ...

    def resumes(self) -> bool:
        """Whether the last `read` began at its offset."""
        ...


class FolderSource:
    """A repository in a folder, on a stick or a mounted share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """As the protocol says."""
        at = self._folder / path
        if not at.resolve().is_relative_to(self._folder):
            raise NotVerified(f"{path[:80]!r} leads out of the repository", remedy="get the repository again")
        try:
            if not at.is_file():
                raise NotThere(f"the repository has no {path}", remedy="copy all of it again")
            with at.open("rb") as file:
                file.seek(offset)
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise StorageError(f"{at} cannot be read: {error.strerror}", remedy="check the medium") from error

    def resumes(self) -> bool:
        """Always."""
        return True


class HttpSource:
    """A repository on a static file server, over HTTP or HTTPS with the system's certificates."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url.rstrip("/")
        self._pace = replace(PACE, clock=clock)
        self._pool: PoolManager | None = None
        self._resumed = False

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """As the protocol says."""
        from urllib3.exceptions import HTTPError

        url = f"{self._url}/{path}"
        try:
            answer = self._ask(url, offset)
            self._resumed = answer.status == 206
            with answer:
                while chunk := answer.read1(CHUNK_BYTES):
                    yield chunk
        except HTTPError as error:
            _check_certificate(error, url)
            told = f"{url} cannot be read: {self._why(error)}"
            raise LinkError(told, remedy="check the network and the server; what came already is kept") from error

    def _why(self, error: BaseException) -> str:
        slow = next((below for below in _chain(error) if isinstance(below, TooSlow)), None)
        if slow is not None:
            return f"the server gives less than {self._pace.slowest_bytes_s:.0f} bytes a second ({slow})"
        return type(error).__name__

    def resumes(self) -> bool:
        """Whether the server gave a part (206)."""
        return self._resumed

    def _ask(self, url: str, offset: int) -> BaseHTTPResponse:
        self._pool = self._pool or _paced_pool(self._pace)
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}
        answer = self._pool.request("GET", url, headers=headers, preload_content=False, redirect=False)
        if answer.status in (200, 206):
            _check_range(answer, url, offset)
            return answer
        answer.close()
        if answer.status in (403, 404):
            raise NotThere(f"{url}: {answer.status}", remedy="the copy on the server is not whole, or the URL is wrong")
        if 300 <= answer.status < 400:
            text = f"{url} leads elsewhere ({answer.status}), which is not followed"
            raise NotVerified(text, remedy="give the URL that the files are at")
        raise LinkError(f"{url}: the server says {answer.status}", remedy="try again later, or ask who runs it")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, and what led to it."""
    below: BaseException | None = error
    while below is not None:
        yield below
        below = below.__cause__ or below.__context__


def _check_certificate(error: BaseException, url: str) -> None:
    """`NotVerified` where it was the server's certificate, by the system's authorities or those in SSL_CERT_FILE."""
    for below in _chain(error):
        if isinstance(below, ssl.SSLCertVerificationError):
            raise NotVerified(
                f"the server of {url} does not prove who it is: {below.verify_message}",
                remedy="have this system trust the CA of its certificate (or name it in SSL_CERT_FILE), "
                "or find out who answers there",
            ) from error


def _check_range(answer: BaseHTTPResponse, url: str, offset: int) -> None:
    if answer.status == 206 and not str(answer.headers.get("Content-Range", "")).startswith(f"bytes {offset}-"):
        answer.close()
        raise NotVerified(f"{url}: the server gives another part than it was asked for", remedy="use another server")


def _paced_pool(pace: Pace) -> PoolManager:
    """Connections whose answers keep to `pace`."""
    from urllib3 import PoolManager, Timeout
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    plain = type("PacedConnection", (HTTPConnection,), {"response_class": staticmethod(pace.answers)})
    tls = type("PacedTlsConnection", (HTTPSConnection,), {"response_class": staticmethod(pace.answers)})
    pool = PoolManager(timeout=Timeout(connect=CONNECT_S, read=SILENT_S), retries=False)
    pool.pool_classes_by_scheme = {
        "http": type("PacedPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("PacedTlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }
    return pool


def open_source(where: str) -> RepositorySource:
    """The repository at `where`: a URL, or a folder. Raises `UsageFault`, which shows no password."""
    if where.partition("://")[0].lower() in ("http", "https"):
        return HttpSource(_checked_url(where))
    folder = Path(where)
    if not (folder / "metadata").is_dir():
        raise UsageFault(f"{where} is no repository: no folder 'metadata' in it", remedy="name its folder, or its URL")
    return FolderSource(folder)


def _checked_url(where: str) -> str:
    try:
        parts = urlsplit(where)
        plain = bool(parts.hostname) and not (parts.query or parts.fragment) and parts.port != 0
    except ValueError as error:
        raise UsageFault("the URL of the repository is none", remedy=_ADDRESS) from error
    if "@" in parts.netloc:
        raise UsageFault("a password does not belong into a repository's URL: it is sent to nobody", remedy=_ADDRESS)
    if not plain:
        raise UsageFault("the URL of the repository has no host, or more than host and path", remedy=_ADDRESS)
    return where
