# SPDX-License-Identifier: Apache-2.0
"""How a running pipeline looks: live on a terminal, line by line anywhere else.

Guards: both show the same events, in order; nothing that a verb prints can be taken for a line of ours.
Leaves to others: running (`pipeline.engine`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from assay.pipeline.engine_events import Event, RunResult, RunStarted, StepEnded, StepLine, StepOutcome, StepStarted

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

SLOW_S = 0.005
"""Shorter than this and a duration is not worth printing."""

REFRESH_HZ = 8

_STYLES = {
    StepOutcome.PASS: "green",
    StepOutcome.FAIL_EXPECTED: "green",
    StepOutcome.DONE_BEFORE: "dim",
    StepOutcome.UNEXPECTED: "bold red",
}


class PlainView:
    """Lines, as they happen, to `write` (called without line ends)."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._steps = 0

    def __enter__(self) -> Callable[[Event], None]:
        return self._tell

    def __exit__(self, *_: object) -> None:
        pass

    def _tell(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._steps = event.steps
            for line in _opening(event):
                self._write(line)
        elif isinstance(event, StepStarted):
            self._write(f"{_number(event.index, self._steps)} {event.title}")
            self._write(f"        $ {event.command}")
        elif isinstance(event, StepLine):
            self._write(f"        | {event.text}")
        else:
            self._write(f"{_number(event.index, self._steps)} {_ending(event)}")
            if event.output:
                self._write(event.output.rstrip())


class TerminalView:
    """The same lines above a spinner for each step that runs; commands dim, outcomes in colour."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._running: dict[int, tuple[StepStarted, float]] = {}
        self._said: dict[int, str] = {}
        self._steps = 0
        self._live = Live(self, console=console, refresh_per_second=REFRESH_HZ, transient=True)

    def __enter__(self) -> Callable[[Event], None]:
        self._live.start()
        return self._tell

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One line for each step that runs: spinner, title, seconds, and what its verb said last."""
        from rich.text import Text

        now = time.monotonic()
        frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if console.encoding.startswith("utf") else "|/-\\"
        frame = frames[int(now * REFRESH_HZ) % len(frames)]
        for index, (step, since) in self._running.items():
            text = Text(f"{frame} {_number(index, self._steps)} {step.title}  {now - since:.0f} s", style="cyan")
            text.append(f"  {self._said.get(index, '')}", style="dim")
            text.truncate(options.max_width, overflow="ellipsis")
            yield text

    def _tell(self, event: Event) -> None:
        from rich.text import Text

        if isinstance(event, RunStarted):
            self._steps = event.steps
            self._print(*(Text(line) for line in _opening(event)))
        elif isinstance(event, StepStarted):
            self._print(
                Text(f"{_number(event.index, self._steps)} {event.title}"),
                Text(f"        $ {event.command}", style="dim"),
            )
            self._running[event.index] = (event, time.monotonic())
            self._live.refresh()
        elif isinstance(event, StepLine):
            self._said[event.index] = event.text
        else:
            self._running.pop(event.index, None)
            head = Text(f"{_number(event.index, self._steps)} ")
            head.append(_ending(event), style=_STYLES[event.outcome])
            self._print(head)
            if event.output:
                self._print(Text(event.output.rstrip()))

    def _print(self, *lines: object) -> None:
        for line in lines:
            self._console.print(line, soft_wrap=True, highlight=False)


def choose_view(stream: IO[str], write: Callable[[str], None]) -> PlainView | TerminalView:
    """Live when `stream` is a terminal and nobody said CI; `NO_COLOR` is honoured by rich itself."""
    if os.environ.get("CI") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return PlainView(write)
    from rich.console import Console

    return TerminalView(Console(file=stream))


def summary(result: RunResult, root: Path) -> str:
    """The end of a run for people: what happened, what it cost, where the results are."""
    stopped = result.stopped_by
    lines = ["", f"{result.pipeline} run {result.run}: {_verdict(result)} in {result.duration_s:.1f} s"]
    if stopped is not None:
        lines += [f"  step {stopped.index}, {stopped.title}: {stopped.message or 'no message'}"]
        lines += [f"  next: {stopped.remedy}"] if stopped.remedy else []
        lines += [f"  log:  {_relative(result.results / 'steps', root)}/{stopped.index:02d}-{stopped.name}.log"]
    found = sorted(path.name + "/" * path.is_dir() for path in result.results.iterdir() if path.name[0] != ".")
    lines += [f"results: {_relative(result.results, root)}/", *(f"  {name}" for name in found)]
    return "\n".join(lines)


def _verdict(result: RunResult) -> str:
    counted = len([step for step in result.steps if step.outcome is not StepOutcome.UNEXPECTED])
    expected = len([step for step in result.steps if step.outcome is StepOutcome.FAIL_EXPECTED])
    as_asked = f" (of which {expected} had to FAIL, and did)" if expected else ""
    stopped = result.stopped_by
    if stopped is None:
        return f"PASS, {counted} steps as expected{as_asked}"
    return f"{stopped.status.name.replace('_', ' ')} after {counted} steps as expected{as_asked}"


def _opening(event: RunStarted) -> list[str]:
    going_on = f", going on after {len(event.done_before)} steps that are done" if event.done_before else ""
    return [f"{event.pipeline}: {event.steps} steps, run {event.run}{going_on}", f"results: {_here(event.results)}/"]


def _number(index: int, steps: int) -> str:
    return f"[{index:>{len(str(steps))}}/{steps}]"


def _ending(event: StepEnded) -> str:
    if event.outcome is StepOutcome.UNEXPECTED:
        return f"{event.status.name.replace('_', ' ')}  {event.duration_s:.1f} s  {event.message}"
    if event.outcome is StepOutcome.DONE_BEFORE:
        return f"done before  ({event.title})"
    found = "".join(f"  {name}={value}" for name, value in event.captured.items())
    took = f"  {event.duration_s:.1f} s" if event.duration_s > SLOW_S else ""
    return f"{event.outcome.value}{took}{found}"


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _here(path: Path) -> str:
    return _relative(path, Path.cwd())
