# SPDX-License-Identifier: Apache-2.0
"""Where a key stands in TOML text, and what text that is no TOML says."""

from __future__ import annotations

import pytest
from no_collection import no_collection

from assay.errors import ManifestFault
from assay.formats.toml_document import MANIFEST_BYTES_MAX, TomlDocument

TEXT = """\
# a comment
schema = "x/1"

[table]      # line 4
a = 1
b.c = 2
"quoted key" = 3
text = '''
first = 9
last'''
list = [
  # a comment in a list
  "one",
  ["two",
   "three"],
  { k = 4 },
]

[[rows]]
n = 1
[[rows]]
n = 2
[rows.deep]
x = 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (["schema"], 2),
        (["table"], 4),
        (["table", "a"], 5),
        (["table", "b"], 6),
        (["table", "b", "c"], 6),
        (["table", "quoted key"], 7),
        (["table", "text"], 8),
        (["table", "list"], 11),
        (["table", "list", 0], 13),
        (["table", "list", 1], 14),
        (["table", "list", 1, 1], 15),
        (["table", "list", 2, "k"], 16),
        (["rows", 0], 19),
        (["rows", 0, "n"], 20),
        (["rows", 1], 21),
        (["rows", 1, "n"], 22),
        (["rows", 1, "deep", "x"], 24),
    ],
)
def test_each_key_has_its_line(path: list[str | int], line: int) -> None:
    assert TomlDocument(TEXT.encode(), "f.toml").line_of(path) == line


def test_a_missing_key_has_the_line_of_its_table() -> None:
    document = TomlDocument(TEXT.encode(), "f.toml")
    assert document.line_of(["rows", 1, "absent", "deeper"]) == 21
    assert document.line_of(["absent"]) is None
    assert document.line_of([]) is None


def test_windows_line_ends_do_not_move_lines() -> None:
    raw = TEXT.replace("\n", "\r\n").encode()
    assert TomlDocument(raw, "f.toml").line_of(["rows", 1, "n"]) == 22


@pytest.mark.parametrize(
    ("raw", "line", "said"),
    [
        (b"a = 1\nb = \nc = 2\n", 2, "Invalid value"),
        (b"a = 1\na = 2\n", 2, "Cannot overwrite"),
        (b"[open\n", 1, "not TOML"),
        (b"a = [1,\n2\n", 2, "at the end of the file"),
        (b"a = 1\nb = '\xff'\n", 2, "UTF-8"),
        (b"a = " + b"[" * 5000, None, "nested too deeply"),
        (b"#" * (MANIFEST_BYTES_MAX + 1), None, "at most"),
    ],
)
def test_what_is_no_toml_says_where(raw: bytes, line: int | None, said: str) -> None:
    with pytest.raises(ManifestFault) as caught, no_collection():
        TomlDocument(raw, "f.toml")
    assert caught.value.line == line
    assert said in caught.value.message
