# SPDX-License-Identifier: Apache-2.0
"""The tree as text: statuses, keys and marks in words, and no terminal that obeys a record."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from trace_sample import node, sample_trace

from assay.model.trace import LinkStatus, Mark, Trace
from assay.pipeline.trace_tree import Look, render_text


def test_a_verified_tree() -> None:
    text = render_text(sample_trace().root)
    assert "✓ Unit DEMO-000001" in text
    assert "VERIFIED: 3 links of Unit DEMO-000001" in text
    assert "builder UNSAFE-DEVELOPMENT builder (3f3f3f3f3f3f): statement signature" in text
    assert "[emulated]" in text and "UNSAFE-DEVELOPMENT: this rests on development keys" in text


def test_a_broken_link_is_seen_from_above_and_named() -> None:
    text = render_text(sample_trace(broken=True).root)
    assert "✗ Unit DEMO-000001" in text and "✗ History of the unit" in text and "✓ Releases" in text
    assert "BROKEN: 1 of 3 links" in text
    assert "\n  history/00000012-update: the record has the SHA-256 " in text
    assert "VERIFIED:" not in text


@pytest.mark.parametrize("look", [Look(), Look(unicode=False), Look(colour=True)])
def test_no_control_characters_from_records(look: Look) -> None:
    text = render_text(sample_trace(broken=True).root, look)
    if look.colour:
        text = text.replace("\x1b[", "").replace("\x1b", "!")
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "!" not in text


def test_colour_only_when_asked() -> None:
    assert "\x1b[" not in render_text(sample_trace().root)
    assert "\x1b[32m✓\x1b[0m" in render_text(sample_trace().root, Look(colour=True))


def test_ascii_when_the_locale_cannot() -> None:
    assert render_text(sample_trace(broken=True).root, Look(unicode=False)).isascii()


def test_width_is_kept_but_for_long_words() -> None:
    lines = render_text(sample_trace().root, Look(width=70)).splitlines()[:-3]
    assert max(len(line) for line in lines) <= 80


@pytest.mark.parametrize(("statuses", "gravest"), [
    ((LinkStatus.VERIFIED, LinkStatus.NOTE), LinkStatus.VERIFIED),
    ((LinkStatus.VERIFIED, LinkStatus.MISSING), LinkStatus.MISSING),
    ((LinkStatus.MISSING, LinkStatus.BROKEN), LinkStatus.BROKEN),
    ((LinkStatus.NOTE,), LinkStatus.NOTE),
])  # fmt: skip
def test_gravest(statuses: tuple[LinkStatus, ...], gravest: LinkStatus) -> None:
    tree = node(
        "a", "a", *(node(f"a/{n}", "x", status=status) for n, status in enumerate(statuses)), status=LinkStatus.NOTE
    )
    assert tree.gravest is gravest


@pytest.mark.parametrize("mark", Mark)
def test_every_mark_is_told_at_its_link_and_at_the_end(mark: Mark) -> None:
    headline, *_, last = render_text(node("a", "a", marks=(mark,))).splitlines()
    assert headline.endswith(f"[{mark}]") and last.startswith(f"{mark}: ")


def test_marks_are_gathered_and_the_value_is_strict() -> None:
    trace = sample_trace()
    assert trace.root.all_marks == (Mark.DEVELOPMENT, Mark.EMULATED)
    again = Trace.model_validate_json(trace.model_dump_json(by_alias=True))
    assert again == trace
    with pytest.raises(ValidationError):
        Trace.model_validate_json(trace.model_dump_json(by_alias=True).replace('"source"', '"sauce"'))
