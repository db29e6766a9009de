# SPDX-License-Identifier: Apache-2.0
"""The demo, killed at random moments and started again: it ends with PASS, and nothing is lost, doubled or left behind.

`nox -s kills -- --kills=300 --kill-seed=7` is the long campaign; a few kills run with every test run.
"""

from __future__ import annotations

import random
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from demo_project import DemoProject, kill

BOARDS = ("ast1030-evb", "rv32-virt")
WARM_KILL_MAX_S = 9.0
"""A kill comes at most this long after a start; a run of the demo with everything in its caches takes about 15 s."""

STARTS_PER_RUN_MAX = 60
"""A run that needs more starts than this does not get ahead."""


@dataclass
class Campaign:
    """Kills by a seed; `log` says what was killed when, for whoever has to look into a failure."""

    project: DemoProject
    board: str
    dice: random.Random
    log: list[str] = field(default_factory=list)
    kills: int = 0

    def run_to_the_end(self, kills: int) -> None:
        """Start the demo, kill something `kills` times, start it again each time, and let it end."""
        for start in range(STARTS_PER_RUN_MAX):
            process = self.project.start(*self.project.demo_words(board=self.board, fixed=True))
            if start < kills and self._strike(process):
                continue
            out, _ = process.communicate()
            self.log.append(f"ended with {process.returncode}")
            if process.returncode == 0:
                return
            # A twin that was killed under a verb is an ERROR of the bench; anything else is a fault of ours.
            assert process.returncode == 3, f"{out}\n{self.log}"
        pytest.fail(f"no end after {STARTS_PER_RUN_MAX} starts: {self.log}")

    def _strike(self, engine: subprocess.Popen[str]) -> bool:
        """Kill after a while; True when the engine has ended by it, False when it still runs or was done before."""
        delay_s = self.dice.uniform(0.05, WARM_KILL_MAX_S)
        try:
            engine.wait(delay_s)
        except subprocess.TimeoutExpired:
            pass
        else:
            return False
        what = self.dice.choice(("all", "all", "engine", "verb", "wire", "qemu"))
        victims = self._victims(what, engine)
        kill(victims)
        self.kills += 1
        self.log.append(f"{delay_s:.2f} s: killed {what} {victims}")
        if engine.pid not in victims:
            return False
        engine.communicate()
        return True

    def _victims(self, what: str, engine: subprocess.Popen[str]) -> list[int]:
        found = self.project.processes()
        if what == "all":
            return [engine.pid, *found]
        named = {
            "engine": lambda words: False,
            "verb": lambda words: words[1:3] == ["-m", "assay"] and words[3:4] != ["run"],
            "wire": lambda words: "assay.drivers.twin.wire" in words,
            "qemu": lambda words: words[0].startswith("qemu-system"),
        }[what]
        victims = [pid for pid, words in found.items() if named(words)]
        return victims or [engine.pid]


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--kills"))


@pytest.mark.timeout(14400)
@pytest.mark.parametrize("board", BOARDS)
def test_killed_at_random_moments(board: str, tmp_path: Path, request: pytest.FixtureRequest, kills: int) -> None:
    project = DemoProject.make(tmp_path / "project")
    seed = f"{request.config.getoption('--kill-seed')} {board}"
    campaign = Campaign(project, board, random.Random(seed))
    before = time.monotonic()
    wanted = max(1, kills // len(BOARDS))
    while campaign.kills < wanted:
        campaign.run_to_the_end(min(campaign.dice.randint(2, 12), wanted - campaign.kills))
        faults = project.faults()
        assert faults == [], "\n".join([f"seed {seed}", *faults, *campaign.log])
        campaign.log.clear()
    assert project.site.journals.open_runs() == []
    print(f"{board}: {campaign.kills} kills in {time.monotonic() - before:.0f} s, {len(project.serials())} units")
