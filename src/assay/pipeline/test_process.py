# SPDX-License-Identifier: Apache-2.0
"""pytest as a child process that has no key: started, listened to, ended.

Guards: the child sees the suite, its place and nothing of the caller's settings of pytest; it ends with us, however we
end; it is asked to end before it is made to.
Leaves to others: what its events and its end mean (`stages.hil.verdict`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from assay.drivers.console_tap import TAP_DIR_VARIABLE, tap_folder
from assay.errors import InfrastructureError, ToolMissing
from assay.pipeline import test_sandbox
from assay.pipeline.place_hold import LABGRID_PORTS
from assay.pipeline.test_python import lives_in_user_site

END_PATIENCE_S = 15.0
"""Seconds from SIGTERM to SIGKILL: xdist's workers get 5 s of them to give their places back."""
START_PATIENCE_S = 20.0
"""Seconds for the sandbox to say which process pytest is."""
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TERM", "NO_COLOR")
SUITE_VARIABLE_PREFIX = "ASSAY_SUITE_"
"""Variables that a suite may read: the address of an instrument, for one."""


@dataclass(frozen=True)
class TestCommand:
    """What to run. `suite` is a copy of the suite, `events` a folder of this run, `places` one for each worker;
    `tested` are the words for what is under test; `view` is what a sandbox shows of the rest.
    """

    __test__ = False

    suite: Path
    places: tuple[str, ...]
    tested: tuple[str, ...]
    trust: Path
    site: Path
    events: Path
    view: test_sandbox.SandboxView
    bench: Path | None = None
    labgrid_ports: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """The command line of pytest: the suite's own pytest.ini, and nobody else's settings."""
        ini = self.suite / "pytest.ini"
        words = [sys.executable, "-P", "-m", "pytest", "-q", "-c", str(ini if ini.is_file() else os.devnull)]
        words += ["--rootdir", str(self.suite), "--confcutdir", str(self.suite), "-p", "no:cacheprovider"]
        words += ["-p", "assay.pytest_plugin"]
        if len(self.places) > 1:
            words += ["-p", "xdist", "-n", str(len(self.places))]
        for place in self.places:
            words += ["--assay-place", place]
        words += [*self.tested, "--assay-trust", str(self.trust), "--assay-site", str(self.site)]
        words += ["--assay-bench", str(self.bench)] if self.bench else []
        words += ["--assay-quarantined"]  # that was decided before the place was taken
        return [*words, "--assay-events", str(self.events), str(self.suite)]

    @property
    def environment(self) -> dict[str, str]:
        """Little of ours. The parent holds the places' locks; below it the workers share them out in a folder of
        their own, since in the sandbox they cannot see that the holder is their parent."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        kept |= {name: value for name, value in os.environ.items() if name.startswith(SUITE_VARIABLE_PREFIX)}
        kept |= {} if lives_in_user_site() else {"PYTHONNOUSERSITE": "1"}
        kept |= {LABGRID_PORTS: json.dumps(self.labgrid_ports)} if self.labgrid_ports else {}
        return kept | {
            "ASSAY_LOCK_DIR": str(self.events / "locks"),
            TAP_DIR_VARIABLE: str(tap_folder()),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPYCACHEPREFIX": str(self.events / "pycache"),
            "PYTHONUNBUFFERED": "1",
        }


@dataclass
class TestProcess:
    """A running child; `pid` is pytest itself, also when a sandbox stands between."""

    __test__ = False

    process: subprocess.Popen[bytes]
    pid: int
    listener: threading.Thread

    def wait(self, timeout_s: float) -> int | None:
        """The exit status, negative for a signal; None when it still runs after `timeout_s` seconds."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self.listener.join(END_PATIENCE_S)
        return 128 - status if status > 128 else status

    def end(self) -> int:
        """Ask it to end, wait, and make sure; answers its exit status."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        status = self.wait(END_PATIENCE_S)
        if status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            status = self.wait(END_PATIENCE_S)
        return -signal.SIGKILL if status is None else status


@contextlib.contextmanager
def running(
    command: TestCommand, sandbox: test_sandbox.Sandbox, log: Path, tell: Callable[[bytes], None] | None
) -> Iterator[TestProcess]:
    """Start pytest; its output goes to `log`, and line by line to `tell`. It has ended when the block is left."""
    if len(command.places) > 1:
        _check_xdist()
    info, theirs = os.pipe()
    words = command.words
    if sandbox == "bubblewrap":
        words = [*test_sandbox.walls(command.view, theirs), *words]
    try:
        with log.open("wb") as file:
            process = subprocess.Popen(
                words,
                env=command.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs,),
                process_group=0,  # a ^C on the terminal comes to us; we tell the child once
                preexec_fn=_die_with(os.getpid()),
            )
            os.close(theirs)
            listener = threading.Thread(target=_listen, args=(process.stdout, file, tell), daemon=True)
            listener.start()
            child = TestProcess(process, process.pid, listener)
            try:
                if sandbox == "bubblewrap":
                    child.pid = _pytest_pid(info, child)
                yield child
            finally:
                child.end()
    finally:
        os.close(info)


def _listen(stream: IO[bytes], file: IO[bytes], tell: Callable[[bytes], None] | None) -> None:
    for line in stream:
        file.write(line)
        file.flush()
        if tell is not None:
            tell(line)


def _pytest_pid(info: int, child: TestProcess) -> int:
    """bubblewrap names its first process, in JSON, in one piece or several; pytest is the child of that one."""
    text, deadline_s = b"", time.monotonic() + START_PATIENCE_S
    os.set_blocking(info, False)
    while time.monotonic() < deadline_s and child.process.poll() is None:
        with contextlib.suppress(BlockingIOError):
            text += os.read(info, 4096)
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found = _child_of(int(json.loads(text)["child-pid"]))
            if found is not None:
                return found
        time.sleep(0.002)
    child.listener.join(1.0)
    raise InfrastructureError(
        "the sandbox of the test process did not start",
        remedy="its own words are in pytest.log of the results; assay doctor tells what is missing",
    )


def _child_of(parent: int) -> int | None:
    """The first process below `parent`: from /proc, since not every kernel lists children."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state_and_parent = path.read_text(errors="replace").rpartition(")")[2].split()
            if int(state_and_parent[1]) == parent:
                return int(path.parent.name)
    return None


def _check_xdist() -> None:
    from importlib.util import find_spec

    if find_spec("xdist") is None:
        raise ToolMissing("pytest-xdist is not installed", remedy="pip install pytest-xdist, or leave -n out")


def _die_with(parent: int) -> Callable[[], None]:
    """For the child, before it becomes another program: SIGKILL when we are gone, also if we were gone by then."""
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    pdeathsig = 1  # PR_SET_PDEATHSIG, linux/prctl.h

    def arrange() -> None:
        if prctl(pdeathsig, signal.SIGKILL) != 0 or os.getppid() != parent:
            os._exit(127)

    return arrange
