# SPDX-License-Identifier: Apache-2.0
"""Rows of words under one another. Guards: no cell is cut, since names are there to be copied; a long one moves the
columns of all rows alike. Pure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

GAP = "  "


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row; each column is as wide as its widest cell, the last one has no end."""
    widths = [max(map(_width, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    return [_line(row, widths) for row in rows]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=False)]
    return GAP.join([*padded, row[-1]]).rstrip()


def _width(text: str) -> int:
    """Columns of a terminal: two for a wide character, none for one that joins another."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
