# SPDX-License-Identifier: Apache-2.0
"""Folders that a verb leaves as its result: they appear whole or not at all, and never replace anything else.

Guards: a folder is replaced only when it is a result of the same kind (it holds `marker`) or empty; a crash leaves the
old result or none, never a mixture. Leaves to others: what the files mean.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from assay.backends.durable_file import TEMPORARY, make_folder, sync_folder, write_durably
from assay.errors import NotVerified, StorageError, UsageFault

RESULT_FILE_BYTES_MAX = 128 * 1024 * 1024
"""Bytes of one file of a result, as of a build's outputs."""

REPLACE_ATTEMPTS = 10
"""Tries to take the place of a result that others replace at the same time."""


def write_result(folder: Path, files: Mapping[str, bytes], marker: str) -> None:
    """`files` (by path) become the content of `folder`. Raises `UsageFault`, `StorageError`."""
    check_replaceable(folder, marker)
    unfinished = folder.parent / f"{TEMPORARY}{folder.name}-{owner()}"
    try:
        remove_leftovers(folder.parent, f"{TEMPORARY}{folder.name}-")
        if _same(folder, files):
            return
        _write_beside(unfinished, files)
        _put_in_place(unfinished, folder)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {error.strerror}", remedy="free disk space, check it"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_result(folder: Path, name: str) -> bytes:
    """The file `name` of a result. Raises `UsageFault` when it is not there, `NotVerified` for what is no file."""
    path = folder / name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > RESULT_FILE_BYTES_MAX:
                raise NotVerified(f"{path} is no ordinary file of a result", remedy="make the result again")
            return file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageFault(f"there is no {path}", remedy="name a folder that the step before has made") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="check the file") from error


def check_replaceable(folder: Path, marker: str) -> None:
    """Whether a result may come to be at `folder`, for who wants to know before the work. Raises `UsageFault`."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageFault(f"{folder} is no folder", remedy="name another folder with --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / marker).is_file():
        raise UsageFault(f"{folder} holds something else than a result", remedy="name another folder with --out")


def _same(folder: Path, files: Mapping[str, bytes]) -> bool:
    if not folder.is_dir():
        return False
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return present == set(files) and all((folder / name).read_bytes() == data for name, data in files.items())


def _write_beside(unfinished: Path, files: Mapping[str, bytes]) -> None:
    shutil.rmtree(unfinished, ignore_errors=True)
    make_folder(unfinished)
    for name, data in files.items():
        path = unfinished / name
        make_folder(path.parent)
        write_durably(path, data)


def _put_in_place(unfinished: Path, folder: Path) -> None:
    replaced = unfinished.with_name(unfinished.name + "-old")
    for attempt in range(REPLACE_ATTEMPTS):
        shutil.rmtree(replaced, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(replaced)
        try:
            unfinished.rename(folder)
            break
        except OSError as error:
            # Another process put its result there in this moment.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt + 1 == REPLACE_ATTEMPTS:
                raise
    sync_folder(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def owner() -> str:
    """This process, for the name of what it removes itself: its id, and the namespace in which it has that id."""
    return f"{os.getpid()}-{_namespace()}"


def _namespace() -> int:
    with contextlib.suppress(OSError):
        return Path("/proc/self/ns/pid").stat().st_ino
    return 0  # a system without


def remove_leftovers(folder: Path, prefix: str) -> None:
    """Remove what processes that are gone left in `folder` as `<prefix><owner>...`; nobody here can tell whether one of
    another namespace (a container's, with the same folder) is gone.
    """
    ours = re.compile(rf"([0-9]+)-{_namespace()}(?:-|$)")
    for path in folder.glob(f"{prefix}*"):
        found = ours.match(path.name.removeprefix(prefix))
        if found and not Path(f"/proc/{found[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)
