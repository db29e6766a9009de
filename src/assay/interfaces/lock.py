# SPDX-License-Identifier: Apache-2.0
"""What a stage may ask of the lock on a place: one user at a time on this host, and the other is told who it is.

Leaves to others: where locks live and how they die with their holder (`drivers.locks`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self


@dataclass(frozen=True)
class Holder:
    """Who holds a place. `verb` is the command's verb only: its other words may be secret; `note` is what for."""

    pid: int
    user: str
    host: str
    verb: str
    since: datetime
    place: str
    note: str = ""

    def __str__(self) -> str:
        facts = f"pid {self.pid}, user {self.user} on {self.host}, since {self.since:%H:%M:%S} UTC"
        return f"assay {self.verb} ({facts}{f', for: {self.note}' if self.note else ''})"


class Held(Protocol):
    """A place that is ours until `release` or the end of this process, whichever comes first."""

    @property
    def holder(self) -> Holder:
        """Who holds it: this process, or the process above it that lent it."""
        ...

    def release(self) -> None:
        """Give the place back; a second call does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Locks(Protocol):
    """The locks of this host. A place is known by its port, so that different names for one port meet."""

    def acquire(self, port: str, *, verb: str, place: str = "", wait_s: float = 0.0) -> Held:
        """Take the place at `port`, waiting at most `wait_s` seconds, in the order of coming.

        A process whose ancestor holds it shares the ancestor's lock. Raises PlaceBusy naming the holder and how many
        wait before, StorageError when locks cannot be kept on this host.
        """
        ...

    def holder(self, port: str) -> Holder | None:
        """Who holds the place now; None when it is free."""
        ...
