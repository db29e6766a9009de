# SPDX-License-Identifier: Apache-2.0
"""A build on fewer processors than the machine has: by taskset (util-linux), so that `nproc` and compilers see fewer.

Guards: only processors that this process may use are named, and without taskset nobody claims that they were fewer.
"""

from __future__ import annotations

import os
import shutil

PROGRAM = "taskset"


def can_pin() -> bool:
    """Whether a build can be given fewer processors than another one."""
    return len(os.sched_getaffinity(0)) > 1 and shutil.which(PROGRAM) is not None


def pinned(cpus: int | None) -> list[str]:
    """Words before a command that then sees `cpus` processors; none where that cannot be, or all are wanted."""
    program = shutil.which(PROGRAM)
    if cpus is None or program is None or not can_pin():
        return []
    chosen = sorted(os.sched_getaffinity(0))[:cpus]
    return [program, "--cpu-list", ",".join(map(str, chosen))]
