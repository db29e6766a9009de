# SPDX-License-Identifier: Apache-2.0
"""The HTML page: loads nothing, runs nothing, shows what the trace says and nothing that a record smuggled in."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from trace_sample import HOSTILE, sample_trace

from assay.formats.html_report import render_html

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """Tags, ids, links and text; fails on tags that do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("broken", [False, True])
def test_it_loads_and_runs_nothing(broken: bool) -> None:
    page = render_html(sample_trace(broken=broken))
    outline = Outline(page)
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(outline.tags)
    assert not [name for _, name, _ in outline.attributes if name.startswith("on") or name in ("src", "style")]
    assert all(value.startswith("#") for _, name, value in outline.attributes if name == "href" and value)
    assert "url(" not in page and "@import" not in page and "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page


def test_hostile_text_is_shown_and_not_obeyed() -> None:
    page = render_html(sample_trace())
    assert "<script>alert" not in page
    assert "<script>alert(1)</script>" in Outline(page).text
    assert not [char for char in page if not char.isprintable() and char != "\n"]
    assert HOSTILE not in page


def test_links_within_the_page_lead_somewhere() -> None:
    outline = Outline(render_html(sample_trace(broken=True)))
    ids = [value for _, name, value in outline.attributes if name == "id"]
    targets = {value[1:] for _, name, value in outline.attributes if name == "href" and value}
    assert targets and targets <= set(ids)
    assert len(ids) == len(set(ids))


def test_status_is_said_in_words() -> None:
    good, bad = Outline(render_html(sample_trace())).text, Outline(render_html(sample_trace(broken=True))).text
    assert "all 3 links verified" in good and "What broke" not in good
    assert "1 of 3 links are broken" in bad and "What broke" in bad and "broken below" in bad
    assert "UNSAFE-DEVELOPMENT" in good and "emulated" in good
    assert "3f" * 32 in good and "a7" * 32 in good and "c0" * 32 in good


def test_what_is_broken_is_open() -> None:
    page = render_html(sample_trace(broken=True))
    assert re.search(r'<details class="broken" id="l-history-00000012-update" open>', page)


def test_the_same_trace_gives_the_same_page() -> None:
    assert render_html(sample_trace()) == render_html(sample_trace())
