# SPDX-License-Identifier: Apache-2.0
"""A suite: a folder with tests, and the digest of what is in it.

Guards: the digest is taken over every file that a test could be made of; a link out of the folder is refused, since
what it points to is not in the digest.
Leaves to others: the digest itself (`stages.hil.suite_digest`).
"""

from __future__ import annotations

from pathlib import Path

from assay.errors import StorageError, UsageFault

SUITE_BYTES_MAX = 256 << 20
"""A suite is tests and their data; a folder larger than this is some other folder."""
_NOT_TESTS = ("__pycache__", ".pytest_cache")


def suite_digest(folder: Path) -> str:
    """SHA-256 of the suite in `folder`. Raises UsageFault when it is no suite, StorageError when it cannot be read."""
    from assay.stages.hil.suite_digest import suite_sha256

    if not folder.is_dir():
        raise UsageFault(f"no suite at {folder}", remedy="name a folder with test_*.py files")
    total, files = 0, {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not _counts(path, name):
            continue
        total += _check(path, name)
        if total > SUITE_BYTES_MAX:
            raise UsageFault(f"{folder} has more than {SUITE_BYTES_MAX} bytes", remedy="name the folder of one suite")
        files[name] = _read(path)
    return suite_sha256(files)


def _counts(path: Path, name: str) -> bool:
    made_by_python = any(part in _NOT_TESTS for part in name.split("/"))
    return not made_by_python and (path.is_symlink() or not path.is_dir())


def _check(path: Path, name: str) -> int:
    if path.is_symlink() or not path.is_file():
        raise UsageFault(f"{path} is a link or no plain file", remedy="a suite holds its files itself")
    if "\n" in name or "\\" in name:
        raise UsageFault(f"{name!r} in the suite cannot be written in a list of digests", remedy="rename it")
    return path.stat().st_size


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", remedy="make the suite readable") from error
