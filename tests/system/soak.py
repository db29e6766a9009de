# SPDX-License-Identifier: Apache-2.0
"""Updates in a row on one unit, by the ordinary verb: good ones, bad ones, and ones in which the power is cut, the
command is killed or a person presses Ctrl-C, at random. After each the unit runs what it should, and says so itself.

A sample runs with the tests; `nox -s soak` runs a thousand on each board and prints a table. Says on stderr how far it
is; Ctrl-C and SIGTERM end it with the table of what was done, called PARTIAL, and status 3.

    python tests/system/soak.py [--updates N] [--seed N] [--board NAME] ...
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from life_site import BAD_VERSION, ROOT, LifeSite, Told, environment, unit_site

ENDING = (signal.SIGINT, signal.SIGTERM)
BOARDS = ("ast1030-evb", "rv32-virt")
GOOD = ("1.0.0", "1.1.0")
FATES = ("good", "good", "good", "bad", "power cut", "killed", "Ctrl-C")
"""Drawn for each update; good ones are the most common."""
MOMENT_S = (0.3, 3.5)
"""A disturbance comes that long after the verb's start, times the slowness of this machine."""
FINISH_TRIES_MAX = 3
"""Runs after a disturbance until one must have passed: after a power cut the first may say ERROR."""
PROGRESS_S = 30.0
"""Between two lines on stderr."""
EVIDENCE_EVERY = 10
"""Updates between two questions by `assay evidence`, beside those that `update` asks and reports itself."""


@dataclass
class Soak:
    """One unit on one board, its site in `folder`."""

    board: str
    seed: int
    folder: Path
    slowness: float = 1.0
    version: str = "1.0.0"
    tried: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def run(self, updates: int) -> None:
        """All updates; a wrong outcome is counted and told, and the rest goes on."""
        site, dice = unit_site(self.board, self.folder), random.Random(f"{self.seed}/{self.board}")
        site.good("twin", "start", "a")
        told_s = time.monotonic()
        try:
            for number in range(updates):
                if time.monotonic() - told_s > PROGRESS_S:
                    told_s = time.monotonic()
                    self._tell(number, updates)
                fate = dice.choice(FATES)
                self.tried[fate] += 1
                try:
                    self._update(site, fate, dice)
                    if number % EVIDENCE_EVERY == 0 or number + 1 == updates:
                        told = site.good("evidence", "--place", "a", "--trust", site.trust)
                        assert (told["version"], told["kept"]) == (self.version, True), told
                except AssertionError as error:
                    self.wrong[fate] += 1
                    where = f"{self.board}, seed {self.seed}, update {number} ({fate}) in {self.folder}"
                    print(f"{where}: {error}", file=sys.stderr, flush=True)
            told = site.verb("log", "verify", "--trust", site.trust)
            if told.status != 0:
                self.wrong["the log"] += 1
                print(f"{self.board}, seed {self.seed}: {told.said}", file=sys.stderr, flush=True)
        finally:
            site.verb("twin", "stop", "a", "--force")

    def _tell(self, done: int, updates: int) -> None:
        so_far = f"{done:,} of {updates:,} updates, {self.wrong.total()} wrong"
        print(f"{self.board}, seed {self.seed}: {so_far}", file=sys.stderr, flush=True)

    def _update(self, site: LifeSite, fate: str, dice: random.Random) -> None:
        if fate == "bad":
            told = site.verb(*_line(site, BAD_VERSION))
            assert told.status == 1, f"a bad update ended with {told.status}: {told.said}"
            assert told.data["device_reason"], told.said
            self._proved(told)
            return
        target = GOOD[self.version == GOOD[0]]
        line = _line(site, target)
        if fate != "good":
            self._disturbed(site, line, fate, dice.uniform(*MOMENT_S) * self.slowness)
        told = _finish(site, line, tries=1 if fate == "good" else FINISH_TRIES_MAX)
        self.version = target
        self._proved(told)

    def _proved(self, told: Told) -> None:
        """By the evidence that the unit gave at the update's end."""
        after = told.data["after"]
        assert after and after["version"] == self.version, told.said
        assert after["state"] == "confirmed" or after["confirmed_since"], told.said

    def _disturbed(self, site: LifeSite, line: tuple[str | Path, ...], fate: str, moment_s: float) -> None:
        verb = subprocess.Popen(
            site.command(*line), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
        )
        try:
            time.sleep(moment_s)
            if fate == "power cut":
                site.good("twin", "power", "cut", "a", "--force")
                site.good("twin", "power", "on", "a", "--force")
            else:
                verb.send_signal(signal.SIGKILL if fate == "killed" else signal.SIGINT)
            out, said = verb.communicate(timeout=200)
        finally:
            verb.kill()  # a soak that is stopped leaves nothing behind
        allowed = {"killed": (-signal.SIGKILL, 0), "power cut": (0, 3), "Ctrl-C": (0, 3, -signal.SIGINT)}[fate]
        assert verb.returncode in allowed and "Traceback" not in said, f"{fate}: {verb.returncode} {out} {said}"


def _line(site: LifeSite, version: str) -> tuple[str | Path, ...]:
    return (*site.update_line(version, "a"), "--unsafe-allow-older-version", "a soak")


def _finish(site: LifeSite, line: tuple[str | Path, ...], tries: int) -> Told:
    said = []
    for _ in range(tries):
        told = site.verb(*line)
        if told.status == 0:
            return told
        said.append(f"{told.status}: {told.said}")
    raise AssertionError(f"did not finish: {said}")


def table(soaks: list[Soak]) -> str:
    """Fate, how often it was tried, how often its outcome was wrong."""
    rows = ["| board | update | tried | wrong outcomes |", "|---|---|---|---|"]
    for soak in soaks:
        rows += [
            f"| {soak.board} | {fate} | {soak.tried[fate]} | {soak.wrong[fate]} |" for fate in dict.fromkeys(FATES)
        ]
    return "\n".join(rows)


def _stop_once(number: int, frame: FrameType | None) -> None:
    """A second signal would leave the twin behind: nox sends another, and a terminal may."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """The command line; exit status 1 when an outcome was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=1000, help="on each board [1000]")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--board", action="append", choices=BOARDS)
    parser.add_argument("--slowness", type=float, default=1.0, help="how much slower than an idle machine this one is")
    asked = parser.parse_args()
    for number in ENDING:
        signal.signal(number, _stop_once)  # a background job ignores SIGINT
    soaks: list[Soak] = []
    begun_s, partial = time.monotonic(), ""
    try:
        for board in asked.board or BOARDS:
            folder = Path(tempfile.mkdtemp(prefix="assay-soak-"))
            soaks.append(Soak(board, asked.seed, folder / "site", asked.slowness))
            soaks[-1].run(asked.updates)
    except KeyboardInterrupt:
        partial = "PARTIAL, stopped by a signal: "
    for soak in soaks:
        if not soak.wrong:
            shutil.rmtree(soak.folder.parent)
    print(table(soaks))
    print(f"{partial}seed {asked.seed}, {time.monotonic() - begun_s:.0f} s")
    sys.exit(3 if partial else any(soak.wrong.total() for soak in soaks))


if __name__ == "__main__":
    main()
