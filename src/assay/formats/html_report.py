# SPDX-License-Identifier: Apache-2.0
"""A trace as one HTML page: nothing is loaded from anywhere, no script, light and dark, readable on paper.

Guards: every text from a record is escaped; a content security policy in the page forbids all but its own style, so
that even a missed escape loads and runs nothing. Status is said in words, the colour only repeats it (WCAG 2.2, 1.4.1).
Leaves to others: what is verified (`pipeline.trace`), and writing the file.
"""

from __future__ import annotations

import html
from collections.abc import Iterator

from assay.formats.html_style import STYLE
from assay.formats.visible_text import visible
from assay.model.trace import LinkCheck, LinkStatus, Mark, Trace, TraceNode

_WORDS = {
    LinkStatus.VERIFIED: "verified",
    LinkStatus.BROKEN: "broken",
    LinkStatus.MISSING: "missing",
    LinkStatus.NOTE: "note",
}
_SIGNS = {LinkStatus.VERIFIED: "✓", LinkStatus.BROKEN: "✗", LinkStatus.MISSING: "✗", LinkStatus.NOTE: "i"}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_MARK_WORDS = {
    Mark.DEVELOPMENT: "This history rests on development keys. Whoever can read the site's folder can forge it.",
    Mark.EMULATED: "The unit is emulated. This proves the software, not a product.",
    Mark.OLDER: "Somebody let the unit go to an older version. The reason is in the record.",
    Mark.SKIPPED: "Somebody went on without minding what a policy said. The reason is in the record.",
}
_GENERATOR = '<meta name="generator" content="assay trace">'
_HEAD_BYTES = 256
"""Within these a page of ours says that it is one."""
OPEN_DEPTH = 2
"""Levels of the tree that are open when the page is shown; what is broken is always open."""


def is_report(data: bytes) -> bool:
    """Whether `data` is a page that `render_html` made."""
    return data.startswith(b"<!DOCTYPE html>") and _GENERATOR.encode() in data[:_HEAD_BYTES]


def render_html(trace: Trace) -> str:
    """The page. The same trace gives the same bytes: no clock, no random ids."""
    title = f"Unit {trace.serial}"
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        _GENERATOR,
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{escape(title)}: {_verdict_word(trace)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        "<main>",
        *_header(trace, title),
        *_faults(trace),
        '<section aria-labelledby="chain">',
        '<h2 id="chain">The chain</h2>',
        '<div class="tree">',
        *(line for child in trace.root.children for line in _node(child, 1)),
        "</div>",
        "</section>",
        *_keys(trace),
        "</main>",
        *_footer(trace),
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(lines)


def escape(text: str) -> str:
    """`text` as HTML text or attribute, with what cannot be seen written out."""
    return html.escape(visible(text), quote=True)


def _verdict_word(trace: Trace) -> str:
    return "broken" if trace.root.broken else "verified"


def _header(trace: Trace, title: str) -> Iterator[str]:
    links = trace.root.links
    word = _verdict_word(trace)
    said = (
        f"{len(trace.root.broken)} of {links} links are broken" if trace.root.broken else f"all {links} links verified"
    )
    yield "<header>"
    yield f'<p class="kicker">Verified history · {escape(trace.source)}</p>'
    yield f"<h1>{escape(title)}</h1>"
    yield f'<p class="verdict {word}"><span aria-hidden="true">{_SIGNS[_status(trace)]}</span> {escape(said)}</p>'
    for mark in trace.root.all_marks:
        yield f'<p class="banner {_mark_class(mark)}"><strong>{escape(mark)}</strong> {escape(_MARK_WORDS[mark])}</p>'
    yield from _facts(tuple((detail.name, detail.value) for detail in trace.root.details))
    yield "</header>"


def _status(trace: Trace) -> LinkStatus:
    return LinkStatus.BROKEN if trace.root.broken else LinkStatus.VERIFIED


def _faults(trace: Trace) -> Iterator[str]:
    if not trace.root.broken:
        return
    yield '<section aria-labelledby="faults" class="faults">'
    yield '<h2 id="faults">What broke</h2>'
    yield "<ul>"
    for node in trace.root.broken:
        for fault in node.faults or (node.title,):
            yield f'<li><a href="#{_anchor(node)}">{escape(node.link)}</a>: {escape(fault)}</li>'
    yield "</ul>"
    yield "</section>"


def _node(node: TraceNode, depth: int) -> Iterator[str]:
    bad = node.gravest in (LinkStatus.BROKEN, LinkStatus.MISSING)
    opened = " open" if depth <= OPEN_DEPTH or bad else ""
    yield f'<details class="{node.gravest}" id="{_anchor(node)}"{opened}>'
    yield f'<summary>{_badge(node)}<span class="title">{escape(node.title)}</span>{_marks(node)}</summary>'
    yield '<div class="body">'
    for fault in node.faults:
        yield f'<p class="fault"><strong>{_WORDS[node.status]}:</strong> {escape(fault)}</p>'
    yield from _facts(tuple((detail.name, detail.value) for detail in node.details))
    yield from _checks(node)
    for child in node.children:
        yield from _node(child, depth + 1)
    yield "</div>"
    yield "</details>"


def _badge(node: TraceNode) -> str:
    status = node.shown
    word = "broken below" if node.broken_below else _WORDS[status]
    return f'<span class="badge {status}"><span aria-hidden="true">{_SIGNS[status]}</span> {word}</span>'


def _marks(node: TraceNode) -> str:
    return "".join(f'<span class="mark {_mark_class(mark)}">{escape(mark)}</span>' for mark in node.marks)


def _mark_class(mark: Mark) -> str:
    return "emulated" if mark is Mark.EMULATED else "development"


def _facts(facts: tuple[tuple[str, str], ...]) -> Iterator[str]:
    if facts:
        yield "<dl>"
        yield from (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
        yield "</dl>"


def _checks(node: TraceNode) -> Iterator[str]:
    if node.checks:
        yield '<ul class="checks">'
        yield from (f"<li>{escape(check.what)}{_by_key(check)}</li>" for check in node.checks)
        yield "</ul>"


def _by_key(check: LinkCheck) -> str:
    if check.keyid is None:
        return ""
    words = f"{check.role or 'key'} {check.key_name}"
    loud = f' <span class="mark development">{Mark.DEVELOPMENT}</span>' if check.development else ""
    return f' <span class="key">by {escape(words)} <code>{check.keyid[:12]}</code></span>{loud}'


def _keys(trace: Trace) -> Iterator[str]:
    """All keys that anything on the page rests on, with their whole ids."""
    keys = {check.keyid: check for node in trace.root.walk() for check in node.checks if check.keyid is not None}
    if not keys:
        return
    yield '<section aria-labelledby="keys">'
    yield '<h2 id="keys">Keys that this rests on</h2>'
    yield '<div class="scroll"><table>'
    yield '<thead><tr><th scope="col">Role</th><th scope="col">Name</th><th scope="col">Key id</th></tr></thead><tbody>'
    for keyid, check in sorted(keys.items(), key=lambda item: (item[1].role or "", item[0])):
        cells = (escape(check.role or "key"), escape(check.key_name or ""), f"<code>{keyid}</code>")
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield "</tbody></table></div>"
    yield "</section>"


def _footer(trace: Trace) -> Iterator[str]:
    trust = trace.trust
    yield "<footer>"
    yield f"<p>Trust file <b>{escape(trust.name)}</b>, SHA-256 <code>{trust.sha256}</code>.</p>"
    yield (
        "<p>This page is a picture of a verification and proves nothing by itself. "
        "To check it, run <code>assay verify</code> on the exported file with a trust file of your own.</p>"
    )
    yield "</footer>"


def _anchor(node: TraceNode) -> str:
    return "l-" + "".join(char if char.isascii() and char.isalnum() else "-" for char in node.link)
