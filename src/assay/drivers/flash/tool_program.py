# SPDX-License-Identifier: Apache-2.0
"""Somebody's flash tool as a program: found, run with an argument list, watched, and ended as a whole.

Guards: no shell; a tool that hangs is ended with its children when its named limit is over, and dies with us; all that
it says is kept in a file of the run's folder; an error has the last line that means something.
Leaves to others: what a tool's words mean (its driver).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from assay.errors import DeviceTimeout, InfrastructureError, StorageError, ToolMissing
from assay.formats.visible_text import visible
from assay.interfaces.readiness import readable

_PDEATHSIG = 1  # PR_SET_PDEATHSIG, linux/prctl.h
READ_BYTES = 65536
OUTPUT_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of a tool's output that are kept: a tool that prints for ever must not fill the disk."""
LINE_BYTES_MAX = 256 * 1024  # what is longer is told in pieces
WORDS_SHOWN = 300  # characters of what a program said last
END_WAIT_S = 5.0

_LINE_END = re.compile(rb"[\r\n]+")
_NOISE = re.compile(r"^[\s.=>#%\-*\[\]|/\\]*(\d+ ?%)?[\s.=>#%\-*\[\]|/\\]*$|^(hint|traceback|note)\b", re.IGNORECASE)

_ERROR = re.compile(r"\berror\b", re.IGNORECASE)

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class Said:
    """How a program ended and all lines that it said, without line ends; progress lines are lines of their own."""

    status: int
    lines: tuple[str, ...]
    file: Path

    @property
    def text(self) -> str:
        """The lines, joined."""
        return "\n".join(self.lines)

    @property
    def last_words(self) -> str:
        """The last line that means something: one with an error in it, if there is one."""
        meaningful = [line.strip() for line in self.lines if not _NOISE.match(line)]
        meaningful = [line for line in meaningful if _ERROR.search(line)] or meaningful
        return visible(meaningful[-1])[:WORDS_SHOWN] if meaningful else "nothing"


@dataclass
class ToolProgram:
    """A program, the line that installs it, and the folder that keeps what it says."""

    program: str
    install: str
    folder: Path

    def path(self) -> str:
        """Where it is: on PATH, or beside this Python. Raises ToolMissing."""
        beside = Path(sys.executable).parent / self.program
        found = shutil.which(self.program) or (str(beside) if os.access(beside, os.X_OK) else None)
        if found is None:
            raise ToolMissing(f"the program {self.program} is not installed", remedy=self.install)
        return found

    def run(
        self,
        arguments: Sequence[str],
        *,
        doing: str,
        limit_s: float,
        on_line: OnLine | None = None,
        stdin: bytes = b"",
    ) -> Said:
        """Run it to its end, at most `limit_s` seconds away.

        Raises ToolMissing, StorageError, and DeviceTimeout that names `doing`.
        """
        words = [self.path(), *arguments]
        try:
            ended, said = self._watched(words, arguments, limit_s, on_line, stdin)
        except OSError as error:
            raise StorageError(
                f"cannot keep in {self.folder} what {self.program} says: {error.strerror}", remedy="make room there"
            ) from error
        if not ended:
            raise DeviceTimeout(
                f"{self.program} did not end within {limit_s:g} s while it was to {doing}; its last words: "
                f"{said.last_words}",
                remedy="look at cable and power of board and probe, then do it again",
            )
        return said

    def _watched(
        self, words: Sequence[str], arguments: Sequence[str], limit_s: float, on_line: OnLine | None, stdin: bytes
    ) -> tuple[bool, Said]:
        """Whether it has ended by itself, and what it said."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{len(list(self.folder.glob('*.txt'))) + 1:02d}-{Path(self.program).name}.txt"
        with file.open("wb") as kept, tempfile.TemporaryFile() as told:
            # A file, since a pipe would keep us waiting for a tool that does not read, beyond any limit.
            told.write(stdin)
            told.seek(0)
            kept.write(f"$ {' '.join(map(repr, [self.program, *arguments]))}\n".encode())
            process = self._start(words, told)
            try:
                watch = _Watch(process, kept, on_line)
                ended = watch.until(time.monotonic() + limit_s)
            finally:
                _end(process)
        return ended, Said(process.returncode if ended else 0, tuple(watch.lines), file)

    def _start(self, words: Sequence[str], told: IO[bytes]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                list(words),
                stdin=told,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C.UTF-8", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
                preexec_fn=_dies_with(os.getpid()),
                start_new_session=True,
            )
        except OSError as error:
            raise ToolMissing(f"cannot run {self.program}: {error.strerror}", remedy=self.install) from error

    def failed(self, said: Said, doing: str, remedy: str = "") -> InfrastructureError:
        """The error for a run that ended badly in a way that its driver does not know."""
        how = f"status {said.status}" if said.status >= 0 else f"signal {-said.status}"
        return InfrastructureError(
            f"{self.program} could not {doing} ({how}): {said.last_words}",
            remedy=remedy or f"see what it said: {said.file}",
        )


class _Watch:
    """The output of a process, line by line, until it ends."""

    def __init__(self, process: subprocess.Popen[bytes], kept: object, on_line: OnLine | None) -> None:
        self._process, self._kept, self._on_line = process, kept, on_line
        self._rest, self._bytes = b"", 0
        self.lines: list[str] = []

    def until(self, deadline_s: float) -> bool:
        """Read until the process has ended; False when the deadline came first."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        while time.monotonic() < deadline_s:
            ended = self._process.poll() is not None
            ready = readable(fd, 0.0 if ended else 0.05)
            data = os.read(fd, READ_BYTES) if ready else b""
            self._take(data)
            if ended and not data:  # a child of its own that keeps the pipe open is not waited for
                self._take(b"\n")
                return True
            if ready and not data:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(max(0.0, deadline_s - time.monotonic()))
        self._take(b"\n")
        return False

    def _take(self, data: bytes) -> None:
        if self._bytes < OUTPUT_BYTES_MAX:
            self._kept.write(data)  # type: ignore[attr-defined]
        self._bytes += len(data)
        *whole, self._rest = _LINE_END.split(self._rest + data)
        if len(self._rest) > LINE_BYTES_MAX:  # looked through again with each read, it would cost more and more
            whole, self._rest = [*whole, self._rest], b""
        for raw in whole:
            line = raw.decode("utf-8", "replace")
            if self._bytes < OUTPUT_BYTES_MAX:
                self.lines.append(line)
            if self._on_line is not None:
                self._on_line(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group, also what the tool left running behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_WAIT_S)
    if process.stdout is not None:
        with contextlib.suppress(OSError):
            process.stdout.close()


def _dies_with(parent: int) -> Callable[[], None]:
    """For the child, before it becomes the tool: SIGKILL when we are gone, also if we were gone by then."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def arrange() -> None:
        if prctl(_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
            os._exit(127)

    return arrange
