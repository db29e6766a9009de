# SPDX-License-Identifier: Apache-2.0
"""What came of each cut of a campaign: a line as it happens, a file that outlives an interruption, and the sum."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from types import TracebackType

from linux_site import KEPT

RESULTS = KEPT / "cuts"


@dataclass(frozen=True)
class CameOf:
    """One cut: when it came, the status of the command if that had ended by then, what ran afterwards (`old` or `new`,
    and in which state), the sectors that the disk lost, and how the update went on.
    """

    when: str
    anew: bool
    ended: int | None
    runs: str
    state: str
    lost: int
    then: str


class CutCounts:
    """Of one campaign; as a context it tells the sum also when a cut was not survived, or somebody has had enough."""

    def __init__(self, name: str, wanted: int, seed: int) -> None:
        self.wanted = wanted
        self._name, self._seed, self._begun_s = name, seed, time.monotonic()
        self._all: list[CameOf] = []
        RESULTS.mkdir(parents=True, exist_ok=True)
        self._file = RESULTS / f"{name}-{seed}.jsonl"
        self._file.write_text("")

    @property
    def lost(self) -> int:
        """Sectors that the disk lost, in all cuts."""
        return sum(each.lost for each in self._all)

    def add(self, came: CameOf) -> None:
        """The next one."""
        self._all.append(came)
        with self._file.open("a") as file:
            file.write(json.dumps(asdict(came)) + "\n")
        took_s = time.monotonic() - self._begun_s
        print(f"{self._name} {len(self._all)}/{self.wanted} ({took_s:.0f} s): {came}", flush=True)

    def __enter__(self) -> CutCounts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        how = Counter(f"{each.runs} runs ({each.state}); {each.then}" for each in self._all)
        losing = [each.lost for each in self._all if each.lost]
        print(
            f"\n{self._name}: {len(self._all)} of {self.wanted} cuts, seed {self._seed}; {len(losing)} lost "
            f"{sum(losing)} sectors, at most {max(losing, default=0)}; each: {self._file}",
            *(f"{count:5}  {what}" for what, count in sorted(how.items())),
            sep="\n",
            flush=True,
        )
