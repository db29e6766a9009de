# SPDX-License-Identifier: Apache-2.0
"""What a new project needs of this project's own repository: firmware, boards and tests, wherever this assay has them.

An installed assay has them inside (`assay/kit`, put there when the wheel is built); one that runs from a checkout takes
them from there.
Guards: what is missing is told before anything is written. Leaves to others: what becomes of the files.
"""

from __future__ import annotations

from pathlib import Path

import assay
from assay.errors import StorageError, ToolMissing

KIT = (
    "boards/ast1030-evb.toml",
    "boards/rv32-virt.toml",
    "firmware/app",
    "firmware/bootloader",
    "firmware/build.py",
    "firmware/core",
    "firmware/crypto",
    "firmware/port",
    "firmware/rom",
    "suites/demo-sensor",
)
"""Files and folders, as they lie in the repository and in `assay/kit`; pyproject.toml names the same."""

FILE_BYTES_MAX = 4 * 1024 * 1024


def kit_files() -> dict[str, tuple[bytes, bool]]:
    """Every file of the kit by its path: its bytes, and whether it may be run. Raises `ToolMissing`."""
    package = Path(assay.__file__).parent
    for folder in (package / "kit", package.parents[1]):
        if all((folder / name).exists() for name in KIT):
            return _read(folder)
    raise ToolMissing(
        "this assay has no firmware to start a project from: neither in its package nor in a checkout around it",
        remedy="install assay from its wheel, or run it from a checkout of its repository",
    )


def _read(folder: Path) -> dict[str, tuple[bytes, bool]]:
    found = {}
    try:
        for name in KIT:
            path = folder / name
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and "__pycache__" not in file.parts and file.stat().st_size <= FILE_BYTES_MAX:
                    mode = file.stat().st_mode
                    found[file.relative_to(folder).as_posix()] = (file.read_bytes(), bool(mode & 0o100))
    except OSError as error:
        raise StorageError(
            f"{error.filename} cannot be read: {error.strerror}", remedy="install assay again"
        ) from error
    return found
