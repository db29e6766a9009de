# SPDX-License-Identifier: Apache-2.0
"""A suite: a folder with tests, the digest of what is in it, and a copy of just that for the run.

Guards: what is run is what was digested: the tests get a copy of those bytes and of nothing else; a link out of the
folder is refused, since what it points to is not in the digest.
Leaves to others: the digest itself (`stages.hil.suite_digest`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assay.errors import StorageError, UsageFault

SUITE_BYTES_MAX = 256 << 20
"""A suite is tests and their data; a folder larger than this is some other folder."""
_MADE_BY_PYTHON = ("__pycache__", ".pytest_cache")
_EXECUTABLE = 0o100


@dataclass(frozen=True)
class Suite:
    """The files of a suite by path, and which of them can be executed."""

    name: str
    files: dict[str, bytes]
    executable: frozenset[str]

    @property
    def sha256(self) -> str:
        """The suite's digest."""
        from assay.stages.hil.suite_digest import suite_sha256

        return suite_sha256(self.files)

    def copy_to(self, folder: Path) -> None:
        """Write the files below `folder`, which must not be there. Raises StorageError."""
        try:
            folder.mkdir(parents=True)
            for name, data in self.files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                path.chmod(0o755 if name in self.executable else 0o644)
        except OSError as error:
            remedy = "give a results folder that can be written, with room on its disk"
            raise StorageError(f"{error.filename}: {error.strerror}", remedy=remedy) from error


def read_suite(folder: Path) -> Suite:
    """The suite in `folder`. Raises UsageFault when it is no suite, StorageError when it cannot be read."""
    if not folder.is_dir():
        raise UsageFault(f"no suite at {folder}", remedy="name a folder with test_*.py files")
    total, files, executable = 0, {}, set()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(part in _MADE_BY_PYTHON for part in name.split("/")) or (path.is_dir() and not path.is_symlink()):
            continue
        size, mode = _check(path, name)
        total += size
        if total > SUITE_BYTES_MAX:
            raise UsageFault(f"{folder} has more than {SUITE_BYTES_MAX} bytes", remedy="name the folder of one suite")
        files[name] = _read(path)
        if mode & _EXECUTABLE:
            executable.add(name)
    return Suite(folder.absolute().name, files, frozenset(executable))


def _check(path: Path, name: str) -> tuple[int, int]:
    if path.is_symlink() or not path.is_file():
        raise UsageFault(f"{path} is a link or no plain file", remedy="a suite holds its files itself")
    if "\n" in name or "\\" in name:
        raise UsageFault(f"{name!r} in the suite cannot be written in a list of digests", remedy="rename it")
    found = path.stat()
    return found.st_size, found.st_mode


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", remedy="make the suite readable") from error
