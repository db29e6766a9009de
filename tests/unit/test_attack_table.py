# SPDX-License-Identifier: Apache-2.0
"""docs/reference/attacks.md: each row names a test that there is, and the attacks that matter most have their row."""

from __future__ import annotations

import re
from pathlib import Path

import named_tests
import pytest

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "reference" / "attacks.md"
COLUMNS = 3

REQUIRED = [
    "rollback", "freeze", "mix and match", "endless data", "wrong key", "a threshold of one key twice",
    "a stolen online key", "emptied by a power cut", "clock at 1970", "clock at 2100", "offline for a year",
    "target names that escape", "wrong digest", "redirect elsewhere", "a truncated blob", "a repeated blob",
    "a symbolic link", "a bomb",
    "another predicate type", "another subject", "another payload type", "non-ASCII", "the certificate's place",
    "the log entry of another artifact", "a key of JSON twice", "unknown fields where they matter", "url-safe base64",
    "a certificate expired", "not yet valid", "threshold met by one key twice", "a key rotated out",
    "the right signer in the wrong role", "a checkpoint of another log", "tiles or entries that are truncated",
    "or of another log", "a rewritten history", "a split view", "a symlink in the store",
]  # fmt: skip
"""What a publishing system, attestations and a log have to stand, in the words of the page."""


def _rows() -> list[tuple[str, ...]]:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]
    return [row for row in cells if row[0].strip("| ") != "attack"]


ROWS = _rows()


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_each_row_names_tests_that_there_are(row: tuple[str, ...]) -> None:
    """A name that ends in dots is the beginning of one; what is in brackets, or "the same", is the row's own case."""
    assert len(row) == COLUMNS
    named = re.findall(r"`([^`]+)`", row[-1])
    assert named or "the same" in row[-1], "no test is named"
    for name in named:
        head = re.match(r"(?:tests/unit/)?(test_\w+)(?:\.py)?", name)
        module, _, function = name.partition(".test_")
        if function:
            assert f"test_{function}" in named_tests.tests_in(module), name
        elif head is None:
            assert name.startswith(("[", "...")), name
        elif name.endswith(".py"):
            assert (PROJECT / "tests" / "unit" / Path(name).name).is_file()
        elif "..." in name:
            assert any(test.startswith(head[1]) for test in named_tests.all_tests()), name
        else:
            assert head[1] in named_tests.all_tests(), name


@pytest.mark.parametrize("attack", REQUIRED)
def test_each_attack_that_has_to_be_tried_has_a_row(attack: str) -> None:
    assert [row for row in ROWS if attack in row[0]], f"no row about: {attack}"


def test_the_table_is_one_page() -> None:
    """The pages of what is attacked point here; a second table would go out of step."""
    for name in ("repository.md", "registry.md", "bundle.md", "attestations.md", "log.md"):
        assert "| attack |" not in (PAGE.parent / name).read_text("utf-8"), name
