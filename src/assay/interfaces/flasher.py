# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of a flasher: the tool that writes a board's memory from outside, and reads it back.

Guards: who is there is asked before anything is written; what would be done is a value that can be printed.
Leaves to others: which images may be written, and where (`stages.flashing.by_flasher`); which unit it has to be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from assay.interfaces.device import Progress

Where = int | str
"""An address as the core sees it; a path or a slot's name for flashers that know no addresses."""

ReadBackBy = Literal["bytes", "tool", "device", "accepted"]
"""Who compared: we did, with bytes that were read out; the tool did, and said that they are the same; the device told
a hash; nobody could, and all that is known is that the device took everything.
"""


@dataclass(frozen=True)
class Part:
    """Bytes that belong somewhere; `where` is None for flashers with one place only."""

    name: str
    where: Where | None
    data: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    @property
    def sha256(self) -> str:
        """Of the bytes, hex."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Identity:
    """What is there. None is what cannot be told: a tool that tells nothing is not one that says "any".

    `probe` is the serial number of what was spoken through, `chip` the chip's own number (lower-case hex), `kind` what
    it says that it is (`ESP32-C3`), `facts` whatever else it said, as (name, words).
    """

    probe: str | None = None
    chip: str | None = None
    kind: str | None = None
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Action:
    """One thing that would be done: `words` are the program's (empty for a library), `size` is bytes."""

    what: str
    words: tuple[str, ...] = ()
    where: Where | None = None
    size: int | None = None


@dataclass(frozen=True)
class FlashPlan:
    """What `write`, `read_back` and `reset` would do, in order."""

    parts: tuple[Part, ...]
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class ReadBack:
    """A part that is there now, and by whom that was found. `sha256` is of what was compared, `detail` for people."""

    name: str
    where: Where | None
    size: int
    sha256: str
    by: ReadBackBy
    detail: str = ""


class Flasher(Protocol):
    """One board behind one tool. Raises `InfrastructureError` and its kin (tool missing, no probe, no answer in time),
    `Refused` for what must not be written, `UnitFailed` when the chip says no or holds something else afterwards.
    """

    @property
    def name(self) -> str:
        """The tool and where it looks, for messages."""
        ...

    def identify(self) -> Identity:
        """Who is there. Writes nothing; may halt or restart the board. Several candidates are a `UsageFault` that
        lists them, none is a `LinkError`.
        """
        ...

    def plan(self, parts: Sequence[Part]) -> FlashPlan:
        """What would be done. Needs no board. Raises `Refused`, `UsageFault` for parts that it cannot write."""
        ...

    def write(self, plan: FlashPlan, progress: Progress) -> None:
        """Write the parts; `progress` gets bytes done and bytes in all, at least once at the end. May be repeated."""
        ...

    def read_back(self, plan: FlashPlan, progress: Progress) -> tuple[ReadBack, ...]:
        """One for each part, in order. Raises `UnitFailed` naming the part that is not there as it should be."""
        ...

    def reset(self) -> None:
        """Start the board anew, so that it runs what was written."""
        ...

    def close(self) -> None:
        """Release probe, port and files; a second call does nothing."""
        ...
