# SPDX-License-Identifier: Apache-2.0
"""Files of a known length and digest, fetched in any number of attempts, and verified before they get their name.

Guards: nothing is at the final name but the right bytes, durably; what came is kept when the link breaks and goes on
from there; what turns out wrong is removed; no more than the signed length is ever written.
Leaves to others: which files (`pipeline.repository_fetch`), where they come from (`sources`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assay.backends.durable_file import make_folder, sync_folder
from assay.backends.repository.sources import CHUNK_BYTES, NotThere, RepositorySource
from assay.errors import AssayError, NotVerified, StorageError
from assay.formats.tuf_names import blob_path
from assay.model.repository import FilePart

PART_SUFFIX = ".part"


def download(source: RepositorySource, part: FilePart, folder: Path) -> Path:
    """The file `part` as `folder/SHA256`. Raises `NotVerified` for other bytes, `LinkError`, `StorageError`."""
    final = folder / part.sha256
    try:
        make_folder(folder, mode=0o700)
        if final.is_file() and _is_whole(final, part):
            return final
        return _download(source, part, final)
    except OSError as error:
        text = f"{folder} cannot be written: {error.strerror}"
        raise StorageError(text, remedy="free disk space; what came already is kept") from error


def _download(source: RepositorySource, part: FilePart, final: Path) -> Path:
    unfinished = final.with_name(final.name + PART_SUFFIX)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(unfinished, flags, 0o600), "r+b") as file:
        try:
            if not _continue(source, part, file):
                # What was there from before may have been the fault: once more, from the beginning.
                file.truncate(0)
                _continue(source, part, file)
        except AssayError:
            if file.seek(0, os.SEEK_END) == 0:
                unfinished.unlink()
            raise
        wrong = _digest(file) != part.sha256 or file.tell() != part.length
        if not wrong:
            os.fsync(file.fileno())
    if wrong:
        unfinished.unlink()
        raise NotVerified(
            f"the repository gives other bytes than {part.sha256[:16]} ({part.kind}), which was signed",
            remedy="get the repository again, or tell who runs it; nothing of this file was kept",
        )
    unfinished.replace(final)
    sync_folder(final.parent)
    return final


def _continue(source: RepositorySource, part: FilePart, file: Any) -> bool:
    """Write what is missing; False when the result is wrong and there was something from before."""
    have = file.seek(0, os.SEEK_END)
    if have > part.length:
        file.truncate(0)
        have = 0
    if have < part.length:
        try:
            _append(file, _from(source, part, have), have, part.length)
        finally:
            file.flush()
    return have == 0 or _digest(file) == part.sha256


def _from(source: RepositorySource, part: FilePart, offset: int) -> Iterator[bytes]:
    """The bytes from `offset` on, also from a server that gives whole files only."""
    chunks = source.read(f"targets/{blob_path(part.sha256)}", offset)
    skip: int | None = None
    try:
        for chunk in chunks:
            if skip is None:
                skip = 0 if source.resumes() else offset
            here = chunk[skip:]
            skip -= len(chunk) - len(here)
            if here:
                yield here
    except NotThere as error:
        text = f"the repository is not whole: it has no file {part.sha256[:16]} ({part.kind})"
        raise NotVerified(text, remedy="copy all of it again") from error


def _append(file: Any, chunks: Iterator[bytes], have: int, length: int) -> None:
    """At most `length` bytes in all: more is refused by its digest, one byte is enough for that."""
    file.seek(have)
    for chunk in chunks:
        room = length + 1 - have
        file.write(chunk[:room])
        have += min(room, len(chunk))
        if have > length:
            return


def _is_whole(path: Path, part: FilePart) -> bool:
    with path.open("rb") as file:
        return _digest(file) == part.sha256 and file.tell() == part.length


def _digest(file: Any) -> str:
    """SHA-256 of the whole file; it is at its end afterwards."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
