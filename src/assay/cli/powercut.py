# SPDX-License-Identifier: Apache-2.0
"""`assay twin powercut`: cut the power at every flash operation, and prove that no unit bricks."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.session import Answer, Session, verb

if TYPE_CHECKING:
    from assay.pipeline.powercut_campaign import Progress
    from assay.pipeline.powercut_order import CutAnswer

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
BRICKS_SHOWN_MAX = 5
LINE_EVERY_S = 30.0


@click.command(name="powercut", short_help="Cut the power at every flash operation of an update.")
@click.argument("plan", type=FILE)
@click.option("--trust", type=FILE, envvar="ASSAY_TRUST", help="The trust file, for releases [ASSAY_TRUST].")
@click.option("--results", type=FOLDER, help="Where report and bricks go [default: <site>/powercut/RUN].")
@click.option("--rom", type=FILE, help="ELF of the mask ROM [default: the plan's, else built].")
@click.option("--jobs", type=int, default=0, help="Twins at the same time [default: 1.5 for each core].")
@click.option("--sample", "size", type=int, metavar="N", help="Draw N first cuts [default: all].")
@click.option("--seed", type=int, help="Of the dice [default: the plan's].")
@click.option("--only", metavar="CUT", help="One cut again: EPISODE:OP:TEAR or EPISODE:OP:TEAR:OP/TEAR. No record.")
@click.option("--dry-run", is_flag=True, help="Record, and say what would be cut. No record.")
@verb
def command(session: Session, plan: Path, **options: Any) -> Answer:
    """Cut the power at every flash operation of the episodes in PLAN, and boot from what each cut leaves.

    Each episode (an upload, a swap, ...) is done once on a twin, whose flash operations are recorded to the byte. Then
    the flash is made as a cut before, in the middle of, and after each of them leaves it, and a twin is started from
    it: it has to come up with a verified image, and the update has to be completable. Second cuts are made in the
    recovery from the first.
    """
    from assay.pipeline.powercut_order import CutOrder
    from assay.pipeline.powercut_run import run_campaign

    order = CutOrder(plan=plan, **options)
    quiet = "CI" in os.environ
    with _bar(quiet) as progress:
        answer = run_campaign(session.site, order, say=_nothing if quiet else session.say, progress=progress)
    data = _data(answer)
    if order.dry_run:
        data |= {"dry_run": True, "outcome": None}  # nothing was cut, so nothing is proved
    return Answer(_text(answer, dry_run=order.dry_run), data, answer.status)


def _nothing(_line: str) -> None:
    """Progress in CI."""


@contextmanager
def _bar(quiet: bool) -> Iterator[Progress]:
    """A bar for each phase on a terminal, a line now and then elsewhere, nothing where `quiet`."""
    if quiet:
        yield lambda _what, _done, _total: None
        return
    if not sys.stderr.isatty():
        yield now_and_then(lambda line: click.echo(line, err=True), time.monotonic)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield progress


def now_and_then(say: Callable[[str], None], clock: Callable[[], float]) -> Progress:
    """Progress as lines, at most one in `LINE_EVERY_S`; `clock` gives seconds."""
    told_s = clock()

    def progress(what: str, done: int, total: int) -> None:
        nonlocal told_s
        if (now_s := clock()) - told_s >= LINE_EVERY_S:
            told_s = now_s
            say(f"{what}: {done} of {total}")

    return progress


def _data(answer: CutAnswer) -> dict[str, Any]:
    record = answer.record
    return {
        "outcome": answer.outcome.value,
        "reason": answer.reason,
        "plan": answer.plan.name,
        "board": answer.plan.board,
        "seed": answer.seed,
        "planned": {
            name: {"operations": operations, "cuts": cuts} for name, (operations, cuts) in answer.planned.items()
        },
        "cuts": sum(episode.cuts for episode in answer.episodes),
        "second_cuts": sum(episode.second_cuts for episode in answer.episodes),
        "completed": sum(episode.completed for episode in answer.episodes),
        "elapsed_s": round(answer.elapsed_s, 3),
        "first_cuts_s": round(answer.first_cuts_s, 3),
        "episodes": [episode.model_dump(mode="json") for episode in answer.episodes],
        "bricks": [brick.model_dump(mode="json") for brick in answer.bricks],
        "faults": list(answer.faults),
        "results": str(answer.results) if answer.results else None,
        "record_type": record.entry.type.value if record else None,
        "record": record.entry.record if record else None,
        "log_index": record.index if record else None,
    }


def _text(answer: CutAnswer, *, dry_run: bool) -> str:
    if dry_run:
        return _planned(answer)
    lines = [f"{answer.outcome} {answer.plan.name} on {answer.plan.board} (emulated), seed {answer.seed}"]
    lines[0] += f": {answer.reason}" if answer.reason else ""
    lines.append(
        f"  {'episode':<14}{'operations':>11}{'cuts':>8}{'again':>7}{'completed':>11}{'bricks':>8}  came up as"
    )
    for row in answer.episodes:
        came_up = ", ".join(f"{word} {count}" for word, count in row.came_up.items())
        lines.append(
            f"  {row.name:<14}{row.operations:>11}{row.cuts:>8}{row.second_cuts:>7}{row.completed:>11}"
            f"{row.bricks:>8}  {came_up}"
        )
    for brick in answer.bricks[:BRICKS_SHOWN_MAX]:
        lines.append(f"  BRICK {brick.cut}: {brick.operation} in {brick.area}: {brick.what}")
        lines.append(f"    again: {brick.replay}")
    if again := sum(row.tried_again for row in answer.episodes):
        lines.append(f"  {again} were tried twice: the first time the unit was silent, or its update was not completed")
    lines += [f"  FAULT {fault}" for fault in answer.faults]
    if answer.elapsed_s:
        rate = answer.tried / answer.elapsed_s * 60
        lines.append(
            f"  {answer.tried} cuts in {answer.elapsed_s:.0f} s ({rate:.0f} a minute, updates completed included)"
        )
    if answer.first_cuts_s:
        cuts = sum(row.cuts for row in answer.episodes)
        rate = cuts / answer.first_cuts_s * 60
        lines.append(f"  {cuts} of them first cuts, in {answer.first_cuts_s:.0f} s ({rate:.0f} a minute)")
    if answer.results:
        lines.append(f"  report in {answer.results}")
    if answer.record:
        entry = answer.record.entry
        lines.append(f"  {entry.type.value} record {entry.record[:16]}, entry {answer.record.index} of the log")
    return "\n".join(lines)


def _planned(answer: CutAnswer) -> str:
    from assay.pipeline.powercut_run import CUTS_PER_MINUTE

    lines = [f"{answer.plan.name} on {answer.plan.board} (emulated), seed {answer.seed}: nothing was cut"]
    for episode in answer.plan.episodes:
        operations, cuts = answer.planned.get(episode.name, (0, 0))
        lines.append(f"  {episode.name:<14}{operations:>6} operations {cuts:>6} cuts   {', '.join(episode.cut)}")
    total = sum(cuts for _, cuts in answer.planned.values())
    minutes = total / CUTS_PER_MINUTE
    lines.append(f"  {total} cuts, about {minutes:.1f} minutes on two cores, and the updates completed")
    return "\n".join(lines)
