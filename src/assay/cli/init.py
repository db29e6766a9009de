# SPDX-License-Identifier: Apache-2.0
"""`assay init`: a new project that builds, passes its tests and runs on an emulated board."""

from __future__ import annotations

import re
from pathlib import Path

import click

from assay.cli.session import Answer, Session, verb
from assay.errors import UsageFault

BOARDS = ("ast1030-evb", "rv32-virt")
"""`pipeline.project_start.BOARDS`, written out so that `--help` imports nothing; a test holds them together."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", help="Of the module [default: the folder's].")
@click.option("--board", type=click.Choice(BOARDS), default="rv32-virt", show_default=True, help="An emulated board.")
@verb
def command(_session: Session, folder: Path, name: str | None, board: str) -> Answer:
    """Put a new project into FOLDER: a module with its tests, a bootloader, a board, and a pipeline that tries it all.

    What it takes of assay's own firmware comes with assay; no repository and no network is needed.
    """
    from assay.model.identifiers import NAME_PATTERN
    from assay.pipeline.project_start import start_project

    module = name or folder.absolute().name
    if name is None and not re.fullmatch(NAME_PATTERN, module):
        text = f"{module[:80]!r} cannot be the name of a module"
        raise UsageFault(text, remedy="give it one with --name: 1 to 63 lower-case letters, digits and '-'")
    files = start_project(folder, module, board)
    text = "\n".join(
        (
            f"{folder}: {module} for {board}, {len(files)} files",
            "  build it, and run its tests on an emulated board (less than a minute):",
            *([] if folder.absolute() == Path.cwd() else [f"    cd {folder}"]),
            "    assay run pipelines/try.toml",
        )
    )
    return Answer(text, {"folder": str(folder), "module": module, "board": board, "files": list(files)})
