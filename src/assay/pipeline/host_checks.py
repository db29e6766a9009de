# SPDX-License-Identifier: Apache-2.0
"""What this machine lacks: programs, rights and room, each found by trying it, each with the line that mends it.

Guards: a check looks at the thing itself (runs the sandbox, opens a pseudo-terminal), not at a version list; no check
needs the network or changes anything. Leaves to others: installing (nobody but the person does that).
"""

from __future__ import annotations

import grp
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

PYTHON_FLOOR = (3, 11)
SQLITE_FLOOR = (3, 37, 0)
"""STRICT tables (journal, ledger); https://www.sqlite.org/stricttables.html."""

FREE_BYTES_MIN = 500 * 1024 * 1024
"""Two builds with their compiler caches take about 200 MiB, a run with its twin and results about 50 MiB."""

PROGRAM_WAIT_S = 5.0


class State(StrEnum):
    """`MISSING` stops the main job; `ADVICE` makes a guarantee weaker or a part unusable, and says which."""

    OK = "ok"
    ADVICE = "advice"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `fix` is a line for a shell, empty when there is none."""

    name: str
    state: State
    detail: str
    fix: str = ""


def look(root: Path | None, site: Path) -> list[Finding]:
    """All findings, for the project at `root` (None: no project) and the site folder `site`."""
    found = [_python(), _sqlite(), _zig(), *_emulators(root), _terminals(), _git(), _sandbox(), *_ports(root)]
    found += [*_flashers(root), *_hosts(root), *_tokens(site)]
    return [*found, _writable(site), _room(site)]


def fix_line(findings: list[Finding]) -> str:
    """One line that mends all that a line can mend; Debian packages are installed by one command."""
    fixes = list(dict.fromkeys(finding.fix for finding in findings if finding.state is not State.OK and finding.fix))
    prefix = install_line("")
    packages = [fix.removeprefix(prefix) for fix in fixes if fix.startswith(prefix)]
    rest = [fix for fix in fixes if not fix.startswith(prefix)]
    return " && ".join(([install_line(" ".join(packages))] if packages else []) + rest)


def install_line(packages: str) -> str:
    """The line that installs Debian `packages`, with sudo where that is needed."""
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install -y --no-install-recommends {packages}"


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= PYTHON_FLOOR:
        return Finding("python", State.OK, version)
    return Finding("python", State.MISSING, f"{version}; 3.11 or newer is needed", install_line("python3.11-venv"))


def _sqlite() -> Finding:
    import sqlite3

    if sqlite3.sqlite_version_info >= SQLITE_FLOOR:
        return Finding("sqlite", State.OK, sqlite3.sqlite_version)
    detail = f"{sqlite3.sqlite_version}; 3.37 or newer is needed for the journals"
    return Finding("sqlite", State.MISSING, detail, install_line("libsqlite3-0"))


def _zig() -> Finding:
    """The pinned compiler: the version that our own metadata asks for."""
    wanted = [text for text in importlib.metadata.requires("assay") or [] if text.startswith("ziglang")]
    fix = f"{sys.executable} -m pip install '{wanted[0] if wanted else 'ziglang'}'"
    try:
        package = importlib.metadata.distribution("ziglang")
    except importlib.metadata.PackageNotFoundError:
        return Finding("compiler", State.MISSING, "the package ziglang is not installed", fix)
    program = Path(str(package.locate_file("ziglang"))) / "zig"
    if not os.access(program, os.X_OK):
        return Finding("compiler", State.MISSING, f"ziglang {package.version} has no program {program}", fix)
    if wanted and f"=={package.version}" not in wanted[0].replace(" ", ""):
        return Finding("compiler", State.ADVICE, f"ziglang {package.version}; images will differ from the pinned", fix)
    return Finding("compiler", State.OK, f"ziglang {package.version}")


def _emulators(root: Path | None) -> Iterator[Finding]:
    """QEMU for each board of the project that has a twin. It is missing if a pipeline runs on that board unless told
    otherwise; for another board it is wanted only by who chooses that one.
    """
    if root is None:
        detail = "not looked for: this is no project's folder, and its boards say which ones they need"
        yield Finding("emulators", State.ADVICE, detail)
        return
    usual = _usual_boards(root)
    for file in sorted((root / "boards").glob("*.toml")):
        twin = _table(file).get("twin")
        if not isinstance(twin, dict):
            continue
        program, package = str(twin.get("qemu")), str(twin.get("package"))
        said = _run(program, "--version")
        name = f"twin of {file.stem}"
        if said is not None:
            yield Finding(name, State.OK, said.splitlines()[0] if said else program)
        elif usual and file.stem not in usual:
            detail = f"{program} is not there; only {file.stem} needs it, and the pipelines run on {_words(usual)}"
            yield Finding(name, State.ADVICE, detail, install_line(package))
        else:
            detail = f"{program} is not there, and {file.stem} needs it"
            yield Finding(name, State.MISSING, detail, install_line(package))


def _usual_boards(root: Path) -> set[str]:
    """The boards on which the project's pipelines run when nobody chooses one; empty when none says."""
    tables = [_table(file).get("variables") for file in (root / "pipelines").glob("*.toml")]
    return {str(table["board"]) for table in tables if isinstance(table, dict) and "board" in table}


def _words(names: set[str]) -> str:
    return " and ".join(sorted(names))


_FLASHERS = {
    "dfu-util": ("dfu-util", "dfu-util"),
    "esptool": ("esptool", ""),
    "openocd": ("openocd", "openocd"),
    "pyocd": ("pyocd", ""),
}
"""Driver to the program that it needs, and the Debian package that has it; none: an extra of assay's of that name."""


def _flashers(root: Path | None) -> Iterator[Finding]:
    """The tools of flashers, of those boards that a place of the bench file has: nobody else needs them."""
    places = _table(root / "bench.toml").get("places") if root else None
    names = {str(place.get("board")) for place in places or () if isinstance(place, dict)}
    wanted: dict[str, list[str]] = {}
    for name in sorted(names):
        flashers = _table(root / "boards" / f"{name}.toml").get("flashers") if root else None
        for each in flashers or ():
            if isinstance(each, dict) and each.get("driver") in _FLASHERS:
                wanted.setdefault(str(each["driver"]), []).append(name)
    for driver, boards in sorted(wanted.items()):
        program, package = _FLASHERS[driver]
        beside = Path(sys.executable).parent / program
        if shutil.which(program) or os.access(beside, os.X_OK):
            yield Finding(f"flasher {driver}", State.OK, program)
            continue
        fix = install_line(package) if package else f"{sys.executable} -m pip install 'assay[{driver}]'"
        detail = f"{program} is not there; {', '.join(boards)} can be flashed by it"
        yield Finding(f"flasher {driver}", State.ADVICE, detail, fix)


def _hosts(root: Path | None) -> Iterator[Finding]:
    """What places that are reached over SSH need."""
    places = _table(root / "bench.toml").get("places") if root else None
    names = [str(place.get("name")) for place in places or () if isinstance(place, dict) and "ssh" in place]
    if not names:
        return
    try:
        yield Finding("SSH", State.OK, f"paramiko {importlib.metadata.version('paramiko')}")
    except importlib.metadata.PackageNotFoundError:
        fix = f"{sys.executable} -m pip install 'assay[ssh]'"
        yield Finding("SSH", State.ADVICE, f"paramiko is not there, which {', '.join(names)} needs", fix)


def _terminals() -> Finding:
    try:
        for descriptor in os.openpty():
            os.close(descriptor)
    except OSError as error:
        detail = f"no pseudo-terminal, which the port of a twin is: {error.strerror}"
        return Finding("pseudo-terminals", State.MISSING, detail, "mount -t devpts devpts /dev/pts")
    return Finding("pseudo-terminals", State.OK, "can be made")


def _git() -> Finding:
    said = _run("git", "--version")
    if said is None:
        detail = "not installed: builds cannot name the commit that they come from"
        return Finding("git", State.ADVICE, detail, install_line("git"))
    return Finding("git", State.OK, said.strip())


def _sandbox() -> Finding:
    """bubblewrap with all namespaces: where builds and tests run without network and keys."""
    weaker = "builds use the builder `host`, and tests can read the development keys"
    if shutil.which("bwrap") is None:
        return Finding("sandbox", State.ADVICE, f"bubblewrap is not installed: {weaker}", install_line("bubblewrap"))
    tried = ("--unshare-all", "--die-with-parent", "--uid", "1000", "--ro-bind", "/", "/", "--proc", "/proc", "true")
    if _run("bwrap", *tried) is not None:
        return Finding("sandbox", State.OK, "bubblewrap works, with user namespaces")
    return Finding("sandbox", State.ADVICE, f"bubblewrap is not allowed user namespaces here: {weaker}", _userns_fix())


def _userns_fix() -> str:
    """The kernel switch that stands against user namespaces, if there is one that we know."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    switches = {"kernel.unprivileged_userns_clone": "0", "kernel.apparmor_restrict_unprivileged_userns": "1"}
    for switch, against in switches.items():
        file = Path("/proc/sys") / switch.replace(".", "/")
        if file.exists() and file.read_text().strip() == against:
            return f"{sudo}sysctl -w {switch}={'1' if against == '0' else '0'}"
    return ""


def _ports(root: Path | None) -> Iterator[Finding]:
    """Ports of the bench file, and USB serial ports that are there."""
    bench = _table(root / "bench.toml") if root else {}
    places = bench.get("places", [])
    named = [Path(str(place.get("port"))) for place in places if isinstance(place, dict)]
    present = [*Path("/dev").glob("ttyUSB*"), *Path("/dev").glob("ttyACM*")]
    for port in sorted({*(path for path in named if path.exists()), *present}):
        if os.access(port, os.R_OK | os.W_OK):
            yield Finding(f"port {port}", State.OK, "can be opened")
        else:
            group = _group_of(port)
            fix = f"sudo usermod -aG {group} $USER && newgrp {group}"
            yield Finding(f"port {port}", State.MISSING, f"may be opened by group {group} only", fix)


def _group_of(port: Path) -> str:
    try:
        return grp.getgrgid(port.stat().st_gid).gr_name
    except (KeyError, OSError):
        return "dialout"


def _tokens(site: Path) -> Iterator[Finding]:
    from assay.pipeline.token_checks import look_at_tokens

    tokens = _table(site / "keys" / "keys.toml").get("tokens")
    yield from look_at_tokens(tokens if isinstance(tokens, dict) else {})


def _writable(site: Path) -> Finding:
    folder = _nearest(site)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("site folder", State.OK, str(site))
    except OSError as error:
        detail = f"{folder} cannot be written: {error.strerror}; name another one with --site or ASSAY_SITE"
        return Finding("site folder", State.MISSING, detail)


def _room(site: Path) -> Finding:
    free = shutil.disk_usage(_nearest(site)).free
    detail = f"{free // (1024 * 1024)} MiB free"
    if free >= FREE_BYTES_MIN:
        return Finding("disk", State.OK, detail)
    return Finding("disk", State.MISSING, f"{detail}, {FREE_BYTES_MIN // (1024 * 1024)} MiB are needed")


def _nearest(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _table(file: Path) -> dict[str, Any]:
    """A TOML file; empty when it is not there or wrong, since manifests have checks of their own."""
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _run(*words: str) -> str | None:
    """What the program prints; None when it is not there or fails."""
    try:
        ended = subprocess.run(words, capture_output=True, text=True, timeout=PROGRAM_WAIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None
