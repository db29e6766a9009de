# SPDX-License-Identifier: Apache-2.0
"""The mask ROM of a board, for its twin: built like any module, and kept in the site's cache.

Guards: a twin starts with the ROM of the sources that are there now; unchanged sources cost no build.
Leaves to others: building (`pipeline.module_build`), starting the twin (`drivers.twin`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from assay.backends.stores.result_folder import read_result
from assay.errors import ToolMissing, UnitFailed
from assay.pipeline.build_recipe import BuildRequest
from assay.pipeline.manifest_files import board_file, load_board, project_root
from assay.pipeline.module_build import build_module
from assay.pipeline.site import Site

ROM_MODULE = Path("firmware/rom/module.toml")
ROM_FILE = "part.elf"
"""What QEMU loads."""


def _of_the_system(root: Path, board: str) -> Path | None:
    """The ROM of a board whose ROM is a file of a package. Raises `ToolMissing`."""
    twin = load_board(board_file(root, board)).twin
    if twin is None or twin.rom_file is None:
        return None
    if not Path(twin.rom_file).is_file():
        raise ToolMissing(f"{twin.rom_file} is not there", remedy=f"sudo apt-get install -y {twin.rom_package}")
    return Path(twin.rom_file)


def rom_for(site: Site, board: str, start: Path | None = None, say: Callable[[str], None] | None = None) -> Path:
    """The ROM of `board` as `<site>/cache/rom/<board>/part.elf`, built if needed from the project at or above `start`
    (default: the current folder). Raises `UnitFailed`, `UsageFault`, `ToolMissing`.
    """
    root = project_root(start or Path.cwd())
    if found := _of_the_system(root, board):
        return found
    out = site.cache_dir / "rom" / board
    build_module(BuildRequest(root / ROM_MODULE, board), site, out, say or (lambda _line: None))
    if not read_result(out, ROM_FILE):
        raise UnitFailed(f"the ROM of {board} is empty", remedy="correct its build")
    return out / ROM_FILE
