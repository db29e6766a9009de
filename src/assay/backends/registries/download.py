# SPDX-License-Identifier: Apache-2.0
"""A blob from a registry into a file: goes on where it stopped, and has its name only once it is verified.

Guards: no byte beyond the size that was said is taken; a file with its final name has the digest that it is called by;
bytes that do not have it are removed. A stopped download leaves its part, from which the next one goes on.
Leaves to others: the connection, and what blobs mean.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from pathlib import Path

from assay.backends.registries.connection import RegistryConnection
from assay.errors import InfrastructureError, NotVerified, StorageError

CHUNK_BYTES = 256 * 1024
ATTEMPTS = 5
"""Tries in a row that bring no byte; one that brings some begins the count anew."""

PART = ".part"


def download(registry: RegistryConnection, path: str, sha256: str, size: int, file: Path) -> None:
    """The blob at `path` becomes `file`; its part lies beside it. Raises `NotVerified`, `InfrastructureError`."""
    part = file.with_name(file.name + PART)
    went_on = _have(part) > 0
    while True:
        _fetch_all(registry, path, size, part)
        if has_digest(part, sha256):
            part.replace(file)
            return
        part.unlink()
        if not went_on:
            raise registry.refused(f"gives other bytes for the blob {sha256}")
        went_on = False  # what was there before may be what is wrong: once more, from the start


def _fetch_all(registry: RegistryConnection, path: str, size: int, part: Path) -> None:
    idle = 0
    while (have := _have(part)) != size:
        if have > size:
            part.unlink()
            continue
        try:
            _fetch(registry, path, size, part)
            stopped = InfrastructureError(
                f"the registry {registry.origin} closes each connection before the blob is whole", remedy="try again"
            )
        except StorageError:
            raise
        except InfrastructureError as error:
            stopped = error
        idle = 0 if _have(part) > have else idle + 1
        if idle >= ATTEMPTS:
            raise stopped
    if size == 0:
        part.touch()


def _fetch(registry: RegistryConnection, path: str, size: int, part: Path) -> None:
    """One try, from the end of what is there."""
    have = _have(part)
    headers = {"Range": f"bytes={have}-"} if have else {}
    with registry.stream("GET", path, headers=headers) as response:
        start = _start(registry, response, path, have, size)
        with _opened(part, start) as write:
            while data := response.read1(CHUNK_BYTES):
                if start + len(data) > size:
                    raise registry.refused(f"gives more than the {size} bytes that the blob has")
                write(data)
                start += len(data)


@contextmanager
def _opened(part: Path, start: int) -> Iterator[Callable[[bytes], None]]:
    """The part from byte `start` on. A disk that is full is no fault of the registry (`StorageError`)."""

    def write(data: bytes) -> None:
        try:
            file.write(data)
        except OSError as error:
            raise StorageError(f"{part} cannot be written: {error.strerror}", remedy="free disk space") from error

    with part.open("r+b" if part.exists() else "wb", buffering=0) as file:
        file.truncate(start)
        file.seek(start)
        yield write


def _start(registry: RegistryConnection, response: HTTPResponse, path: str, have: int, size: int) -> int:
    """At which byte the answer begins. Raises `NotVerified` for another than was asked for."""
    status, said = response.status, response.headers.get("Content-Length", "")
    if status == 206 and have:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != have or int(found[2]) != size - 1:
            raise registry.refused(f"answers with other bytes of the blob than those from {have} on")
        return have
    if status == 200:
        if said.isdecimal() and int(said) != size:
            raise registry.refused(f"has a blob of {said} bytes at {path}; it is said to have {size}")
        return 0
    if status == 404:
        raise NotVerified(f"the registry {registry.origin} lacks {path}", remedy="push the release again")
    text = f"the registry {registry.origin} answers {status} when it is asked for a blob"
    raise InfrastructureError(text, remedy="try again, or ask who runs it")


def _have(part: Path) -> int:
    with suppress(FileNotFoundError):
        return part.stat().st_size
    return 0


def has_digest(file: Path, sha256: str) -> bool:
    """Whether the bytes of `file` have that digest. Raises `OSError`."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == sha256
