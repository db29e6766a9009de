# SPDX-License-Identifier: Apache-2.0
"""A site on a disk of its own, which a test may fill up or make read-only: also for root, and without being root.

The disk is a tmpfs in user and mount namespaces of their own, held by a process that ends with the block; verbs are
started in there. Temporary files go to that disk too, so that nothing has room elsewhere.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from life_site import LIVE, ROOT, LifeSite

BALLAST = "ballast"
BLOCK_B = 4096


def boxes_work() -> bool:
    """Whether this machine lets us make such a disk."""
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(probe, capture_output=True).returncode == 0


@dataclass(frozen=True)
class BoxedSite(LifeSite):
    """A `LifeSite` whose verbs run where its disk is; `holder` is the process that keeps the disk."""

    holder: int

    @property
    def outside(self) -> Path:
        """The site's folder as this process sees it."""
        return Path(f"/proc/{self.holder}/root{self.folder}")

    def inside(self, *command: str) -> list[str]:
        """`command`, run where the disk is."""
        return ["nsenter", "-U", "-m", "--preserve-credentials", "-t", str(self.holder), "--", *command]

    def command(self, *arguments: str | Path) -> list[str]:
        return self.inside("env", "-C", str(ROOT), f"TMPDIR={self.folder}/tmp", *super().command(*arguments))

    def fill(self, free_kib: int) -> None:
        """Leave `free_kib` KiB of the disk."""
        ballast = self.outside / BALLAST
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(BLOCK_B))
            except OSError as error:
                assert error.errno == errno.ENOSPC
            file.truncate(max(0, ballast.stat().st_size - free_kib * 1024))

    def make_room(self) -> None:
        """The disk has room again."""
        (self.outside / BALLAST).unlink()

    def read_only(self, folder: str, *, on: bool = True) -> None:
        """Make a folder of the site read-only, or writable again."""
        path = str(self.folder / folder)
        steps = (
            [["mount", "--bind", path, path], ["mount", "-o", "remount,bind,ro", path]] if on else [["umount", path]]
        )
        for step in steps:
            subprocess.run(self.inside(*step), check=True, capture_output=True)


@contextmanager
def boxed(site: LifeSite, size_mib: int = 48) -> Iterator[BoxedSite]:
    """A copy of `site`, in the same place, on a disk of `size_mib` MiB that ends with the block."""
    folder = str(site.folder)
    script = 'mount -t tmpfs -o size="$1" none "$2" && mkdir "$2/tmp" && echo ready && exec cat'
    line = ["unshare", "-rm", "sh", "-c", script, "box", f"{size_mib}m", folder]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        box = BoxedSite(site.folder, site.board, holder.pid)
        shutil.copytree(site.folder, box.outside, symlinks=True, dirs_exist_ok=True, ignore=LIVE)
        yield box
