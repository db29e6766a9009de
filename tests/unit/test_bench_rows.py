# SPDX-License-Identifier: Apache-2.0
"""The page about the bench lists the rows that there are, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_lists_every_row() -> None:
    """Read as text: importing the rows would import all that they measure."""
    table = (ROOT / "tests" / "bench" / "run.py").read_text().partition("ROWS: ")[2].partition("\n}\n")[0]
    rows = set(re.findall(r'^    "([a-z0-9-]+)":', table, re.MULTILINE))
    assert {"verify", "sign", "log-append", "log-100k", "proof", "policy"} <= rows
    page = (ROOT / "docs" / "reference" / "bench.md").read_text()
    rows_told = page.partition("| row | what |")[2].partition("\n\n")[0]  # not the tables of what was measured
    listed = {name for line in rows_told.splitlines() for name in re.findall(r"`([^`]+)`", _first_cell(line))}
    assert listed == rows


def _first_cell(line: str) -> str:
    return line.split("|")[1] if line.startswith("| `") else ""
