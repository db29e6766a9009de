# SPDX-License-Identifier: Apache-2.0
"""The tests that there are, by name: for pages whose tables name a test for each row."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
BY_MODULE = re.compile(r"`(test_\w+)\.(test_\w+)`")
"""How a table names a test: its module, and its function."""


@functools.cache
def tests_in(module: str) -> frozenset[str]:
    """The functions of the one file of that name in a folder of tests. Raises `ValueError` where there is none."""
    (file,) = TESTS.glob(f"*/{module}.py")
    return frozenset(node.name for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.FunctionDef))


def unknown(row: str) -> list[tuple[str, str]]:
    """What `row` names by module and function, and is not there."""
    return [(module, name) for module, name in BY_MODULE.findall(row) if name not in tests_in(module)]


@functools.cache
def all_tests() -> frozenset[str]:
    """Of every file."""
    texts = (path.read_text("utf-8") for path in TESTS.glob("**/test_*.py"))
    return frozenset(name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE))
