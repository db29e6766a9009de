# SPDX-License-Identifier: Apache-2.0
"""Compiler caches: one for each of the two builds, and for each state of the source tree, tools, builder and
parameters.

Guards: the two builds of a pair never share a cache, so what one left there cannot make the other agree with it; and a
build can only meet what a build of the same left, by the same builder (`stages.build.inputs`). Two verbs at once do not
share one either.
Leaves to others: what compilers keep there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

LANES_KEPT = 6
"""Caches that are kept: bootloader, app and ROM for two boards. Those of a board are about 100 MB each at most."""


@contextlib.contextmanager
def lanes(root: Path, key: str, spare: Path) -> Iterator[tuple[Path, Path]]:
    """Two cache folders for builds named by `key`; below `spare` when another verb uses those. Raises `OSError`."""
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        folder = root / key if _taken(descriptor) else spare
        pair = folder / "1", folder / "2"
        for lane in pair:
            lane.mkdir(parents=True, exist_ok=True)
        if folder != spare:
            os.utime(folder)
            _drop_old(root)
        yield pair
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _drop_old(root: Path) -> None:
    """Remove the caches used longest ago, unless somebody uses them."""
    newest_first = sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime)
    for folder in newest_first[LANES_KEPT:]:
        lock = root / f"{folder.name}.lock"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _taken(descriptor):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)
