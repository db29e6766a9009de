# SPDX-License-Identifier: Apache-2.0
"""Steps and uploads as a person sees them: a line for each step, a bar for each upload, on a terminal only.

Guards: progress goes to stderr; without a terminal there are lines and no bars, in CI there is neither; `NO_COLOR` is
honoured (by rich); rich is imported only where something is drawn.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.cli.session import Session

if TYPE_CHECKING:
    from assay.interfaces.device import Progress as Show
    from assay.interfaces.step_book import ProgressFor, Say


@dataclass(frozen=True)
class Display:
    """Where a run tells what it does."""

    say: Say
    progress_for: ProgressFor


@contextmanager
def upload_progress(session: Session) -> Iterator[Display]:
    """A display until the block is left."""
    if session.display is not None:
        yield session.display
    elif "CI" in os.environ:
        yield Display(lambda _line: None, lambda _what: _nothing)
    elif not sys.stderr.isatty():
        yield Display(session.say, lambda _what: _nothing)
    else:
        with _bars() as display:
            yield display


def _nothing(_done: int, _total: int) -> None:
    return None


@contextmanager
def _bars() -> Iterator[Display]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:

        def progress_for(what: str) -> Show:
            task = bars.add_task(what, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total, visible=done < total)

        yield Display(lambda line: console.print(line, markup=False, highlight=False), progress_for)
