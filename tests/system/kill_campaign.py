# SPDX-License-Identifier: Apache-2.0
"""Kills and power cuts at random moments of a unit's life: the next run finishes, no serial number is used twice, no
record is lost, the unit boots a verified image.

A sample runs with the tests; `python tests/system/kill_campaign.py --turns 200` runs as many as one likes.
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
from dataclasses import dataclass
from pathlib import Path

from life_site import ROOT, LifeSite, environment, life_site, unit_site

FINISH_TRIES_MAX = 3
"""Runs after the disturbance until one must have passed: after a power cut the first may say ERROR."""
PROVISION_S, UPDATE_S = 2.6, 3.0
"""Seconds that a verb takes on an idle machine: moments are drawn over some more than that."""


@dataclass(frozen=True)
class Turn:
    """One disturbance: when (seconds after the verb's start), what, and to which verb."""

    verb: str
    what: str
    moment_s: float


def turns(count: int, seed: int, slowness: float) -> list[Turn]:
    """`count` disturbances, by seed. `slowness`: how much slower than an idle machine this one is."""
    dice = random.Random(seed)
    found = []
    for _ in range(count):
        verb, seconds = dice.choice([("provision", PROVISION_S), ("update", UPDATE_S)])
        what = dice.choice(["kill", "cut", "kill-and-cut"])
        found.append(Turn(verb, what, dice.uniform(0.2, 1.1) * seconds * slowness))
    return found


def disturb(folder: Path, board: str, turn: Turn) -> None:
    """A fresh site, one disturbed run, and everything that must hold afterwards."""
    site = life_site(board, folder) if turn.verb == "provision" else unit_site(board, folder)
    if turn.verb == "provision":
        site.twin("a")
    line = site.provision_line("a") if turn.verb == "provision" else site.update_line("1.1.0", "a")
    site.good("twin", "start", "a")
    try:
        _disturbed(site, line, turn)
        _finish(site, line)
        _check(site, "1.0.0" if turn.verb == "provision" else "1.1.0")
    finally:
        site.verb("twin", "stop", "a", "--force")


def _disturbed(site: LifeSite, line: tuple[str | Path, ...], turn: Turn) -> None:
    verb = subprocess.Popen(
        site.command(*line), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    )
    time.sleep(turn.moment_s)
    if "kill" in turn.what:
        verb.send_signal(signal.SIGKILL)
    if "cut" in turn.what:
        site.good("twin", "power", "cut", "a", "--force")
        site.good("twin", "power", "on", "a", "--force")
    out, said = verb.communicate(timeout=150)
    allowed = (-signal.SIGKILL, 0) if "kill" in turn.what else (0, 3)
    assert verb.returncode in allowed, f"{turn}: {verb.returncode} {out} {said}"
    assert "Traceback" not in said, said


def _finish(site: LifeSite, line: tuple[str | Path, ...]) -> None:
    said = []
    for _ in range(FINISH_TRIES_MAX):
        told = site.verb(*line)
        if told.status == 0:
            return
        assert told.status == 3, told.said
        said.append(told.said)
    raise AssertionError(f"no run finished: {said}")


def _check(site: LifeSite, version: str) -> None:
    """One unit, one number, proved by itself; every begun run has its record; the log holds together."""
    told = site.good("evidence", "--place", "a", "--trust", site.trust)
    assert (told["serial"], told["version"], told["kept"]) == ("DEMO-000001", version, True)
    if version == "1.0.0":  # after a disturbed provisioning: the next unit gets the next number
        site.twin("next")
        assert site.good(*site.provision_line("next"))["serial"] == "DEMO-000002"
    site.good("log", "verify", "--trust", site.trust)
    site.good("trace", "DEMO-000001", "--trust", site.trust)


def campaign(count: int, seed: int, board: str = "ast1030-evb", slowness: float = 1.0) -> int:
    """Run `count` turns; answers how many held. A turn that does not is told with its seed and its site is kept."""
    held = 0
    for number, turn in enumerate(turns(count, seed, slowness)):
        folder = Path(tempfile.mkdtemp(prefix="assay-kills-"))
        try:
            disturb(folder / "site", board, turn)
        except AssertionError as error:
            print(f"turn {number} of seed {seed}: {turn} in {folder}: {error}", file=sys.stderr, flush=True)
            continue
        held += 1
        shutil.rmtree(folder)
        print(f"turn {number}: {turn} held", flush=True)
    return held


def main() -> None:
    """The command line; exit status 1 when a turn did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--board", default="ast1030-evb")
    parser.add_argument("--slowness", type=float, default=1.0, help="how much slower than an idle machine this one is")
    asked = parser.parse_args()
    held = campaign(asked.turns, asked.seed, asked.board, asked.slowness)
    print(f"{held} of {asked.turns} turns held, seed {asked.seed}")
    sys.exit(held != asked.turns)


if __name__ == "__main__":
    main()
