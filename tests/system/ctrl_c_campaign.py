# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C at random moments of `provision`, several in one unit's provisioning: each time port and place are free, the
verb says in which state the unit is, and it is in that one; the same command then finishes, under the same number.

A sample runs with the tests; `python tests/system/ctrl_c_campaign.py --stops 100` runs as many as one likes.

A moment is so much time behind a line that the verb says, so that a busy host does not move all of them to the start.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from life_site import APP, BOOTLOADER, ROOT, LifeSite, environment, life_site

from assay.drivers.locks.file_lock import FileLocks
from assay.drivers.serial_transport import open_serial

BAUD = "460800"
"""The upload is most of the verb."""
STOPS_PER_UNIT = 4
BEHIND_LINE_S = (0.9, 1.3, 2.5, 0.2, 0.6)
"""Seconds to draw from behind so many lines of the verb: at least what it does there takes on an idle machine."""
LINE_POLL_S = 0.01
VERB_TIMEOUT_S = 150.0
FIRST, SECOND = "DEMO-000001", "DEMO-000002"

ENDED = "it had ended"
FOUND_AFTER = {
    "its bootloader may be there in part": ("mask ROM", "the boot "),
    "its bootloader starts the app once": ("the boot ", "the app "),
    "it runs the app; a key": ("the app ",),
    "it has firmware and identity": ("the app ",),
}
"""What may answer afterwards, by how the sentence about the unit begins."""


@dataclass(frozen=True)
class Moment:
    """`seconds` behind the line number `behind` (0: behind the start of the verb)."""

    behind: int
    seconds: float


@dataclass(frozen=True)
class Stopped:
    """How a verb ended, what it said, and what then answered on the place."""

    status: int
    said: str
    found: str = ""

    @property
    def unheard(self) -> bool:
        """It came while Python itself began: nothing of ours had."""
        ours = [line for line in self.said.splitlines() if "/assay/" in line and "/assay/__main__.py" not in line]
        python_s = not self.said or "KeyboardInterrupt" in self.said
        return self.status in (-signal.SIGINT, 1) and python_s and not ours  # 1: while Python imports `site`

    @property
    def kind(self) -> str:
        """For the count of what was met."""
        if self.status == 0:
            return ENDED
        if self.unheard:
            return "before Python ran"
        for line in self.said.splitlines():
            if "the unit: " in line:
                return line.partition("the unit: ")[2]
        return "between two steps" if "goes on from there" in self.said else "before its run"


def moments(count: int, dice: random.Random) -> list[Moment]:
    """`count` moments of one provisioning, in the order of the verb's life: it goes on where it was stopped."""
    lines = sorted(dice.choices(range(len(BEHIND_LINE_S)), k=count))
    return [Moment(line, dice.uniform(0.0, BEHIND_LINE_S[line])) for line in lines]


def stopped(site: LifeSite, line: tuple[str | Path, ...], moment: Moment, said: Path) -> Stopped:
    """A verb that gets Ctrl-C at `moment`, unless it ends before."""
    spoken = {name: value for name, value in environment().items() if name != "CI"}  # in CI it says nothing
    with said.open("wb") as stderr:
        verb = subprocess.Popen(
            site.command(*line), stdout=subprocess.PIPE, stderr=stderr, cwd=ROOT, env=spoken, preexec_fn=_heed
        )
        begun_s = time.monotonic()
        while verb.poll() is None and said.read_bytes().count(b"\n") < moment.behind:
            assert time.monotonic() - begun_s < VERB_TIMEOUT_S, said.read_text()
            time.sleep(LINE_POLL_S)
        time.sleep(moment.seconds)
        verb.send_signal(signal.SIGINT)
        verb.communicate(timeout=VERB_TIMEOUT_S)
    return Stopped(verb.returncode, said.read_text())


def _heed() -> None:
    """A job in the background is deaf to Ctrl-C, and so would be what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def check(site: LifeSite, line: tuple[str | Path, ...], stop: Stopped) -> Stopped:
    """Port and place are free, the verb says so and what the unit is, and the unit is that."""
    tty = str(site.folder / "twins" / "a" / "tty")
    assert FileLocks().holder(tty) is None, stop
    open_serial(tty).close()
    if stop.unheard:
        return stop
    assert "Traceback" not in stop.said, stop
    if stop.status == 0:
        return stop
    assert stop.status == 3 and "ABORTED" in stop.said, stop
    begun = "the same command goes on from there" in stop.said
    nothing = "no run was open: nothing is half done" in stop.said or "before anything was done" in stop.said
    assert begun != nothing, stop
    assert not begun or f"port {tty} is closed, place a is free" in stop.said, stop
    found = site.good(*line, "--dry-run")["found"]
    for begins, may_answer in FOUND_AFTER.items():
        if f"the unit: {begins}" in stop.said:
            assert any(word in found for word in may_answer), f"{found}: {stop.said}"
            return Stopped(stop.status, stop.said, found)
    assert "the unit: " not in stop.said and " in step " not in stop.said, stop
    return Stopped(stop.status, stop.said, found)


def _patient(site: LifeSite) -> Path:
    """The demo's profile with room for a busy host: how fast the unit boots is not the question here."""
    profile = site.folder / "patient.toml"
    text = (ROOT / "provisioning" / "demo.toml").read_text()
    assert text.count("high = 2000\n") == text.count("low = 1\n") == 1
    profile.write_text(text.replace("high = 2000\n", "high = 60000\n").replace("low = 1\n", "low = 0\n"))
    return profile


def one_unit(folder: Path, board: str, at: list[Moment], *, next_unit: bool = True) -> list[Stopped]:
    """Provision a blank unit with Ctrl-C at the moments `at`, then to the end; answers what came of each stop."""
    site = life_site(board, folder)
    site.twin("a")
    site.good("twin", "start", "a", "--baud", BAUD)
    line = ("provision", "--place", "a", "--profile", _patient(site), "--bootloader", BOOTLOADER)
    line += ("--app", f"{APP}@1.0.0", "--trust", site.trust)
    try:
        stops = []
        for number, moment in enumerate(at):
            said = folder / f"said-{number}"
            stops.append(check(site, line, stopped(site, line, moment, said)))
        done = site.good(*line)
        assert (done["outcome"], done["serial"]) == ("PASS", FIRST), done
        told = site.good("evidence", "--place", "a", "--trust", site.trust)
        assert (told["serial"], told["version"], told["kept"]) == (FIRST, "1.0.0", True), told
        if next_unit:
            site.twin("next")
            assert site.good(*(word if word != "a" else "next" for word in line))["serial"] == SECOND
        site.good("log", "verify", "--trust", site.trust)
        site.good("trace", FIRST, "--trust", site.trust)
    finally:
        site.verb("twin", "stop", "a", "--force")
    return stops


def campaign(count: int, seed: int, board: str) -> tuple[Counter[str], int]:
    """At least `count` stops; answers what they met, and how many units did not hold."""
    dice, met, wrong = random.Random(f"{board}/{seed}"), Counter[str](), 0
    while met.total() < count:
        at = moments(STOPS_PER_UNIT, dice)
        with tempfile.TemporaryDirectory(prefix="assay-ctrl-c-") as folder:
            try:
                stops = one_unit(Path(folder) / "site", board, at)
            except AssertionError as error:
                print(f"{board}, seed {seed}: {at}: {error}", file=sys.stderr, flush=True)
                met["did not hold"] += len(at)
                wrong += 1
                continue
        met.update(stop.kind for stop in stops)
        print(f"{met.total()} stops on {board}, {wrong} units did not hold", flush=True)
    return met, wrong


def main() -> None:
    """The command line; exit status 1 when a unit did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--board", default="ast1030-evb")
    asked = parser.parse_args()
    met, wrong = campaign(asked.stops, asked.seed, asked.board)
    for kind, number in met.most_common():
        print(f"{number:5}  {kind}")
    print(f"{met.total()} stops on {asked.board}, {wrong} units did not hold, seed {asked.seed}")
    sys.exit(wrong != 0 or met.total() == met[ENDED])


if __name__ == "__main__":
    main()
