# SPDX-License-Identifier: Apache-2.0
"""What a campaign needs around it: trust, the mask ROM, QEMU, twins at the same time, and room for their flash files.

Guards: flash files lie in a folder that is gone with the campaign, however it ends; what a process that was killed left
behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import InfrastructureError, StorageError, ToolMissing, UsageFault
from assay.pipeline.powercut_order import JOBS_MAX, CutOrder

if TYPE_CHECKING:
    from assay.model.board import Board
    from assay.model.powercut import CutPlan
    from assay.model.trust import TrustFile
    from assay.pipeline.site import Site

MEMORY = Path("/dev/shm")  # noqa: S108 (a folder of our own is made in it, with a name that nobody can guess)
PREFIX = "assay-powercut-"
LOCK = "lock"
"""File in the folder that its campaign holds a lock on, for as long as it lives."""
UNLOCKED_S = 60.0
"""A folder without that file, and older than this, is nobody's."""
SPARE_FILES = 3
"""Flash files besides those of the workers: of the recording, of the bricks, and one to spare."""
TRACE_BYTES = 256 * 1024 * 1024
"""Of a recording's trace, at most: a swap of 64 KB has 15 MB. In containers /dev/shm often has 64 MB in all."""
QEMU_VERSION_TIMEOUT_S = 20.0


def trust_of(order: CutOrder) -> TrustFile | None:
    """The trust file, if one is named. Raises ManifestFault."""
    from assay.pipeline.trust_file import load_trust

    return load_trust(order.trust) if order.trust is not None else None


def rom_of(site: Site, order: CutOrder, plan: CutPlan, board: Board, say: Callable[[str], None]) -> Path:
    """The mask ROM: named, or built. Raises UsageFault, what building raises."""
    given = order.rom or (order.plan.parent / plan.rom if plan.rom else None)
    if given is None:
        from assay.pipeline.rom_image import rom_for

        return rom_for(site, board.name, order.plan.absolute().parent, say)
    if not given.is_file():
        raise UsageFault(f"no mask ROM at {given}", remedy="give the ELF that the ROM's build wrote")
    return given.absolute()


def copied(rom: Path, folder: Path) -> Path:
    """The ROM as a file that nobody else changes. Raises StorageError."""
    try:
        return Path(shutil.copyfile(rom, folder / "rom.elf"))
    except OSError as error:
        raise StorageError(f"cannot copy {rom} to {folder}: {error.strerror}", remedy="free space there") from error


def jobs_of(order: CutOrder) -> int:
    """As ordered, else one and a half twins for each core: some of a boot is waiting."""
    cores = len(os.sched_getaffinity(0))
    return order.jobs or max(1, min(JOBS_MAX, cores + cores // 2))


def emulator_of(board: Board) -> str:
    """QEMU's version, in its own words. Raises ToolMissing, InfrastructureError when it cannot be asked."""
    assert board.twin is not None
    try:
        done = subprocess.run(
            [board.twin.qemu, "--version"], capture_output=True, text=True, timeout=QEMU_VERSION_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise ToolMissing(
            f"{board.twin.qemu} is not installed", remedy=f"sudo apt-get install -y {board.twin.package}"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfrastructureError(
            f"{board.twin.qemu} does not say its version: {error}", remedy=f"see what {board.twin.qemu} --version does"
        ) from error
    return done.stdout.partition("\n")[0]


@contextlib.contextmanager
def in_memory(board: Board, jobs: int) -> Iterator[Path]:
    """A folder for flash files, in memory where there is enough; those of processes that were killed are removed."""
    need = (jobs + SPARE_FILES) * board.flash.size + TRACE_BYTES
    root = MEMORY if _has_room(MEMORY, need) else Path(tempfile.gettempdir())
    for each in (MEMORY, Path(tempfile.gettempdir())):
        _sweep(each)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=root))
    except OSError as error:
        raise StorageError(f"cannot make a folder in {root}: {error.strerror}", remedy="set TMPDIR") from error
    try:
        with (folder / LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _has_room(root: Path, need: int) -> bool:
    return os.access(root, os.W_OK) and shutil.disk_usage(root).free >= need


def _sweep(root: Path) -> None:
    """By the lock, and not by a process id: /dev/shm may be shared with processes that cannot be seen from here."""
    for folder in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # its campaign ends at this very moment, or has it, or it is not ours
            if folder.lstat().st_uid == os.getuid() and not _in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _in_use(folder: Path) -> bool:
    """Whether somebody holds its lock, or has made it just now and not locked it yet."""
    if not (folder / LOCK).exists():
        return time.time() - folder.lstat().st_mtime < UNLOCKED_S
    with (folder / LOCK).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
