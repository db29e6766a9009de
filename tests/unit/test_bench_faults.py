# SPDX-License-Identifier: Apache-2.0
"""The table of what goes wrong at a bench names tests that exist, and each row at least one."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "reference" / "bench-faults.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| what |", "| address |"))
]
TEST = re.compile(r"`(test_\w+)\.(test_\w+)`")
OF_OTHER_PAGES = "| `ssh://`"


@functools.cache
def found_in(module: str) -> frozenset[str]:
    (file,) = ROOT.glob(f"tests/*/{module}.py")
    return frozenset(node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_a_row_names_tests_that_exist(row: str) -> None:
    named = TEST.findall(row)
    assert named or row.startswith(OF_OTHER_PAGES)
    assert [pair for pair in named if pair[1] not in found_in(pair[0])] == []


def test_the_table_has_all_its_rows() -> None:
    assert len(ROWS) >= 27
