# SPDX-License-Identifier: Apache-2.0
"""`assay bench top`: every place on one page, as it is now."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.columns import in_columns
from assay.cli.session import Answer, Session, verb
from assay.errors import Interrupted, ToolMissing, UsageFault

if TYPE_CHECKING:
    from assay.pipeline.bench_watch import BenchWatch, PlaceNow

REFRESH_S = 1.0
LISTEN_S = 1.5  # with --once: lines that come in so long are shown


@click.command()
@click.option("--once", is_flag=True, help="Print the page once, after listening for 1.5 s (always so with --json).")
@click.option("--every", "every_s", type=click.FloatRange(min=0.2, max=60), default=REFRESH_S, help="Seconds.")
@click.option("--bench", type=click.Path(path_type=Path, dir_okay=False), help="The bench file [default: bench.toml].")
@verb
def top(session: Session, once: bool, every_s: float, bench: Path | None) -> Answer:
    """Show every place: who has it, what runs there, its last lines. Opens no port and takes no lock.

    Keys: s sorts, / filters, Esc shows all again, q quits. NO_COLOR is kept to.
    """
    from assay.cli.bench import bench_rows
    from assay.pipeline.bench_watch import BenchWatch

    watch = BenchWatch(session.site, lambda: bench_rows(session, bench))
    bench_rows(session, bench)  # a bench file that is wrong is an error, and no empty page
    try:
        if once or session.json:
            return _once(watch)
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageFault("this is a page for a terminal", remedy="add --once, or --json")
        try:
            from assay.cli.top_page import TopPage
        except ModuleNotFoundError as error:
            raise ToolMissing("the package textual is not installed", remedy="pip install 'assay[top]'") from error
        page = TopPage(watch, every_s)
        page.run()
        if page.stopped_by is not None:
            raise Interrupted(page.stopped_by)
    finally:
        watch.close()
    return Answer("")


def _once(watch: BenchWatch) -> Answer:
    import time

    rows, steps = watch.look()
    end_s = time.monotonic() + LISTEN_S
    while time.monotonic() < end_s:
        watch.listen(rows)
        time.sleep(0.05)
    rows, steps = watch.look()
    found = [watch.now(row, steps) for row in rows]
    lines = _lines(found) or ["no places: assay bench scan"]
    data = [
        {**asdict(place.row), "runs": place.runs, "quarantine": place.quarantine, "lines": list(place.lines)}
        for place in found
    ]
    return Answer("\n".join(lines), {"places": data, "fault": watch.fault})


def _lines(found: list[PlaceNow]) -> list[str]:
    """Of each place a line, and under it what it said last."""
    rows = [(place.row.name, place.row.state, place.row.user or "free", place.runs) for place in found]
    lines: list[str] = []
    for place, first in zip(found, in_columns(rows), strict=True):
        lines += [first, *(f"  | {line}" for line in place.lines[-3:])]
    return lines
