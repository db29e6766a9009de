# SPDX-License-Identifier: Apache-2.0
"""How a tree may look on this stdout: colour on a terminal, lines and ticks where the locale can write them."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.pipeline.trace_tree import Look

SIGNS = "│├└─✓✗·"
WIDTH_WITHOUT_TERMINAL = 110
"""Columns in files and pipes: fits a mail and a page."""
WIDTH_MAX = 140
"""Columns; longer lines are hard to read."""


def look_of_stdout(*, brief: bool = False) -> Look:
    """Colour only on a terminal and without NO_COLOR (no-color.org); ASCII when the encoding lacks the signs."""
    from assay.pipeline.trace_tree import Look

    terminal = sys.stdout.isatty()
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = min(shutil.get_terminal_size((WIDTH_WITHOUT_TERMINAL, 24)).columns, WIDTH_MAX)
    return Look(
        colour=colour, unicode=_can_write(SIGNS), width=width if terminal else WIDTH_WITHOUT_TERMINAL, brief=brief
    )


def _can_write(signs: str) -> bool:
    try:
        signs.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
