# SPDX-License-Identifier: Apache-2.0
"""`assay run`: a pipeline of verbs, from the first step to the last, or to the first one that is not as expected."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from assay.cli.session import Answer, Session, verb
from assay.errors import UsageFault

if TYPE_CHECKING:
    from assay.pipeline.engine import Order
    from assay.pipeline.engine_events import RunResult


def _writer(stream: IO[str]) -> Callable[[str], None]:
    """Lines to `stream`, for as long as somebody reads it: a pipeline does not stop because a pager did."""
    gone: list[OSError] = []

    def write(line: str) -> None:
        if not gone:
            try:
                click.echo(line, file=stream)
            except OSError as error:
                gone.append(error)

    return write


def _order(file: Path, chosen: tuple[str, ...], results: Path | None, *, fresh: bool) -> Order:
    from assay.pipeline.engine import Order
    from assay.pipeline.manifest_files import load_pipeline, project_root

    pairs = {}
    for text in chosen:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageFault(f"--set {text!r} has no value", remedy="write --set NAME=VALUE")
        pairs[name] = value
    path = file.absolute()
    return Order(path, load_pipeline(file), project_root(path.parent), pairs, results, fresh)


def _dry_run(order: Order) -> Answer:
    """The steps as they would be typed; what only a run knows stays in braces."""
    from assay.pipeline.variables import BUILT_IN, check, expand, start_values
    from assay.pipeline.verb_process import command_line

    check(order.pipeline)
    values = start_values(order.pipeline, {name: f"{{{name}}}" for name in BUILT_IN}, order.chosen)
    steps: list[dict[str, Any]] = []
    for step in order.pipeline.steps:
        words = tuple(expand(word, values) for word in step.run)
        typed = command_line(words, expand(step.stdout, values) if step.stdout else None)
        steps.append({"name": step.name, "title": expand(step.title, values), "command": typed, "expect": step.expect})
        values |= {name: f"{{{name}}}" for name in step.capture}
    width = len(str(len(steps)))
    lines = [
        f"[{number:>{width}}/{len(steps)}] {step['title']}\n        $ {step['command']}"
        + ("" if step["expect"] == "PASS" else "\n        has to FAIL")
        for number, step in enumerate(steps, 1)
    ]
    return Answer("\n".join(lines), {"pipeline": order.pipeline.name, "steps": steps})


def _document(result: RunResult, root: Path) -> dict[str, Any]:
    where = result.results
    return {
        "pipeline": result.pipeline,
        "run": result.run,
        "results": str(where.relative_to(root)) if where.is_relative_to(root) else str(where),
        "duration_s": round(result.duration_s, 3),
        "variables": {name: value for name, value in result.variables.items() if name != "pid"},
        "steps": [
            {
                "name": step.name,
                "title": step.title,
                "command": step.command,
                "outcome": step.outcome.value,
                "status": int(step.status),
                "duration_s": round(step.duration_s, 3),
                "captured": step.captured,
                **({"error": step.message, "remedy": step.remedy} if step.message else {}),
            }
            for step in result.steps
        ],
    }


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--set", "chosen", multiple=True, metavar="NAME=VALUE", help="Give a variable of the pipeline a value.")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), help="Folder for the results [build/...].")
@click.option("--dry-run", is_flag=True, help="Print the steps, and do nothing.")
@click.option("--fresh", is_flag=True, help="Begin anew, also when an earlier run was interrupted.")
@verb
def command(
    session: Session, pipeline: Path, chosen: tuple[str, ...], results: Path | None, dry_run: bool, fresh: bool
) -> Answer:
    """Run the steps of the file PIPELINE in order; each is an ordinary assay command.

    It stops at the first step whose outcome is not the expected one, with that step's status. Interrupted and started
    again it goes on after the last step that is done.
    """
    from assay.cli.run_view import choose_view, summary
    from assay.pipeline.engine import Engine
    from assay.pipeline.run_results import write_summary

    order = _order(pipeline, chosen, results, fresh=fresh)
    if dry_run:
        return _dry_run(order)
    stream = sys.stderr if session.json else sys.stdout
    with choose_view(stream, _writer(stream)) as tell:
        result = Engine(session.site, order, tell).run()
    document = _document(result, order.root)
    write_summary(result.results, {"schema": "assay.summary/1", "status": int(result.status), **document})
    return Answer(summary(result, order.root), document, result.status)
