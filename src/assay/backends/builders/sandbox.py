# SPDX-License-Identifier: Apache-2.0
"""A builder in a bubblewrap sandbox: declared inputs, the toolchain, a scratch folder; no network, no home, no keys.

Guards: a build sees an empty file system but for read-only system programs and libraries, the Python and compiler that
run it, its own copy of the sources (read-only) and its output, cache and home folders; it has no network, no
capabilities, a user and a host name of its own, and dies with assay. Works as root and, where the kernel allows user
namespaces, as anybody. Leaves to others: the two surroundings (`stages.build`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from assay.backends.builders.build_process import BuildProcesses
from assay.backends.builders.fewer_cpus import can_pin, pinned
from assay.backends.builders.sandbox_root import system_root
from assay.backends.builders.sandbox_strays import owner_mark
from assay.backends.builders.toolchain import program_identity
from assay.errors import ToolMissing
from assay.interfaces.builder import BuilderSettings, BuildTask, Change
from assay.model.artifact import ToolIdentity

PROGRAM = "bwrap"
PROBE_TIMEOUT_S = 10.0


def open_sandbox(_settings: BuilderSettings) -> SandboxBuilder:
    """Entry point `assay.builders`. Raises `ToolMissing` where there is no sandbox."""
    reason = why_not()
    if reason is not None:
        raise ToolMissing(f"no sandbox here: {reason}", remedy="apt-get install bubblewrap, or use --builder host")
    return SandboxBuilder()


class SandboxBuilder:
    """Implements `interfaces.builder.Builder` with bubblewrap."""

    name = "sandbox"
    keeps_in = True
    python = sys.executable
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"

    def __init__(self) -> None:
        self._processes = BuildProcesses()

    @property
    def changes(self) -> frozenset[Change]:
        """User and host always; processors, where there is more than one."""
        always: frozenset[Change] = frozenset({"user id", "host name"})
        return always | {"CPU count"} if can_pin() else always

    def tools(self) -> None:
        """The machine's."""

    def parts(self) -> tuple[ToolIdentity, ...]:
        """bubblewrap."""
        return (program_identity(_program(), "bubblewrap"),)

    def run(self, task: BuildTask) -> str:
        """Run the build in a sandbox of its own."""
        return self._processes.run([*pinned(task.cpus), *_walls(task), "--", *task.command], task)

    def stop(self) -> None:
        """End the builds that run now."""
        self._processes.stop()


@cache
def why_not() -> str | None:
    """None when sandboxes work on this machine; else why they do not. Tried once for each process."""
    program = shutil.which(PROGRAM)
    if program is None:
        return "bubblewrap is not installed (apt-get install bubblewrap)"
    command = [
        program,
        *_namespaces(1000, "build"),
        *_system(),
        *_bound(_python()),
        "--",
        sys.executable,
        "-S",
        "-c",
        "",
    ]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False, env={})
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap cannot be started ({type(error).__name__})"
    if tried.returncode == 0:
        return None
    said = tried.stderr.decode("utf-8", "replace").strip()
    return said.splitlines()[-1] if said else f"bubblewrap ended with status {tried.returncode}"


def _walls(task: BuildTask) -> list[str]:
    seen = (*_python(), *task.seen, task.source)
    arguments = [_program(), *_namespaces(task.uid, task.hostname), *_system(), *_bound(seen)]
    for path in (task.out, task.cache, task.home):
        arguments += ["--bind", str(path), str(path)]
    for path in task.hidden:
        if path.is_dir() and any(path.is_relative_to(shown) for shown in (*seen, Path("/usr"))):
            arguments += ["--tmpfs", str(path)]
    return [*arguments, "--remount-ro", "/", "--chdir", str(task.source)]


def _program() -> str:
    program = shutil.which(PROGRAM)
    if program is None:
        raise ToolMissing("bubblewrap is not installed", remedy="apt-get install bubblewrap, or use --builder host")
    return program


def _python() -> tuple[Path, ...]:
    """The folders that this Python is made of: its environment, and the installation that its links lead to."""
    installed = Path(sys.executable).resolve().parent.parent
    prefixes = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    return tuple(dict.fromkeys([*prefixes, *(prefix.resolve() for prefix in prefixes), installed]))


def _bound(folders: tuple[Path, ...]) -> list[str]:
    """Folders to read; what lies in /usr is there already."""
    return [
        part
        for folder in folders
        if not folder.is_relative_to("/usr")
        for part in ("--ro-bind", str(folder), str(folder))
    ]


def _namespaces(uid: int, hostname: str) -> list[str]:
    return [
        *("--unshare-all", "--unshare-user", "--uid", str(uid), "--gid", str(uid), "--hostname", hostname),
        *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *owner_mark(),
    ]


def _system() -> list[str]:
    return [*system_root(), "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108  # inside the sandbox
