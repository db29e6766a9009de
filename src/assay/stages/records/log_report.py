# SPDX-License-Identifier: Apache-2.0
"""What the verification of a log found."""

from __future__ import annotations

from dataclasses import dataclass, field

from assay.model.trust import TrustedLog


@dataclass(frozen=True)
class LogFault:
    """One thing that is wrong: `link` names the file or the entry, `what` says what is wrong with it."""

    link: str
    what: str


@dataclass(frozen=True)
class WitnessedSize:
    """How much of the log a witness vouches for: `size` entries, at `time_s` (seconds since 1970)."""

    name: str
    size: int
    time_s: int


@dataclass
class LogReport:
    """What was verified, and what was found wrong."""

    origin: str = ""
    size: int = 0
    root: str = ""
    log: TrustedLog | None = None
    records: int = 0
    attachments: int = 0
    checkpoints: int = 0
    """Checkpoints inside records, each found to be an earlier state of this log."""
    kept: int | None = None
    """Entries in the largest checkpoint that somebody kept elsewhere, when the log continues all of them."""
    witnesses: list[WitnessedSize] = field(default_factory=list)
    """Witnesses of the policy that cosigned earlier states of this log, the largest first."""
    witnessed: int | None = None
    """Entries that as many witnesses vouch for as the policy asks for."""
    faults: list[LogFault] = field(default_factory=list)
    development: set[str] = field(default_factory=set)

    def fault(self, link: str, what: str) -> None:
        """Note that `link` is broken."""
        self.faults.append(LogFault(link, what))
