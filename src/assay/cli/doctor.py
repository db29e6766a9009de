# SPDX-License-Identifier: Apache-2.0
"""`assay doctor`: what this machine lacks, and the line that installs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.session import Answer, Session, verb
from assay.errors import ExitStatus, UsageFault

if TYPE_CHECKING:
    from assay.pipeline.host_checks import Finding

COLOURS = {"ok": "green", "advice": "yellow", "missing": "red"}


def _root() -> Path | None:
    from assay.pipeline.manifest_files import project_root

    try:
        return project_root(Path.cwd())
    except UsageFault:
        return None


def _line(finding: Finding, width: int) -> str:
    word = click.style(f"{finding.state.value:7}", fg=COLOURS[finding.state.value])
    fix = f"\n{' ' * (width + 10)}next: {finding.fix}" if finding.fix and finding.state.value != "ok" else ""
    return f"{word}  {finding.name:{width}} {finding.detail}{fix}"


@click.command()
@click.option(
    "--fix-line", "only_fix", is_flag=True, help="Print only the line that mends it; nothing when all is well."
)
@verb
def command(session: Session, only_fix: bool) -> Answer:
    """Look at this machine: what is missing for the main job, and the line that installs it.

    Status 0 when nothing is missing (advice may be given), else 3.
    """
    from assay.pipeline.host_checks import State, fix_line, look

    findings = look(_root(), session.site_dir)
    missing = [finding for finding in findings if finding.state is State.MISSING]
    status = ExitStatus.ERROR if missing else ExitStatus.PASS
    line = fix_line(findings)
    data = {
        "findings": [
            {"name": each.name, "state": each.state.value, "detail": each.detail, "fix": each.fix} for each in findings
        ],
        "fix_line": line,
    }
    if only_fix:
        return Answer(line, data, status)
    width = max(len(finding.name) for finding in findings)
    text = [_line(finding, width) for finding in findings]
    text.append(f"{len(missing)} missing" if missing else "nothing is missing")
    return Answer("\n".join([*text, *([f"all in one line: {line}"] if line else [])]), data, status)
