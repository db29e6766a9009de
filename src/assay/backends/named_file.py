# SPDX-License-Identifier: Apache-2.0
"""Files that a person named: read up to a limit, whatever kind of file it is. And files of ours, which are plain.

Guards: a pipe that nobody writes to, and one that is never closed, end in an error that says so; a device without end
is read no further than asked for; what lies in an archive is read there, and not where a link leads (ADR 0318).
Leaves to others: what the bytes mean, and what to do about an error.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time
from pathlib import Path

_INSIDE = os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

PIPE_TIMEOUT_S = 10.0
"""Seconds without a byte: what is written to a pipe for us (`<(...)` of a shell) takes far less."""


class NoPlainFile(OSError):
    """`filename` is a pipe, a folder or a device where a file belongs."""


class LinkInside(OSError):
    """Something in an archive is a symbolic link; `filename` is which."""


def read_named(path: Path, max_bytes: int) -> bytes:
    """The first `max_bytes` of `path`. Raises OSError; TimeoutError for a pipe from which nothing comes."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if stat.S_ISFIFO(os.fstat(file).st_mode):
            return _read_pipe(path, file, max_bytes)
        os.set_blocking(file, True)
        with os.fdopen(os.dup(file), "rb") as opened:
            return opened.read(max_bytes)
    finally:
        os.close(file)


def read_kept(path: Path, max_bytes: int | None = None) -> bytes:
    """A file of ours, whole, or its first `max_bytes`: in a copy that somebody brings, a pipe may lie in its place.

    Raises OSError.
    """
    return _read_plain(os.open(path, _READ), path, max_bytes)


def read_beneath(root: Path, name: str, max_bytes: int | None = None) -> bytes:
    """The file `name` in the archive below `root`, whole, or its first `max_bytes`. Raises OSError; `LinkInside` when
    it or a folder on the way is a symbolic link. `root` itself may be one.
    """
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise OSError(errno.EINVAL, "it names no file below a folder", str(root / name))
    folder, way = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), root
    *folders, last = name.split("/")
    try:
        for part in folders:
            way = way / part
            _check_no_link(folder, part, way)
            above, folder = folder, os.open(part, os.O_PATH | os.O_DIRECTORY | _INSIDE, dir_fd=folder)
            os.close(above)
        _check_no_link(folder, last, way / last)
        return _read_plain(os.open(last, _READ | os.O_NOFOLLOW, dir_fd=folder), way / last, max_bytes)
    finally:
        os.close(folder)


def check_plain(folder: Path) -> None:
    """Before a library reads files in a folder of ours, which would wait for who writes to a pipe there: what lies
    below `folder` are files and folders. Raises `NoPlainFile`, OSError.
    """
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a link that leads nowhere is no file that anybody waits at
            if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):
                raise NoPlainFile(errno.EINVAL, "it is no plain file", str(path))


def _check_no_link(folder: int, name: str, path: Path) -> None:
    """In words; whoever exchanges it afterwards is met by O_NOFOLLOW."""
    if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise LinkInside(errno.ELOOP, "it is a symbolic link", str(path))


def _read_plain(file: int, path: Path, max_bytes: int | None) -> bytes:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise NoPlainFile(errno.EINVAL, "it is no plain file", str(path))
    with os.fdopen(file, "rb") as opened:
        return opened.read(-1 if max_bytes is None else max_bytes)


def _read_pipe(path: Path, file: int, max_bytes: int) -> bytes:
    """Until its last writer closes it. A read of nothing means that none has opened it yet."""
    data, end_s, poll = b"", time.monotonic() + PIPE_TIMEOUT_S, select.poll()
    poll.register(file, select.POLLIN)
    while len(data) < max_bytes:
        events = poll.poll(max(0.0, end_s - time.monotonic()) * 1000)
        if not events:
            words = f"nothing came from this pipe for {PIPE_TIMEOUT_S:g} s"
            raise TimeoutError(errno.ETIMEDOUT, words, str(path))
        try:
            part = os.read(file, max_bytes - len(data))
        except BlockingIOError:
            continue
        if not part:
            return data
        data, end_s = data + part, time.monotonic() + PIPE_TIMEOUT_S
    return data
