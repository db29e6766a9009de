# SPDX-License-Identifier: Apache-2.0
"""Lines of progress for a person: a spinner or a bar on a terminal, plain lines without, nothing in CI.

Guards: progress goes to stderr; a terminal that is none, `CI` and `NO_COLOR` are honoured; rich is imported only where
something is drawn.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from assay.cli.session import Session


@contextmanager
def working(session: Session, title: str) -> Iterator[Callable[[str], None]]:
    """While the block runs show `title` and then the lines given to the function that it gets."""
    if "CI" in os.environ:
        yield lambda _line: None
    elif not sys.stderr.isatty():
        yield session.say
    else:
        from rich.console import Console

        console = Console(stderr=True)
        with console.status(title):
            yield lambda line: console.print(line, markup=False, highlight=False)


@contextmanager
def counting(session: Session, title: str) -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """As `working`, for work in parts: the second function is told how many are done, and moves a bar."""
    if "CI" in os.environ or not sys.stderr.isatty():
        with working(session, title) as say:
            yield say, lambda _done, _total: None
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bars:
            task = bars.add_task(title, total=None)
            yield (
                lambda line: console.print(line, markup=False, highlight=False),
                lambda done, total: bars.update(task, completed=done, total=total),
            )
