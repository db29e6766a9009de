# SPDX-License-Identifier: Apache-2.0
"""Files that a person named: read up to a limit, whatever kind of file it is. And files of ours, which are plain.

Guards: a pipe that nobody writes to, and one that is never closed, end in an error that says so; a device without end
is read no further than asked for. Leaves to others: what the bytes mean, and what to do about an error.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

PIPE_TIMEOUT_S = 10.0
"""Seconds without a byte: what is written to a pipe for us (`<(...)` of a shell) takes far less."""


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


def read_kept(path: Path) -> bytes:
    """A file of ours, whole: in a copy that somebody brings, a pipe may lie in its place. Raises OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    return path.read_bytes()


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
