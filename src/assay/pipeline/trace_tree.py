# SPDX-License-Identifier: Apache-2.0
"""A trace as text: a tree for a terminal, with every link's checks, keys and faults.

Guards: nothing that a record says can move the cursor or start an escape sequence; colour only says again what a word
says.
Leaves to others: what is verified (`pipeline.trace`), whether there is a terminal (`cli.trace`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from assay.formats.visible_text import visible
from assay.model.trace import LinkCheck, LinkStatus, Mark, TraceNode
from assay.pipeline.trace_link import count

KEYID_SHOWN = 12
"""Hex digits of a key id or digest that people are shown; JSON has all 64."""

LABEL = 11
"""Columns of the labels under a link."""

_WORDS = {
    LinkStatus.VERIFIED: "verified",
    LinkStatus.BROKEN: "BROKEN",
    LinkStatus.MISSING: "MISSING",
    LinkStatus.NOTE: "note",
}
_COLOURS = {LinkStatus.VERIFIED: "32", LinkStatus.BROKEN: "31;1", LinkStatus.MISSING: "31;1", LinkStatus.NOTE: "36"}
_MARK_COLOURS = {Mark.DEVELOPMENT: "33;1", Mark.EMULATED: "35", Mark.SKIPPED: "31;1", Mark.OLDER: "31;1"}
_MARK_WORDS = {
    Mark.DEVELOPMENT: "this rests on development keys; whoever can read the site's folder can forge it",
    Mark.SKIPPED: "somebody went on without minding what a policy said; the reason is in the record",
    Mark.OLDER: "somebody let the unit go to an older version; the reason is in the record",
    Mark.EMULATED: "the unit is a twin; this proves software, not a product",
}
"""In the order in which they are told."""


@dataclass(frozen=True)
class Look:
    """How the text may look: `width` in columns; without `unicode` only ASCII is written; `brief` shows no details."""

    colour: bool = False
    unicode: bool = True
    width: int = 110
    brief: bool = False

    @property
    def symbols(self) -> dict[LinkStatus, str]:
        """One sign for each status."""
        signs = ("✓", "✗", "✗", "·") if self.unicode else ("ok", "XX", "XX", "--")
        return dict(zip(LinkStatus, signs, strict=True))

    def paint(self, text: str, code: str) -> str:
        """`text` in the SGR colour `code`, when there is colour."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def safe(self, text: str) -> str:
        """`text` without control characters, and in ASCII where the terminal can do no more."""
        shown = visible(text)
        return shown if self.unicode else shown.encode("ascii", "backslashreplace").decode("ascii")


def render_text(root: TraceNode, look: Look | None = None) -> str:
    """The tree, and under it one line for each link that broke, or one that says that none did."""
    look = look or Look()
    lines = list(_node_lines(root, look, "", ""))
    return "\n".join([*lines, "", *_verdict_lines(root, look)])


def _verdict_lines(root: TraceNode, look: Look) -> Iterator[str]:
    if not root.broken:
        yield look.paint(
            f"VERIFIED: {count(root.links, 'link')} of {look.safe(root.title)}", _COLOURS[LinkStatus.VERIFIED]
        )
    else:
        yield look.paint(f"BROKEN: {len(root.broken)} of {root.links} links", _COLOURS[LinkStatus.BROKEN])
    for node in root.broken:
        for fault in node.faults or (node.title,):
            yield look.safe(f"  {node.link}: {fault}")
    marks = root.all_marks
    for mark, words in _MARK_WORDS.items():
        if mark in marks:
            yield look.paint(f"{mark}: {words}", _MARK_COLOURS[mark])


def _node_lines(node: TraceNode, look: Look, first: str, rest: str) -> Iterator[str]:
    yield first + _headline(node, look)
    below = rest + (("│  " if look.unicode else "|  ") if node.children else "   ")
    for label, text, code in _rows(node, brief=look.brief):
        yield from _wrapped(label, look.safe(text), code, below, look)
    for child in node.children:
        last = child is node.children[-1]
        branch, trunk = (
            (("└─ ", "   ") if last else ("├─ ", "│  "))
            if look.unicode
            else (("`- ", "   ") if last else ("|- ", "|  "))
        )
        yield from _node_lines(child, look, rest + branch, rest + trunk)


def _headline(node: TraceNode, look: Look) -> str:
    sign = look.paint(look.symbols[node.shown], _COLOURS[node.shown])
    parts = [sign, look.safe(node.title)]
    if node.status in (LinkStatus.BROKEN, LinkStatus.MISSING):
        parts.append(look.paint(_WORDS[node.status], _COLOURS[node.status]))
    parts += [look.paint(f"[{mark}]", _MARK_COLOURS[mark]) for mark in node.marks]
    return " ".join(parts)


def _rows(node: TraceNode, *, brief: bool) -> Iterator[tuple[str, str, str]]:
    """Label, text and colour of each row under a headline; `brief` leaves the faults only."""
    for fault in node.faults:
        yield _WORDS[node.status], fault, _COLOURS[node.status]
    if brief:
        return
    for detail in node.details:
        yield detail.name, detail.value, ""
    plain = [check.what for check in node.checks if check.keyid is None]
    if plain:
        yield "checked", "; ".join(plain), ""
    for keyed, checks in _by_key(node.checks).items():
        yield "by key", f"{keyed}: {'; '.join(checks)}", "33" if "UNSAFE-DEVELOPMENT" in keyed else ""


def _by_key(checks: tuple[LinkCheck, ...]) -> dict[str, list[str]]:
    """What was checked, under each key as people are shown it."""
    found: dict[str, list[str]] = {}
    for check in checks:
        if check.keyid is not None:
            found.setdefault(key_words(check), []).append(check.what)
    return found


def key_words(check: LinkCheck) -> str:
    """A key in words: role, name, the start of its id, and whether it is a development key."""
    name = "" if check.role == "log" else f" {check.key_name}"  # the log's name is its origin: long, and said once
    words = f"{check.role or 'key'}{name} ({(check.keyid or '')[:KEYID_SHOWN]})"
    loud = check.development and Mark.DEVELOPMENT not in words
    return f"{words} {Mark.DEVELOPMENT}" if loud else words


def _wrapped(label: str, text: str, code: str, prefix: str, look: Look) -> Iterator[str]:
    room = max(look.width - len(prefix) - LABEL - 1, 40)
    for number, line in enumerate(textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]):
        head = f"{label:<{LABEL}}" if number == 0 else " " * LABEL
        yield f"{prefix}{head} {look.paint(line, code) if code else line}"
