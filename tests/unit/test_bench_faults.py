# SPDX-License-Identifier: Apache-2.0
"""The table of what goes wrong at a bench names tests that exist, and each row at least one."""

from __future__ import annotations

from pathlib import Path

import pytest
from named_tests import BY_MODULE, unknown

ROOT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "reference" / "bench-faults.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| what |", "| address |"))
]
OF_OTHER_PAGES = "| `ssh://`"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_a_row_names_tests_that_exist(row: str) -> None:
    assert BY_MODULE.search(row) or row.startswith(OF_OTHER_PAGES)
    assert unknown(row) == []


def test_the_table_has_all_its_rows() -> None:
    assert len(ROWS) >= 27
