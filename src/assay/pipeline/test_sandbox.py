# SPDX-License-Identifier: Apache-2.0
"""The sandbox of a test process: it has the system, its Python, the project, the port, and nothing else of the host.

Guards: in the sandbox there are no keys, the site is read-only but for the twins under test, no home and no temporary
folder of anybody is there, no other process of the host can be seen (whose /proc would show the folders as they are),
no network unless the place is reached by one, and nothing in it outlives it.
Leaves to others: what runs inside (`test_process`), which Python that is (`test_python`). A sandbox protects the keys
from the tests, not the unit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from assay.backends.builders.sandbox_root import system_root
from assay.backends.builders.sandbox_strays import owner_mark
from assay.errors import UsageFault
from assay.pipeline.test_python import python_paths

PROGRAM = "bwrap"
PROBE_TIMEOUT_S = 10.0
WRITABLE = ":rw"
"""At the end of a path that is opened: not read-only."""

Sandbox = Literal["bubblewrap", "none"]

_NAMESPACES = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--cap-drop", "ALL", "--die-with-parent")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_TERMINALS = "/dev/pts"
_ETC = (
    *("passwd", "group", "nsswitch.conf", "localtime", "timezone", "mime.types", "services", "protocols"),
    *("hosts", "resolv.conf", "host.conf", "gai.conf", "ssl/certs", "ssl/openssl.cnf", "ca-certificates"),
    *("pki/ca-trust", "pki/tls/certs"),
)
"""Names of users, time zone and, for a suite with network, how names are found and whom TLS trusts. All of it is
readable by everybody; `shadow` and keys are not in it."""


@dataclass(frozen=True)
class SandboxView:
    """What the test process sees beside the system and its Python. `ports` as `places` knows them.

    `shown` can be read, `writable` written, `fixed` lies in the latter and cannot; `hidden` is empty wherever it would
    be seen. `opened` are paths that the user adds, with `:rw` behind them to be written.
    """

    shown: tuple[Path, ...]
    writable: tuple[Path, ...]
    fixed: tuple[Path, ...]
    hidden: tuple[Path, ...]
    ports: tuple[str, ...] = ()
    network: bool = False
    opened: tuple[str, ...] = ()


def choose() -> Sandbox:
    """`bubblewrap` where it works."""
    return "none" if why_not() else "bubblewrap"


@cache
def why_not() -> str:
    """Why there is no sandbox on this machine; empty when there is one. Tried once for each process."""
    program = shutil.which(PROGRAM)
    if program is None:
        return "bubblewrap is not installed (apt-get install bubblewrap)"
    command = [program, *_NAMESPACES, "--unshare-net", *owner_mark(), *_root(), *_devices(()), "--", "/bin/true"]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap cannot be started ({type(error).__name__})"
    lines = tried.stderr.decode("utf-8", "replace").strip().splitlines()
    return "" if tried.returncode == 0 else (lines or ["bubblewrap failed and said nothing"])[-1]


def check_opened(opened: Iterable[str], keys: Path) -> None:
    """Paths that the user wants to open are there, and do not show the keys. Raises `UsageFault`."""
    for text in opened:
        path = _path_of(text)
        if not path.is_absolute() or not path.exists():
            raise UsageFault(f"--sandbox-bind {text}: there is no such path", remedy="give an absolute path")
        shows = keys.resolve().is_relative_to(path.resolve()) or path.resolve().is_relative_to(keys.resolve())
        if shows or path.resolve().is_relative_to("/proc"):  # there the host's processes show the folders as they are
            raise UsageFault(
                f"--sandbox-bind {text} would show this site's keys to the tests", remedy="name what the suite needs"
            )


def walls(view: SandboxView, info_fd: int) -> list[str]:
    """The words before the command. `info_fd` gets a JSON object with the process id of the command's parent.

    The command is not process 1 of the sandbox: the kernel would shield it from its own signals.
    """
    words = [shutil.which(PROGRAM) or PROGRAM, *_NAMESPACES, *owner_mark(), "--info-fd", str(info_fd)]
    words += [] if view.network or any("://" in port for port in view.ports) else ["--unshare-net"]
    words += [*_root(), *_devices(view.ports), "--unsetenv", "TMPDIR"]
    shown = (*python_paths(), *view.shown)
    for path in shown:
        words += ["--ro-bind", str(path), str(path)]
    for text in view.opened:
        words += ["--dev-bind" if text.endswith(WRITABLE) else "--ro-bind", str(_path_of(text)), str(_path_of(text))]
    for path in view.writable:
        words += ["--bind", str(path), str(path)]
    for path in view.fixed:
        words += ["--ro-bind", str(path), str(path)]
    for path in dict.fromkeys(view.hidden):
        words += ["--tmpfs", str(path)] if _is_seen(path, shown) else []
    return [*words, "--chdir", str(Path.cwd()), "--"]


def _path_of(opened: str) -> Path:
    return Path(opened.removesuffix(WRITABLE))


def _is_seen(path: Path, shown: Iterable[Path]) -> bool:
    return path.is_dir() and any(path.is_relative_to(folder) for folder in shown)


def _root() -> list[str]:
    """An empty root with the system, and empty folders where programs expect to find room."""
    words = [*system_root(), "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/run"]  # noqa: S108  # inside it
    for name in _ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    home = Path.home()
    return [*words, "--tmpfs", str(home)] if home != Path("/") and not home.is_relative_to("/usr") else words


def _devices(ports: Iterable[str]) -> list[str]:
    """A /dev with the ports and little else.

    The terminal of a twin is bound alone, so that no other terminal of the user can be opened. A board's port is not:
    with its power it can vanish and come back, as another file, so all devices stay that this user may open.
    """
    paths = {os.path.realpath(port) for port in ports if "://" not in port}
    terminals = sorted(path for path in paths if path.startswith(f"{_TERMINALS}/"))
    if paths - set(terminals):
        words = ["--dev-bind", "/dev", "/dev", "--ro-bind-try", "/sys", "/sys"]  # where USB devices say what they are
    else:
        words = ["--tmpfs", "/dev"]
        for name in _DEVICES:
            words += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
        for name, goal in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
            words += ["--symlink", f"/proc/self/{goal}", f"/dev/{name}"]
    for folder in (_TERMINALS, "/dev/shm"):  # noqa: S108  # a folder of its own
        words += ["--tmpfs", folder]
    for path in terminals:
        words += ["--dev-bind", path, path]
    return [*words, "--remount-ro", _TERMINALS]
