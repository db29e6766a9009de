# SPDX-License-Identifier: Apache-2.0
"""A file on its way to a host: beside its place first, in its place once it was verified where it lies.

Guards: what is in place has the digest that was asked for, computed by the host over what it stored; a part that lies
there from before counts only when its digest is that of the same part here. Leaves to others: trying again after the
link broke.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import BinaryIO

import paramiko

from assay.drivers.ssh.command import run_command
from assay.drivers.ssh.connection import Connection
from assay.drivers.ssh.remote_file import (
    CHUNK,
    STALL_S,
    WRITE_REMEDY,
    refuse_links,
    remote_sha256,
    sftp_of,
    size_there,
    told,
)
from assay.drivers.ssh.remote_path import checked_path
from assay.errors import NotVerified, StorageError
from assay.formats.visible_text import visible
from assay.interfaces.device import Progress
from assay.interfaces.remote_host import PutReport

HASH_TIMEOUT_S = 600.0
SYNC_TIMEOUT_S = 300.0
PART = ".part"


class Upload:
    """One file to one path."""

    def __init__(self, connection: Connection, remote_path: str, file_sha256: str, mode: int) -> None:
        self._connection = connection
        self._path = checked_path(remote_path)
        self._part = f"{self._path}{PART}"
        self._sha256 = file_sha256
        self._mode = mode

    def run(self, source: Path | bytes, progress: Progress | None) -> PutReport:
        """Raises as `RemoteHost.put` does."""
        with _opened(source) as file:
            size = self._check_source(file)
            there, part = self._sizes()
            if there == size and self._digest(str(self._path)) == self._sha256:
                self._sync(str(self._path))  # the link may have broken between the rename and its sync
                self._sync(str(self._path.parent))
                if progress is not None:
                    progress(size, size)
                return PutReport(str(self._path), size, 0, 0)
            start = part if part and self._is_good(part, file, size) else 0
            self._check_room(size - start)
            with sftp_of(self._connection, f"writing {self._path}") as sftp:
                if part is not None and not start:
                    sftp.remove(self._part)
                self._send(sftp, file, start, size, progress)
        self._sync(self._part)
        self._check_part()
        with sftp_of(self._connection, f"putting {self._path} in place") as sftp:
            sftp.chmod(self._part, self._mode)
            sftp.posix_rename(self._part, str(self._path))
        self._sync(str(self._path.parent))
        return PutReport(str(self._path), size, start, size - start)

    def _sizes(self) -> tuple[int | None, int | None]:
        """Bytes of the file and of its part. One session at a time, here and everywhere: some hosts allow one only."""
        with sftp_of(self._connection, f"writing {self._path}") as sftp:
            refuse_links(sftp, self._path)
            return size_there(sftp, str(self._path)), size_there(sftp, self._part)

    def _check_source(self, file: BinaryIO) -> int:
        found, size = _digest_of(file, None), file.tell()
        if found != self._sha256:
            raise NotVerified(
                f"what is to be sent to {self._path} has the SHA-256 {found}, expected {self._sha256}",
                remedy="take the file that the release names",
            )
        return size

    def _is_good(self, part: int, file: BinaryIO, size: int) -> bool:
        """The `part` bytes that lie there already are those of `file`."""
        return part <= size and self._digest(self._part) == _digest_of(file, part)

    def _check_room(self, wanted: int) -> None:
        """Raises StorageError before anything is sent that does not fit. A host without df finds out by writing."""
        free = self._free()
        if free is not None and free < wanted:
            raise StorageError(
                f"{self._path.parent} on {self._connection.address} has {free} bytes free, {wanted} are needed",
                remedy="make room there",
            )

    def _free(self) -> int | None:
        ended = run_command(self._connection, ["df", "-P", "-k", str(self._path.parent)], STALL_S, b"")
        fields = ended.stdout.decode(errors="replace").splitlines()[-1:]
        words = fields[0].split() if ended.ok and fields else []
        return int(words[3]) * 1024 if len(words) >= 6 and words[3].isdigit() else None

    def _send(
        self, sftp: paramiko.SFTPClient, file: BinaryIO, start: int, size: int, progress: Progress | None
    ) -> None:
        file.seek(start)
        with sftp.open(self._part, "r+b" if start else "wxb") as remote:
            remote.set_pipelined(True)
            remote.seek(start)
            done = start
            while data := file.read(CHUNK):
                remote.write(data)
                done += len(data)
                if progress is not None:
                    progress(done, size)
        stored = size_there(sftp, self._part)  # paramiko tells of failed writes only when many are under way
        if stored != size:
            raise StorageError(
                f"writing {self._path} on {self._connection.address} failed: {stored} of {size} bytes are there",
                remedy=WRITE_REMEDY,
            )

    def _check_part(self) -> None:
        found = self._digest(self._part)
        if found != self._sha256:
            with sftp_of(self._connection, f"removing {self._part}") as sftp:
                sftp.remove(self._part)
            raise StorageError(
                f"what {self._connection.address} stored of {self._path} has the SHA-256 {found}, "
                f"sent was {self._sha256}",
                remedy="do it again; if it stays so, the storage there is broken",
            )

    def _digest(self, path: str) -> str:
        return remote_sha256(self._connection, path, HASH_TIMEOUT_S)

    def _sync(self, path: str) -> None:
        """Durable over there: coreutils' sync takes a name, busybox' syncs everything."""
        ended = told(self._connection, ["sync", path], SYNC_TIMEOUT_S)
        if not ended.ok:
            raise StorageError(
                f"{path} on {self._connection.address} cannot be made durable: {visible(ended.words)}",
                remedy="look at its disk",
            )


def _opened(source: Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return source.open("rb")
    except OSError as error:
        raise StorageError(f"cannot read {source}: {error.strerror}", remedy="check the path") from error


def _digest_of(file: BinaryIO, length: int | None) -> str:
    """SHA-256 (hex) of the first `length` bytes, or of all."""
    digest = hashlib.sha256()
    file.seek(0)
    left = length
    while left is None or left > 0:
        data = file.read(1 << 20 if left is None else min(left, 1 << 20))
        if not data:
            break
        digest.update(data)
        left = None if left is None else left - len(data)
    return digest.hexdigest()
