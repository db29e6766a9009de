# SPDX-License-Identifier: Apache-2.0
"""Files of a host over SFTP, and what its own programs say of them.

Guards: a path is absolute and nothing on it is a link, so that what was named is what is used; every error of SFTP
becomes one of ours, and a broken link is told apart from a host that says no.
"""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

import paramiko

from assay.drivers.ssh.command import answered_within, run_command
from assay.drivers.ssh.connection import Connection
from assay.drivers.ssh.remote_path import checked_path
from assay.errors import AssayError, Refused, StorageError, ToolMissing
from assay.formats.visible_text import visible
from assay.interfaces.remote_host import RemoteResult

STALL_S = 30.0
"""Without any answer of SFTP; the kernel notices a broken link long before (`tcp_link`)."""
NOT_FOUND = 127
WRITE_REMEDY = "look at that file system there: is it full, read-only or broken?"
CHUNK = 1 << 15  # bytes in a request; what every SFTP server takes
READ_AHEAD = 64  # requests under way
_DIGEST = re.compile(rb"\\?([0-9a-f]{64}) ")


@contextmanager
def sftp_of(connection: Connection, doing: str) -> Iterator[paramiko.SFTPClient]:
    """SFTP for the time of a block; `doing` is what it is for, for the messages. Raises StorageError, LinkError."""
    with connection.channel() as channel:
        try:
            channel.settimeout(STALL_S)
            with answered_within(channel, STALL_S):
                channel.invoke_subsystem("sftp")
            yield paramiko.SFTPClient(channel)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise _told(connection, error, doing) from error


def _told(connection: Connection, error: Exception, doing: str) -> AssayError:
    where = f"on {connection.address}"
    if isinstance(error, TimeoutError):
        connection.close()  # whatever comes later is for nobody
        return connection.broken(TimeoutError(f"nothing came for {STALL_S:g} s, {doing}"))
    answered = isinstance(error, OSError) and "closed" not in str(error)
    if not answered and connection.ended():
        return connection.broken(error)
    if isinstance(error, OSError) and answered:
        code, words = error.errno, visible(error.strerror or str(error))
        remedy = {
            errno.EACCES: "give that user the right to do it, or name another path",
            errno.ENOENT: "make the folder, or name another path",
        }.get(code or 0, WRITE_REMEDY)
        return StorageError(f"{doing} {where} failed: {words}", remedy=remedy)
    if "subsystem" in str(error).lower() or "Channel closed" in str(error):
        return ToolMissing(
            f"{connection.address} has no SFTP", remedy="install openssh-sftp-server there, and set Subsystem sftp"
        )
    return StorageError(
        f"{doing} {where} failed: its SFTP server ended ({visible(str(error)) or 'it hung up'})",
        remedy="look at its limits (file size, memory) and its log",
    )


def refuse_links(sftp: paramiko.SFTPClient, path: PurePosixPath) -> None:
    """Raises Refused when the folder of `path` is reached over a link: then it is another folder than was named."""
    real = sftp.normalize(str(path.parent))
    if real != str(path.parent):
        raise Refused(
            f"{path.parent} is {visible(real)} there, by a link or another spelling",
            remedy=f"name it as it is: {visible(real)}/{path.name}",
        )


def size_there(sftp: paramiko.SFTPClient, path: str) -> int | None:
    """Bytes of the file at `path`, None when nothing is there. Raises Refused for what is no file, OSError."""
    try:
        found = sftp.lstat(path)
    except FileNotFoundError:
        return None
    mode = found.st_mode or 0
    if not stat.S_ISREG(mode):
        what = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "no file"
        raise Refused(f"{path} is {what} there", remedy="name a path that is a file or is free")
    return found.st_size or 0


def fetched(connection: Connection, remote_path: str, size_max: int) -> bytes:
    """The file, of at most `size_max` bytes. Raises StorageError, UsageFault, LinkError."""
    path = str(checked_path(remote_path))
    data = bytearray()
    with sftp_of(connection, f"reading {path}") as sftp:
        size = sftp.stat(path).st_size or 0  # 0 for files of /proc, which have more
        with sftp.open(path, "rb") as file:
            file.prefetch(min(size, size_max), max_concurrent_requests=READ_AHEAD)
            while len(data) <= size_max and (chunk := file.read(CHUNK)):
                data += chunk
    if len(data) > size_max:
        raise StorageError(
            f"{path} on {connection.address} has more than {size_max} bytes", remedy="is it the right file?"
        )
    return bytes(data)


def remote_sha256(connection: Connection, remote_path: str, timeout_s: float) -> str:
    """SHA-256 (hex) of the file, by the host's sha256sum. Raises StorageError, ToolMissing, LinkError."""
    ended = told(connection, ["sha256sum", "--", str(checked_path(remote_path))], timeout_s)
    found = _DIGEST.match(ended.stdout)
    if not ended.ok or found is None:
        raise StorageError(
            f"{connection.address} cannot tell the digest of {remote_path}: {visible(ended.words)}",
            remedy="look at that file there",
        )
    return found[1].decode()


def told(connection: Connection, argv: list[str], timeout_s: float) -> RemoteResult:
    """How `argv` ended over there. Raises ToolMissing when there is no such program."""
    ended = run_command(connection, argv, timeout_s, b"")
    if ended.status == NOT_FOUND:
        raise ToolMissing(f"{connection.address} has no {argv[0]}", remedy="install it there (coreutils or busybox)")
    return ended
