# SPDX-License-Identifier: Apache-2.0
"""The identity of the toolchain: version and digest of the compiler and of the Python that drives it, or of whatever
programs a module says that it is built with, of what a compiler among those starts, and of every package behind them.

Guards: the identity of our compiler is one over the digests of all files as its wheel lists them, the same on every
machine.
Of those files the program alone is hashed here, again when it changed, and compared with what the wheel says; all of
them where that is asked for. A compiler of the machine is hashed with its parts. A tree of tools is hashed whole but
for `.git` and `__pycache__`.
Not covered: Python packages that a build imports, and what else lies in /usr.
Leaves to others: what is done with it (provenance, the key of the build cache), packages (`debian_packages`), which
parts a compiler has (`compiler_parts`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from assay.backends.builders.compiler_parts import START_OF_C, is_compiler, parts_of
from assay.backends.builders.debian_packages import DebianPackages
from assay.backends.durable_file import make_folder, write_durably
from assay.errors import InfrastructureError, StorageError, ToolMissing, UsageFault
from assay.model.artifact import ToolIdentity

COMPILER = "ziglang"
PYTHON = "python"

_NOT_IN_A_TREE = frozenset({".git", "__pycache__"})
"""Folders of a tree of tools that change by using it."""

VERSION_TIMEOUT_S = 10.0
TREE_FILES_MAX = 200_000
"""Files of a tree of tools; the largest known, a checkout of a vendor's SDK with its tools, has about half of it."""


def toolchain(
    cache: Path,
    names: tuple[str, ...] | None = None,
    path: str = os.defpath,
    perhaps: tuple[str, ...] = (),
    *,
    whole: bool = False,
) -> tuple[ToolIdentity, ...]:
    """The tools called `names` (None: compiler and Python, as every module of ours is built), programs looked for on
    `path`, those called `perhaps` that are there, the parts of the compilers among them, and the packages behind them.
    `cache` keeps digests of large files by size and time. `whole`: every file of our compiler is read and compared with
    what its wheel says, and not its program alone. Raises `ToolMissing`, `InfrastructureError` for a damaged one.
    """
    known = _KnownDigests(cache)
    names = (COMPILER, PYTHON) if names is None else names
    ours = {COMPILER: lambda: _wheel(COMPILER, "ziglang/zig", known, whole), PYTHON: lambda: _python(known)}
    tools = [ours[name]() for name in names if name in ours]
    programs = {name: _found(name, path) for name in names if name not in ours}
    programs |= {name: Path(found) for name in perhaps if (found := shutil.which(name, path=path))}
    tools += [_program(name, program, known) for name, program in programs.items()]
    parts = _parts(programs, path)
    tools += [_part(name, part, known) for name, part in parts.items()]
    if programs:
        starts = {name: part for name, part in parts.items() if name.endswith(f":{START_OF_C}")}
        tools += _packages(programs | starts, known)
    known.save()
    return tuple(tools)


def program_identity(program: str, name: str) -> ToolIdentity:
    """A program by what it says of its version and the SHA-256 of its file. Raises `ToolMissing`."""
    return _program(name, Path(program), None)


def tree_identity(name: str, folder: Path, cache: Path) -> ToolIdentity:
    """A folder of tools that no package brought, by one digest over all its files, and those that its links lead to.
    Raises `UsageFault` for a link to a folder outside, `StorageError`.
    """
    known = _KnownDigests(cache)
    root = Path(os.path.realpath(folder))
    try:
        rows = [f"{path.relative_to(folder).as_posix()} {_content(path, root, known)}\n" for path in _files_of(folder)]
    except OSError as error:
        raise StorageError(f"the tree {name} cannot be read: {error}", remedy="check the folder") from error
    known.save()
    if not rows:
        raise UsageFault(f"the tree {name} at {folder} is empty", remedy="name the folder that the tools are in")
    digest = hashlib.sha256("".join(sorted(rows)).encode("utf-8", "surrogateescape")).hexdigest()
    return ToolIdentity(name=f"tree:{name}", version=f"{len(rows)} files", sha256=digest)


def _files_of(folder: Path) -> Iterator[Path]:
    count = 0
    for here, names, files in os.walk(folder):
        names[:] = [name for name in names if name not in _NOT_IN_A_TREE]
        links = [name for name in names if (Path(here) / name).is_symlink()]
        for name in [*files, *links]:
            count += 1
            if count > TREE_FILES_MAX:
                raise UsageFault(f"{folder} has more than {TREE_FILES_MAX} files", remedy="name a smaller folder")
            yield Path(here) / name


def _content(path: Path, root: Path, known: _KnownDigests) -> str:
    """The digest of a file; of a link where it leads to, and the digest of what is there if the tree has it not."""
    if not path.is_symlink():
        return known.sha256(path)
    said, target = f"-> {path.readlink()}", Path(os.path.realpath(path))
    if target.is_relative_to(root) and not _NOT_IN_A_TREE.intersection(target.relative_to(root).parts):
        return said
    if target.is_dir():
        raise UsageFault(
            f"{path} leads to a folder outside of its tree of tools",
            remedy="copy it there, or name a folder above both",
        )
    return f"{said} {known.sha256(target)}" if target.is_file() else said


def _parts(programs: Mapping[str, Path], path: str) -> dict[str, Path]:
    """The parts of the compilers among `programs`, called `COMPILER:PART`; of the same compiler once."""
    compilers: dict[Path, str] = {}
    for name, program in programs.items():
        if is_compiler(name):
            compilers.setdefault(program.resolve(), name)
    return {
        f"{name}:{part}": file for name in compilers.values() for part, file in parts_of(programs[name], path).items()
    }


def _part(name: str, file: Path, known: _KnownDigests) -> ToolIdentity:
    """By its digest alone: a part need not know `--version`, and its compiler has one."""
    try:
        return ToolIdentity(name=name, version="", sha256=known.sha256(file))
    except OSError as error:
        remedy = f"install {name.partition(':')[0]} again"
        raise ToolMissing(f"{file} cannot be read: {error.strerror}", remedy=remedy) from error


def _found(name: str, path: str) -> Path:
    program = shutil.which(name, path=path)
    if program is None:
        raise ToolMissing(
            f"{name}, with which this module is built, is not installed",
            remedy=f"install it (such as apt-get install {name}), or correct [build] tools",
        )
    return Path(program)


def _program(name: str, program: Path, known: _KnownDigests | None) -> ToolIdentity:
    file = program.resolve()
    try:
        digest = known.sha256(file) if known else hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ToolMissing(f"{program} cannot be read: {error.strerror}", remedy=f"install {name} again") from error
    said = known.remembered(f"version|{file}|{digest}", lambda: _says(program)) if known else _says(program)
    return ToolIdentity(name=name, version=said, sha256=digest)


def _says(program: Path) -> str:
    """The first line that a program prints about its version; empty when it prints none."""
    try:
        done = subprocess.run(
            [str(program), "--version"],
            capture_output=True,
            timeout=VERSION_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.defpath, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    return lines[0].strip()[:100] if done.returncode == 0 and lines else ""


def _packages(programs: Mapping[str, Path], known: _KnownDigests) -> list[ToolIdentity]:
    """The packages behind `programs`, asked again when a package was installed or a program is another file."""
    debian = DebianPackages()
    if not debian.state:
        return []
    asked = "|".join(f"{path}>{path.resolve()}" for path in programs.values())

    def ask() -> str:
        places = {place for path in programs.values() for place in (path, path.resolve())}
        return json.dumps([tool.model_dump() for tool in debian.closure(debian.owners(places))])

    kept = json.loads(known.remembered(f"packages|{debian.state}|{asked}", ask))
    return [ToolIdentity.model_validate(each) for each in kept]


class _KnownDigests:
    """Digests of files that have not changed since they were hashed: path, size and modification time say so."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._changed = False
        try:
            loaded = json.loads(file.read_bytes())
        except (OSError, ValueError):
            loaded = {}
        self._digests: dict[str, str] = loaded if isinstance(loaded, dict) else {}

    def sha256(self, path: Path) -> str:
        status = path.stat()
        key = f"{path}|{status.st_size}|{status.st_mtime_ns}|{status.st_ino}"
        if not isinstance(self._digests.get(key), str):
            with path.open("rb") as file:
                self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
            self._changed = True
        return self._digests[key]

    def remembered(self, key: str, ask: Callable[[], str]) -> str:
        """What `ask` said when `key` was asked first."""
        if not isinstance(self._digests.get(key), str):
            self._digests[key] = ask()
            self._changed = True
        return self._digests[key]

    def save(self) -> None:
        """Keep what was learnt; without room only speed is lost."""
        if not self._changed:
            return
        try:
            make_folder(self._file.parent)
            write_durably(self._file, json.dumps(self._digests).encode())
        except OSError:
            return  # only speed is lost: the next call hashes again


def _wheel(name: str, program: str, known: _KnownDigests, whole: bool = False) -> ToolIdentity:
    try:
        found = distribution(name)
    except PackageNotFoundError as error:
        remedy = f"{sys.executable} -m pip install {name}"
        raise ToolMissing(f"the compiler package {name!r} is not installed", remedy=remedy) from error
    listed = hashlib.sha256((found.read_text("RECORD") or "").encode()).hexdigest()
    said = json.loads(known.remembered(f"wheel|{name}|{program}|{listed}", lambda: _summed(found, program)))
    path = Path(str(found.locate_file(program)))
    try:
        actual = known.sha256(path)
    except OSError as error:
        raise _damaged(name, f"{path} cannot be read") from error
    if said["program"] != actual:
        raise _damaged(name, f"{path} is not the file that the package brought")
    if whole:
        _check_installed(name)
    return ToolIdentity(name=name, version=found.version, sha256=said["files"])


@cache
def _check_installed(name: str) -> None:
    """Once for each process: twenty thousand files take two seconds."""
    _check_whole(distribution(name))


def _check_whole(found: Distribution) -> None:
    """Raises `InfrastructureError` for a file of a wheel that is not what the wheel says, or that is not there."""
    for name, sha256 in _recorded(found).items():
        path = Path(str(found.locate_file(name)))
        try:
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _damaged(found.name, f"{path} cannot be read") from error
        if actual != sha256:
            raise _damaged(found.name, f"{path} is not the file that the package brought")


def _summed(found: Distribution, program: str) -> str:
    """The digests of the program and of all files, as the wheel says them; it names twenty thousand."""
    rows = _recorded(found)
    files = "".join(f"{path} {sha256}\n" for path, sha256 in sorted(rows.items()))
    return json.dumps({"program": rows.get(program), "files": hashlib.sha256(files.encode()).hexdigest()})


def _recorded(found: Distribution) -> dict[str, str]:
    """Path to SHA-256 (hex) of the files of a wheel, without those that installers make (they hold local paths)."""
    rows: dict[str, str] = {}
    for line in (found.read_text("RECORD") or "").splitlines():
        path, _, rest = line.rpartition(",")[0].rpartition(",")
        scheme, _, value = rest.partition("=")
        if scheme == "sha256" and not path.startswith("..") and ".dist-info/" not in path:
            rows[path.strip('"')] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    return rows


def _python(known: _KnownDigests) -> ToolIdentity:
    version = f"{platform.python_implementation()} {platform.python_version()}"
    return ToolIdentity(name="python", version=version, sha256=known.sha256(Path(sys.executable).resolve()))


def _damaged(name: str, what: str) -> InfrastructureError:
    remedy = f"{sys.executable} -m pip install --force-reinstall {name}"
    return InfrastructureError(f"the compiler package {name!r} is damaged: {what}", remedy=remedy)
