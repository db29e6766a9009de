# SPDX-License-Identifier: Apache-2.0
"""The cases of another client's integration suite (smpclient's), and where each of them is tried here.

docs/reference/foreign-boards.md has the table. Its rows name tests of ours that exist, and every case of theirs.
"""

from __future__ import annotations

import ast
import re
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "reference" / "foreign-boards.md"
ROW = re.compile(r"^\| `(test_\w+)` \| (.*) \|$", re.MULTILINE)
OUR_TEST = re.compile(r"`(test_\w+)\.(test_\w+)`")
NOT_HERE = "not here: "


def rows() -> dict[str, str]:
    return dict(ROW.findall(TABLE.read_text()))


def our_tests(module: str) -> set[str]:
    (file,) = ROOT.glob(f"tests/*/{module}.py")
    return {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_row_names_a_test_of_ours_or_says_why_there_is_none() -> None:
    assert len(rows()) >= 15
    for case, where in rows().items():
        named = OUR_TEST.findall(where)
        assert named or where.startswith(NOT_HERE), case
        assert [pair for pair in named if pair[1] not in our_tests(pair[0])] == []


def test_every_case_of_theirs_has_a_row() -> None:
    packages = sorted((ROOT / ".nox" / "foreign-firmware").glob("smpclient-*.tar.gz"))
    if not packages:
        pytest.skip("their source package is not here: nox -s tests fetches it")
    with tarfile.open(packages[-1]) as package:
        files = [each for each in package if re.search(r"/tests/integration/test_\w+\.py$", each.name)]
        found = {name for each in files for name in _cases(package.extractfile(each).read())}  # type: ignore[union-attr]
    assert found and found <= set(rows()), found - set(rows())


def _cases(source: bytes) -> set[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.parse(source).body if isinstance(node, kinds)]
    return {node.name for node in nodes if node.name.startswith("test_")}
