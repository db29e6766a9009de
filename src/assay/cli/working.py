# SPDX-License-Identifier: Apache-2.0
"""Lines of progress for a person: a spinner on a terminal, plain lines without, nothing in CI.

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
