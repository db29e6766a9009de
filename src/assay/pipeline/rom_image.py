# SPDX-License-Identifier: Apache-2.0
"""The mask ROM of a board, for its twin: built like any module, and kept in the site's cache.

Guards: a twin starts with the ROM of the sources that are there now; unchanged sources cost no build.
Leaves to others: building (`pipeline.module_build`), starting the twin (`drivers.twin`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from assay.backends.stores.result_folder import read_result
from assay.errors import UnitFailed
from assay.pipeline.build_recipe import BuildRequest
from assay.pipeline.manifest_files import project_root
from assay.pipeline.module_build import build_module
from assay.pipeline.site import Site

ROM_MODULE = Path("firmware/rom/module.toml")
ROM_FILE = "part.elf"
"""What QEMU loads."""


def rom_for(site: Site, board: str, start: Path | None = None, say: Callable[[str], None] | None = None) -> Path:
    """The ROM of `board` as `<site>/cache/rom/<board>/part.elf`, built if needed from the project at or above `start`
    (default: the current folder). Raises `UnitFailed`, `UsageFault`, `ToolMissing`.
    """
    root = project_root(start or Path.cwd())
    out = site.cache_dir / "rom" / board
    build_module(BuildRequest(root / ROM_MODULE, board), site, out, say or (lambda _line: None))
    if not read_result(out, ROM_FILE):
        raise UnitFailed(f"the ROM of {board} is empty", remedy="correct its build")
    return out / ROM_FILE
