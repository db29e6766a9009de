# SPDX-License-Identifier: Apache-2.0
"""Lines of keys against documents whose lines are known, since the test wrote them."""

from __future__ import annotations

import json
import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from assay.formats.toml_document import TomlDocument

KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=5)
SCALARS = st.one_of(
    st.integers(-(2**40), 2**40),
    st.booleans(),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=8),
)
NOISE = st.lists(st.sampled_from(["", "# comment", '# = "[', "   "]), max_size=2)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.lists(st.lists(SCALARS, max_size=2), max_size=2))


def quoted(value: object) -> str:
    """A scalar, a flat list or a key as JSON, which is TOML too."""
    return json.dumps(value, ensure_ascii=False)


def toml_value(value: object, *, spread: bool) -> list[str]:
    """`value` as lines of TOML."""
    if not isinstance(value, list):
        return [quoted(value)]
    if not spread:
        return [quoted(value)]
    return ["[", *[quoted(item) + "," for item in value], "]"]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4), st.data())
def test_every_key_is_found_on_its_line(tables: dict[str, dict[str, object]], data: st.DataObject) -> None:
    lines: list[str] = []
    expected: dict[tuple[str | int, ...], int] = {}
    for table, keys in tables.items():
        lines += data.draw(NOISE)
        lines.append(f"[{quoted(table)}]")
        expected[(table,)] = len(lines)
        for key, value in keys.items():
            lines += data.draw(NOISE)
            spread = data.draw(st.booleans())
            expected[(table, key)] = len(lines) + 1
            if spread and isinstance(value, list):
                expected.update({(table, key, index): len(lines) + 2 + index for index in range(len(value))})
            first, *rest = toml_value(value, spread=spread)
            lines += [f"{quoted(key)} = {first}", *rest]
    text = "\n".join(lines) + "\n"
    document = TomlDocument(text.encode(), "p.toml")
    assert document.data == tomllib.loads(text)
    assert {path: document.line_of(path) for path in expected} == expected
