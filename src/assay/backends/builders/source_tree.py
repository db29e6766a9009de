# SPDX-License-Identifier: Apache-2.0
"""Declared inputs on disk: read once, written into the folder of each build; and what a build left behind.

Guards: only declared files reach a build, and exactly the bytes that were digested; the site with its keys, version
control and what a build left (in any folder, committed or not) are no inputs, whatever a wildcard fits; no symbolic
link leads out of the project or out of a build's output. Leaves to others: what is declared (`model.build_recipe`),
digests (`stages.build`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from assay.errors import StorageError, UnitFailed, UsageFault
from assay.model.source_file import SourceFile

SOURCE_FILES_MAX = 20_000
SOURCE_BYTES_MAX = 256 * 1024 * 1024
"""Bytes of all inputs: they are held in memory, so that what was digested is what is built."""

OUTPUT_BYTES_MAX = 128 * 1024 * 1024
"""Bytes of all outputs of one build, for the same reason."""

RESULT_FILE_BYTES_MAX = 8 * 1024 * 1024
"""Bytes that are looked at of a file that may say that its folder is a result."""

IGNORED = frozenset({".git", "__pycache__", ".zig-cache", "zig-out", ".assay", ".nox", ".venv", ".pytest_cache"})
"""Folders that no wildcard means: version control and caches, whose content changes by looking at it."""

NEVER = frozenset({".git", ".assay"})
"""Those that are no inputs even by name: what lies there is secret, or is another one after each look."""

RESULTS = {"artifact.json": b'"assay.artifact/', "signed.json": b'"assay.release/', "DIFFERING": b""}
"""Files by which the folder of a result is known, and what is in them: no wildcard means such a folder, so that it may
be committed, and a checkout of the commit has the same inputs.
"""


def collect(root: Path, patterns: Iterable[str], outside: Iterable[Path] = ()) -> tuple[SourceFile, ...]:
    """The inputs below `root` that match `patterns` (files, folders, globs), sorted; nothing of the folders `outside`.

    Raises `UsageFault`.
    """
    out_of_reach = frozenset(folder for each in outside if root.resolve() in (folder := each.resolve()).parents)
    paths: set[Path] = set()
    is_result = cache(_is_result)
    for pattern in patterns:
        reach = _Reach(root, tuple(pattern.split("/")), out_of_reach, is_result)
        matching = {path for match in root.glob(pattern) for path in _files(match, reach)}
        if not matching:
            raise UsageFault(f"no file below {root} matches the source {pattern!r}", remedy=_why_none(pattern))
        paths |= matching
    if len(paths) > SOURCE_FILES_MAX:
        raise UsageFault(f"{len(paths)} input files", remedy=f"declare at most {SOURCE_FILES_MAX} in [build] sources")
    files, room = [], SOURCE_BYTES_MAX
    for path in sorted(paths):
        files.append(_read(root, path, room))
        room -= len(files[-1].data)
    return tuple(files)


def write(files: Iterable[SourceFile], folder: Path, epoch_s: int, *, backwards: bool = False) -> None:
    """Write `files` below `folder`, modified at `epoch_s` (seconds since 1970); `backwards`: the last one first.

    Raises `StorageError`.
    """
    try:
        for file in sorted(files, key=lambda file: file.path, reverse=backwards):
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)
            path.chmod(0o755 if file.executable else 0o644)
            os.utime(path, (epoch_s, epoch_s))
    except OSError as error:
        raise _no_room(folder, error) from error


def listed_otherwise(one: Path, other: Path) -> bool:
    """Whether some folder below `one` and its twin below `other` list the same names in another order.

    A file system decides that, some by the time of creation, others by a hash of the name, which is the same in both.
    """
    for folder, _, _ in os.walk(one):
        names, twins = os.listdir(folder), os.listdir(other / Path(folder).relative_to(one))  # noqa: PTH208  # unsorted
        if names != twins and sorted(names) == sorted(twins):
            return True
    return False


def outputs(folder: Path) -> dict[str, bytes]:
    """All files that a build left in `folder`, by path. Raises `UnitFailed` for links, devices and too many bytes."""
    found: dict[str, bytes] = {}
    room = OUTPUT_BYTES_MAX
    try:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            room -= status.st_size
            if not stat.S_ISREG(status.st_mode) or room < 0:
                what = "is no ordinary file" if room >= 0 else f"goes beyond {OUTPUT_BYTES_MAX} bytes"
                raise UnitFailed(f"output {name} of the build {what}", remedy="correct the build")
            found[name] = path.read_bytes()
    except OSError as error:
        raise _no_room(folder, error) from error
    return found


def _why_none(pattern: str) -> str:
    named = sorted(NEVER.intersection(pattern.split("/")))
    return f"leave it out: {named[0]} is never an input" if named else "correct [build] sources"


@dataclass(frozen=True)
class _Reach:
    """What a pattern, in its `parts`, can mean below `root`; nothing in the folders `outside`."""

    root: Path
    parts: tuple[str, ...]
    outside: frozenset[Path]
    is_result: Callable[[Path], bool]

    def leaves_out(self, path: Path) -> bool:
        """Whether `path` is no input: by its own name, by its place, or as a result that the pattern does not name."""
        inside = path.relative_to(self.root)
        if path.name in NEVER or (path.name in IGNORED and path.name not in self.parts):
            return True
        if self.root.resolve() / inside in self.outside:
            return True
        return self.parts[: len(inside.parts)] != inside.parts and self.is_result(path)


def _files(match: Path, reach: _Reach) -> list[Path]:
    """What `match` of the pattern means: itself, or all files below it, but for what is no input."""
    inside = match.relative_to(reach.root).parts
    if any(reach.leaves_out(reach.root.joinpath(*inside[: at + 1])) for at in range(len(inside))):
        return []
    if match.is_symlink():
        raise UsageFault(f"the input {match} is a symbolic link", remedy="declare the file itself")
    if match.is_file():
        return [match]
    found: list[Path] = []
    for folder, names, files in os.walk(match):
        here = Path(folder)
        names[:] = sorted(name for name in names if not reach.leaves_out(here / name))
        found += [here / name for name in files if not name.endswith(".pyc")]
        linked = [name for name in names + files if (here / name).is_symlink()]
        if linked:
            raise UsageFault(f"the input {here / linked[0]} is a symbolic link", remedy="declare the file itself")
    return found


def _is_result(folder: Path) -> bool:
    """Whether a verb left `folder` as its result; what cannot be read is none."""
    for name, word in RESULTS.items():
        path = folder / name
        with suppress(OSError):
            if path.is_file() and word in path.read_bytes()[:RESULT_FILE_BYTES_MAX] and (word or _has_both(folder)):
                return True
    return False


def _has_both(folder: Path) -> bool:
    """Two builds, or an attested one and another, side by side."""
    pairs = (("first", "attested"), ("second", "rebuilt"))
    return all(any((folder / name).is_dir() for name in pair) for pair in pairs)


def _read(root: Path, path: Path, room: int) -> SourceFile:
    name = path.relative_to(root).as_posix()
    try:
        status = path.stat()
        if status.st_size > room:
            raise UsageFault(f"the inputs are more than {SOURCE_BYTES_MAX} bytes", remedy="declare fewer sources")
        return SourceFile(name, bool(status.st_mode & stat.S_IXUSR), path.read_bytes())
    except OSError as error:
        raise StorageError(f"the input {path} cannot be read: {error.strerror}", remedy="check the file") from error


def _no_room(folder: Path, error: OSError) -> StorageError:
    return StorageError(f"{folder} cannot be used: {error.strerror}", remedy="free disk space, or set TMPDIR")
