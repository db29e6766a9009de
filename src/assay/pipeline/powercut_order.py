# SPDX-License-Identifier: Apache-2.0
"""What the user of `assay twin powercut` asks for, and what came of it.

Guards: an order that cannot be is told before anything is done.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from assay.errors import ExitStatus, UsageFault
from assay.model.campaign import Brick, CampaignRun, EpisodeResult
from assay.model.outcome import Outcome, exit_status
from assay.model.powercut import Cut, CutPlan, parse_cut
from assay.model.record import RecordRef

JOBS_MAX = 64


@dataclass(frozen=True)
class CutOrder:
    """What the user asks for. `size`: how many first cuts to draw, None for all; `jobs`: twins at the same time."""

    plan: Path
    trust: Path | None = None
    results: Path | None = None
    rom: Path | None = None
    jobs: int = 0
    size: int | None = None
    seed: int | None = None
    only: str | None = None
    dry_run: bool = False

    @property
    def replay(self) -> str:
        """The command line that does it again, but for the seed and the cut."""
        words = ["assay", "twin", "powercut", str(self.plan)]
        for option, value in (("--trust", self.trust), ("--rom", self.rom)):
            words += [option, str(value)] if value is not None else []
        return shlex.join(words)


@dataclass
class CutAnswer:
    """What came of it. `record` is None for a dry run; `elapsed_s` is of the cuts alone, without recording;
    `first_cuts_s` of the first ones, 0 when they were broken off.
    """

    plan: CutPlan
    seed: int
    outcome: Outcome
    reason: str = ""
    episodes: tuple[EpisodeResult, ...] = ()
    bricks: tuple[Brick, ...] = ()
    faults: tuple[str, ...] = ()
    planned: dict[str, tuple[int, int]] = field(default_factory=dict)
    elapsed_s: float = 0.0
    first_cuts_s: float = 0.0
    record: RecordRef | None = None
    campaign: CampaignRun | None = None
    results: Path | None = None

    @property
    def status(self) -> ExitStatus:
        """The exit status of the verb."""
        return exit_status(self.outcome)

    @property
    def tried(self) -> int:
        """First and second cuts that were made."""
        return sum(episode.cuts + episode.second_cuts for episode in self.episodes)


def check_order(order: CutOrder) -> None:
    """Raises UsageFault."""
    if not 0 <= order.jobs <= JOBS_MAX:
        raise UsageFault(f"{order.jobs} twins at the same time", remedy=f"give 1 to {JOBS_MAX}, or 0 for the default")
    if order.size is not None and order.size < 1:
        raise UsageFault(f"a sample of {order.size} cuts", remedy="give at least 1")
    if order.only is not None and order.size is not None:
        raise UsageFault("--only is one cut, --sample draws some", remedy="leave one of them out")
    only_cut(order)


def only_cut(order: CutOrder) -> Cut | None:
    """The one cut that is wanted, if it is one. Raises UsageFault."""
    if order.only is None:
        return None
    cut = parse_cut(order.only)
    if cut is None:
        raise UsageFault(
            f"{order.only!r} names no cut", remedy="write EPISODE:OP:TEAR or EPISODE:OP:TEAR:OP/TEAR, as a report does"
        )
    return cut
