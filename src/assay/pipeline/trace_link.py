# SPDX-License-Identifier: Apache-2.0
"""A link of a trace while it is being verified: what was checked, what broke, what people should know.

Guards: a link on which anything failed cannot end as verified; a link on which nothing was checked ends as a note.
Leaves to others: what to check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

from assay.errors import AssayError
from assay.formats import signed_note
from assay.model.trace import Detail, LinkCheck, LinkStatus, Mark, TraceNode
from assay.model.trust import Check, TrustedIdentity, TrustedLog, TrustedSigner

ED25519_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of an Ed25519 key in its DER SubjectPublicKeyInfo (RFC 8410 section 4)."""

KEY_DIGITS = 12
"""Hex digits of a hash or key id that people are shown."""

T = TypeVar("T")


class Link:
    """One link under verification; `node` gives what was found."""

    def __init__(self, link: str, title: str) -> None:
        self.link = link
        self.title = title
        self.missing = False
        self._details: list[Detail] = []
        self._checks: list[LinkCheck] = []
        self._faults: list[str] = []
        self._marks: set[Mark] = set()
        self._children: list[TraceNode] = []

    @property
    def holds(self) -> bool:
        """True while nothing failed."""
        return not self._faults

    def tell(self, name: str, value: object) -> None:
        """A fact for people."""
        self._details.append(Detail(name=name, value=str(value)))

    def mark(self, mark: Mark) -> None:
        """Something to be said loudly."""
        self._marks.add(mark)

    def fault(self, text: str) -> None:
        """Something that does not hold; the link is broken."""
        self._faults.append(text)

    def lost(self, text: str) -> None:
        """Something that should be there and is not; the link is missing."""
        self.missing = True
        self._faults.append(text)

    def excuse(self, name: str) -> None:
        """What failed so far matters no more; it is told as facts called `name`."""
        self._details += [Detail(name=name, value=text) for text in self._faults]
        self._faults.clear()

    def checked(self, what: str, key: TrustedSigner | None = None) -> None:
        """`what` was verified, by `key` if there was one; an identity has no key id, and is named in `what`."""
        if key is None:
            self._checks.append(LinkCheck(what=what))
            return
        keyid = None if isinstance(key, TrustedIdentity) else key.keyid
        self._checks.append(
            LinkCheck(what=what, role=key.role, key_name=key.name, keyid=keyid, development=key.development)
        )
        if key.development:
            self.mark(Mark.DEVELOPMENT)

    def checked_by_log(self, what: str, log: TrustedLog) -> None:
        """`what` was verified by the key of a log."""
        keyid = hashlib.sha256(ED25519_SPKI_PREFIX + signed_note.parse_vkey(log.vkey).public).hexdigest()
        self._checks.append(
            LinkCheck(what=what, role="log", key_name=log.origin, keyid=keyid, development=log.development)
        )
        if log.development:
            self.mark(Mark.DEVELOPMENT)

    def take(self, checks: Iterable[Check]) -> None:
        """What another verifier checked."""
        for check in checks:
            if check.key is not None and check.key.development and Mark.DEVELOPMENT in check.what:
                self.mark(Mark.DEVELOPMENT)  # every check by that key says so already
            else:
                self.checked(check.what, check.key)

    def expect(self, holds: bool, what: str, otherwise: str) -> bool:
        """`what` was checked when it `holds`; else the link is broken, because `otherwise`."""
        if holds:
            self.checked(what)
        else:
            self.fault(otherwise)
        return holds

    def attempt(self, verify: Callable[[], T]) -> T | None:
        """What `verify` gives; None when it raised, which breaks the link: any exception is "not verified"."""
        try:
            return verify()
        except AssayError as error:
            self.fault(error.message)
        except Exception as error:  # signed, and of a shape that nobody expects
            self.fault(f"it could not be verified ({type(error).__name__})")
        return None

    def add(self, *children: TraceNode) -> None:
        """Links under this one."""
        self._children.extend(children)

    def with_children(self, children: Iterable[TraceNode]) -> TraceNode:
        """What was found, with `children` under it."""
        self.add(*children)
        return self.node()

    def node(self) -> TraceNode:
        """What was found."""
        return TraceNode(
            link=self.link,
            title=self.title,
            status=self._status(),
            details=tuple(self._details),
            checks=tuple(self._checks),
            faults=tuple(self._faults),
            marks=tuple(mark for mark in Mark if mark in self._marks),
            children=tuple(self._children),
        )

    def _status(self) -> LinkStatus:
        if self._faults:
            return LinkStatus.MISSING if self.missing else LinkStatus.BROKEN
        return LinkStatus.VERIFIED if self._checks else LinkStatus.NOTE


def count(number: int, noun: str) -> str:
    """`1 record`, `2 records`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def heading(link: str, title: str, children: Iterable[TraceNode]) -> TraceNode:
    """A node that only holds others together."""
    return TraceNode(link=link, title=title, status=LinkStatus.NOTE, children=tuple(children))
