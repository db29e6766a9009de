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
from named_tests import BY_MODULE, unknown

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "reference" / "foreign-boards.md"
ROW = re.compile(r"^\| `(test_\w+)` \| (.*) \|$", re.MULTILINE)
UNIT_ROW = re.compile(r"^\| `(test_\w+\.py)` \| [^|]* \| (.*) \|$", re.MULTILINE)
NOT_HERE = "not here: "


def rows() -> dict[str, str]:
    return dict(ROW.findall(TABLE.read_text()))


def test_every_row_names_a_test_of_ours_or_says_why_there_is_none() -> None:
    assert len(rows()) >= 15
    for case, where in rows().items():
        assert BY_MODULE.search(where) or where.startswith(NOT_HERE), case
        assert unknown(where) == []


def test_every_case_of_theirs_has_a_row() -> None:
    packages = sorted((ROOT / ".nox" / "foreign-firmware").glob("smpclient-*.tar.gz"))
    if not packages:
        pytest.skip("their source package is not here: nox -s tests fetches it")
    with tarfile.open(packages[-1]) as package:
        files = [each for each in package if re.search(r"/tests/integration/test_\w+\.py$", each.name)]
        found = {name for each in files for name in _cases(package.extractfile(each).read())}  # type: ignore[union-attr]
    assert found and found <= set(rows()), found - set(rows())


def unit_rows() -> dict[str, str]:
    return dict(UNIT_ROW.findall(TABLE.read_text()))


def test_every_row_about_their_unit_tests_names_tests_of_ours() -> None:
    assert len(unit_rows()) >= 12
    for file, where in unit_rows().items():
        assert BY_MODULE.search(where) or where.startswith(NOT_HERE), file
        assert unknown(where) == []


def test_every_file_of_their_unit_tests_has_a_row() -> None:
    packages = sorted((ROOT / ".nox" / "foreign-firmware").glob("smpclient-*.tar.gz"))
    if not packages:
        pytest.skip("their source package is not here: nox -s tests fetches it")
    with tarfile.open(packages[-1]) as package:
        files = {Path(each.name).name for each in package if re.search(r"^[^/]+/tests/test_\w+\.py$", each.name)}
    assert files and files <= set(unit_rows()), files - set(unit_rows())


def _cases(source: bytes) -> set[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.parse(source).body if isinstance(node, kinds)]
    return {node.name for node in nodes if node.name.startswith("test_")}
