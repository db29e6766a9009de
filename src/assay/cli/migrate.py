# SPDX-License-Identifier: Apache-2.0
"""`assay migrate`: bring manifests to the newest version of their format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.session import Answer, Session, verb
from assay.errors import UsageFault

if TYPE_CHECKING:
    from assay.pipeline.migration import Migration


@click.command()
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1)
@click.option("--dry-run", is_flag=True, help="Show the plan, and write nothing.")
@verb
def command(_session: Session, paths: tuple[Path, ...], dry_run: bool) -> Answer:
    """Bring the manifests at or below PATHS (the project around here without any) to the newest version.

    Comments and order stay. Nothing is written unless all files can be read; each is replaced whole. Older versions
    are read in any case: who shares files with an older assay need not migrate. What assay wrote and signed keeps its
    version.
    """
    from assay.pipeline.manifest_files import project_root
    from assay.pipeline.migration import migrate, plan_migration

    plan = plan_migration(paths or (project_root(Path.cwd()),))
    if not plan:
        where = ", ".join(str(path) for path in paths) or str(project_root(Path.cwd()))
        raise UsageFault(f"there is no manifest of assay in {where}", remedy="name the project's folder, or its files")
    wanted = [each for each in plan if each.is_needed]
    if not dry_run:
        migrate(plan)
    lines = [line for each in wanted for line in _lines(each)]
    current = len(plan) - len(wanted)
    done = "to migrate" if dry_run else "migrated"
    lines.append(f"{len(wanted)} {done}, {current} already of the newest version")
    files = [{"file": str(each.path), "from": each.found, "to": each.newest, "why": _why(each)} for each in wanted]
    return Answer("\n".join(lines), {"written": not dry_run, "files": files, "current": current})


def _lines(each: Migration) -> list[str]:
    return [f"{each.path}: {each.found} to {each.newest}", *(f"  {why}" for why in _why(each))]


def _why(each: Migration) -> list[str]:
    return [step.why for step in each.steps]
