# SPDX-License-Identifier: Apache-2.0
"""The history of one unit: what it rests on (`Dossier`), and what a verification of that found (`Trace`).

Guards: text, JSON and HTML render the same value; a link that did not verify can never count as verified further up.
Leaves to others: how a dossier is filled (`pipeline.trace_collect`, `formats.trace_archive`) and who says what verifies
(`pipeline.trace`). A dossier holds bytes as they were found; nothing in it is believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pydantic import Field

from assay.model.identifiers import FileSha256, SerialNumber
from assay.model.value import Value


class LinkStatus(StrEnum):
    """What a verification says about one link of the chain. `note`: nothing to verify, something to know."""

    VERIFIED = "verified"
    BROKEN = "broken"
    MISSING = "missing"
    NOTE = "note"


_BAD = (LinkStatus.BROKEN, LinkStatus.MISSING)
_GRAVITY = (LinkStatus.BROKEN, LinkStatus.MISSING, LinkStatus.VERIFIED, LinkStatus.NOTE)


class Mark(StrEnum):
    """What has to be said loudly beside a link."""

    DEVELOPMENT = "UNSAFE-DEVELOPMENT"
    EMULATED = "emulated"
    SKIPPED = "POLICY-SKIPPED"
    OLDER = "OLDER-ALLOWED"


class Detail(Value):
    """A fact about a link, for people: `name` in a word or two, `value` as text."""

    name: str
    value: str


class LinkCheck(Value):
    """One thing that was verified, and the key that it rests on (None when no key was in it)."""

    what: str
    role: str | None = None
    key_name: str | None = None
    keyid: FileSha256 | None = None
    development: bool = False


class TraceNode(Value):
    """One link, and the links under it. `link` names it for machines (`history/12-update`), `faults` say what broke."""

    link: str
    title: str
    status: LinkStatus
    details: tuple[Detail, ...] = ()
    checks: tuple[LinkCheck, ...] = ()
    faults: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    children: tuple[TraceNode, ...] = ()

    def walk(self) -> Iterator[TraceNode]:
        """This node and all below it, top down."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def gravest(self) -> LinkStatus:
        """The gravest status of this node and all below it."""
        found = {node.status for node in self.walk()}
        return next(status for status in _GRAVITY if status in found)

    @property
    def broken_below(self) -> bool:
        """True when this link holds, and one under it does not."""
        return self.status not in _BAD and self.gravest in _BAD

    @property
    def shown(self) -> LinkStatus:
        """What people see first: a link above a broken one is not shown as verified, a heading as what is under it."""
        return self.gravest if self.broken_below or self.status is LinkStatus.NOTE else self.status

    @property
    def links(self) -> int:
        """How many links there are from here down; headings and notes are none."""
        return sum(1 for node in self.walk() if node.status is not LinkStatus.NOTE)

    @property
    def broken(self) -> tuple[TraceNode, ...]:
        """The links from here down that are broken or missing, in the order of the tree."""
        return tuple(node for node in self.walk() if node.status in _BAD)

    @property
    def all_marks(self) -> tuple[Mark, ...]:
        """The marks of this node and all below it, each once."""
        found = {mark for node in self.walk() for mark in node.marks}
        return tuple(mark for mark in Mark if mark in found)


class TrustUsed(Value):
    """The trust file that a trace rests on: its name inside, the SHA-256 of the file, and what it lets pass."""

    name: str
    sha256: FileSha256
    allow_development: bool
    allow_emulated: bool


class Trace(Value):
    """The verified history of `serial`. `tree_size` is that of the checkpoint it was verified against, None without."""

    schema_: Literal["assay.trace/1"] = Field(default="assay.trace/1", alias="schema")
    serial: SerialNumber
    source: Literal["site", "export"]
    trust: TrustUsed
    origin: str | None
    tree_size: int | None
    root: TraceNode


@dataclass(frozen=True)
class LoggedRecord:
    """A record as it was found: `index` and `proof` (sibling hashes, leaf upwards) in the log, the entry, the file.

    `index` is None for a record file that no entry names; `bundle` is None for an entry whose file is not there.
    """

    index: int | None
    entry: bytes | None
    proof: tuple[bytes, ...]
    bundle: bytes | None


@dataclass(frozen=True)
class Dossier:
    """Everything that a verification of one unit's history needs, and nothing that says whom to trust.

    `files`: images, attachments, certificates and manifests by the SHA-256 that they should have; `consistency`: proofs
    from earlier tree sizes to that of `checkpoint`; `leaves`: all entries of the log, without which nobody can say that
    a record of the unit was not left out (None: they are not there). `stamps`: archive stamps by the SHA-256 of the
    record's file, the oldest first.
    """

    serial: str
    checkpoint: bytes
    records: tuple[LoggedRecord, ...]
    consistency: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    leaves: tuple[bytes, ...] | None = None
    stamps: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
