# SPDX-License-Identifier: Apache-2.0
"""One verb as a process: started, listened to, ended.

Guards: the verb ends when we end, however that is; its answer is one JSON document or the file that was asked for; a
verb that was killed is an ERROR, never a verdict. Leaves to others: which verb, and what its outcome means.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from assay.backends.signers.withheld import withheld
from assay.errors import ExitStatus, StorageError
from assay.pipeline.verb_words import why

END_PATIENCE_S = 15.0
"""How long a verb may take to close its ports, locks and journal after SIGTERM."""

STDERR_LINES_KEPT = 200

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class VerbResult:
    """How a verb ended: `answer` is its JSON document, empty when its output went to a file."""

    status: ExitStatus
    answer: dict[str, Any]
    message: str
    remedy: str
    duration_s: float


def command_line(words: tuple[str, ...], stdout: str | None) -> str:
    """What a person types for it."""
    return shlex.join(("assay", *words)) + (f" > {shlex.quote(stdout)}" if stdout else "")


class VerbProcess:
    """`assay WORDS` in `folder`, running. `lifeline` is a descriptor that the verb holds open as long as it lives."""

    def __init__(self, words: tuple[str, ...], *, folder: Path, site: Path, stdout: Path | None, lifeline: int) -> None:
        self._words = words
        self._file = stdout
        self._started_s = time.monotonic()
        self._ended_s: float | None = None
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._lines: list[str] = []
        json_flag = ["--json"] if stdout is None and "--json" not in words else []
        output = _create(stdout) if stdout is not None else None
        try:
            self._process = subprocess.Popen(
                # -P: a `click.py` in the project must not run in a process that may ask for signatures.
                [sys.executable, "-P", "-m", "assay", *words, *json_flag],
                cwd=folder,
                env={**os.environ, **withheld(), "ASSAY_SITE": str(site), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output or subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(lifeline,),
                process_group=0,  # a ^C on the terminal comes to us; we tell the verb once
                preexec_fn=_die_with(os.getpid()),
            )
        finally:
            if output is not None:
                output.close()

    def streams(self) -> dict[int, Callable[[bytes], list[str]]]:
        """Descriptors to read from, and what takes their bytes; the answer is lines of stderr that are whole now."""
        found: dict[int, Callable[[bytes], list[str]]] = {_descriptor(self._process.stderr): self._take_stderr}
        if self._process.stdout is not None:
            found[_descriptor(self._process.stdout)] = self._take_stdout
        return found

    def lives(self) -> bool:
        """True until the verb has ended."""
        return self._process.poll() is None

    def end(self) -> None:
        """Ask the verb to end, wait, and make sure: nothing of it is left when this returns."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(END_PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def result(self) -> VerbResult:
        """How it ended; waits for the end."""
        code = self._process.wait()
        duration_s = (self._ended_s or time.monotonic()) - self._started_s
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        if code < 0 or code not in list(ExitStatus):
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
            return VerbResult(ExitStatus.ERROR, {}, f"assay {self._words[0]} {how}", "run it again", duration_s)
        status, answer = ExitStatus(code), self._answer()
        if answer is None:
            last, _ = why({}, self._lines, None)
            message = f"assay {self._words[0]} gave no JSON document; its last words: {last}"
            return VerbResult(max(status, ExitStatus.ERROR), {}, message, "report it", duration_s)
        message, remedy = ("", "") if status is ExitStatus.PASS else why(answer, self._lines, self._file)
        return VerbResult(status, answer, message, remedy, duration_s)

    def stderr_text(self) -> str:
        """The last lines that the verb wrote to stderr."""
        return "".join(f"{line}\n" for line in self._lines)

    def _answer(self) -> dict[str, Any] | None:
        raw = bytes(self._stdout)
        if self._file is not None:
            raw = self._file.read_bytes() if "--json" in self._words else b"{}"
        try:
            answer = json.loads(raw)
        except ValueError:
            return None
        return answer if isinstance(answer, dict) else None

    def _take_stdout(self, data: bytes) -> list[str]:
        self._stdout += data
        return []

    def _take_stderr(self, data: bytes) -> list[str]:
        self._stderr += data
        *whole, rest = bytes(self._stderr).split(b"\n")
        self._stderr = bytearray(rest)
        if not data:
            self._ended_s = time.monotonic()
            whole, self._stderr = [*whole, *([rest] if rest else [])], bytearray()
        lines = [line.decode(errors="replace").rstrip("\r") for line in whole]
        self._lines = [*self._lines, *lines][-STDERR_LINES_KEPT:]
        return lines


def _create(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", remedy="free it, or use --results") from error


def _descriptor(stream: IO[bytes] | None) -> int:
    assert stream is not None, "opened as a pipe"
    return stream.fileno()


def _die_with(parent: int) -> Callable[[], None]:
    """For the child, before exec: SIGTERM when our process ends, so that the verb closes what it holds."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def arm() -> None:
        if prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0 or os.getppid() != parent:
            os._exit(int(ExitStatus.ERROR))

    return arm
