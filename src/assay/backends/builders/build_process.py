# SPDX-License-Identifier: Apache-2.0
"""One build as a process group: its output in a file, its time limited, ended as a whole.

Guards: a build that fails says so with the end of its output; one that hangs ends; none outlives the verb that
started it, as long as that verb can still act (the sandbox's builds die even when it is killed).
Leaves to others: what the process may see (`host`, `sandbox`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

from assay.errors import InfrastructureError, StorageError, ToolMissing, UnitFailed
from assay.interfaces.builder import BuildTask

BUILD_TIMEOUT_S = 900.0
"""Seconds; a cold build of the reference firmware takes some, a large module minutes."""

ROOM_MIN_BYTES = 4 * 1024 * 1024
"""Bytes free after a failed build below which the disk is blamed; one object file of a compiler cache takes more."""

LOG_BYTES_KEPT = 256 * 1024
"""Bytes of the end of a build's output that are read into memory: a build may print without end."""

LOG_SHOWN_CHARACTERS = 3000
"""Characters of the end of a failed build's output that the message carries."""


class BuildProcesses:
    """The builds of one builder that run now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, command: list[str], task: BuildTask) -> str:
        """Run `command` for `task` and answer its output. Raises `UnitFailed`, `ToolMissing`, `InfrastructureError`."""
        log = task.home / "build.log"
        try:
            with log.open("wb") as output:
                process = self._start(command, task, output.fileno())
                status = self._wait(process)
        except FileNotFoundError as error:
            raise ToolMissing(
                f"{command[0]} is not installed", remedy="install it, or correct [build] command"
            ) from error
        except OSError as error:
            raise InfrastructureError(f"the build cannot be started: {error.strerror}", remedy="free memory") from error
        text = _end_of(log)
        if status != 0:
            _check_room(task)
            raise failure(status, text)
        return text

    def stop(self) -> None:
        """End every build, and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _end(process)

    def _start(self, command: list[str], task: BuildTask, output: int) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise InfrastructureError("the build was stopped", remedy="start it again")
            process = subprocess.Popen(
                command,
                cwd=task.source,
                env=task.environment,
                umask=task.umask,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(BUILD_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            text = f"the build did not end within {BUILD_TIMEOUT_S:.0f} s"
            raise UnitFailed(text, remedy="run its command by hand and see where it hangs") from error
        finally:
            _end(process)
            process.wait()
            with self._lock:
                self._running.discard(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group, also what the build left running behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _end_of(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES_KEPT))
        return file.read(LOG_BYTES_KEPT).decode("utf-8", "replace")


def _check_room(task: BuildTask) -> None:
    """A compiler without room fails like one with bad sources: ask the disk, which of both it was."""
    for folder in (task.out, task.cache, task.home):
        if shutil.disk_usage(folder).free < ROOM_MIN_BYTES:
            remedy = "free disk space, or set TMPDIR and --site to folders with room"
            raise StorageError(f"the build failed, and there is no free disk at {folder}", remedy=remedy)


def failure(status: int, text: str) -> UnitFailed:
    """What is raised for a build that ended with `status` (negative: by that signal) and said `text`."""
    how = f"with status {status}" if status > 0 else f"by signal {signal.Signals(-status).name}"
    shown = text.strip()[-LOG_SHOWN_CHARACTERS:]
    remedy = "correct the sources"
    if "Read-only file system" in shown:
        remedy = (
            "it writes among its sources, which are read-only: in_copy = true in [build] gives a `system` a copy of "
            "them; a `command` makes its own, in {work}"
        )
    return UnitFailed(f"the build ended {how}:\n{shown or '(it printed nothing)'}", remedy=remedy)
