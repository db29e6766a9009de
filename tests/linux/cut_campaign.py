# SPDX-License-Identifier: Apache-2.0
"""Campaigns of cuts in updates of the Linux module: of its power, the same for cuts of any kind, and of its link."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cut_counts import CameOf, CutCounts
from linux_site import assay, good, start
from linux_unit import (
    TWIN,
    WholeUpdate,
    forget_other_slot,
    other_version,
    power_cuts,
    relayed,
    runs,
    update_words,
    wait_until,
)

SENT_ANEW = 0.5
"""Of the updates that begin: the others find their image in the slot, and are install, mark, boot and confirm alone."""
SHARE = {True: 1.0, False: 0.5}
"""About how much of a whole update's time and flushes is left, by whether everything is sent anew."""
GOES_ON = 1 / 2
"""Of the cuts whose unit is kept as it was: the same command then goes on to its end, and not to the next cut."""
UPDATE_TIMEOUT_S = 1800
STOPPED_WITHIN_S = 600
FAIL, ERROR = 1, 3
LINK_GONE_S = (0, 3, 12)
"""How long a cut link is away: not at all, and shorter and longer than a login takes."""
OVER, COMPLETED, NEXT_CUT = "it was over", "the same command completed it", "the same command went on into the next cut"
BY_ITSELF = "the command went on by itself"
LOST = re.compile(r"power cut: (\d+) of (\d+) unflushed sectors lost, seed \d+, after (\d+) flushes")

Cut = Callable[[tuple[str, ...]], int | None]
"""Gives a command, and takes the power; the command's exit status if it had ended by then."""


def flushes_of_the_last_run() -> int:
    """How often the disk was asked to keep what was written, from the last power on to the cut."""
    found = LOST.match(power_cuts()[-1])
    assert found
    return int(found[3])


def cut_after(words: tuple[str, ...], after_s: float) -> int | None:
    """After so many seconds of this host's clock."""
    process = start(*words)
    time.sleep(after_s)
    ended = process.poll()
    stop(process)
    return ended


def stop(process: subprocess.Popen[str]) -> None:
    """Take the power, and interrupt the command, which would wait for it."""
    good("twin", "power", "cut", TWIN, "--force")
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=STOPPED_WITHIN_S)
    if process.returncode == FAIL:
        print(words, flush=True)


def cut_at_flush(words: tuple[str, ...], number: int, seed: int) -> int | None:
    """When the disk is asked for that flush; right after the command's end when there are not so many."""
    before = len(power_cuts())
    good("twin", "power", "cut", TWIN, "--force", "--at-flush", str(number), "--disk-seed", str(seed))
    process = start(*words)
    gone = f"neither the power went nor {words} ended"
    wait_until(lambda: process.poll() is not None or len(power_cuts()) > before, UPDATE_TIMEOUT_S, gone)
    ended = process.poll()
    stop(process)  # the power, too, when the flush never came
    return ended


def campaign(
    trust: Path,
    dice: random.Random,
    counts: CutCounts,
    whole: WholeUpdate,
    cut: Callable[[float, float], tuple[str, Cut]],
) -> None:
    """So many cuts. `cut` is told how much is left of a whole update, and how much slower this host is by now than when
    the `whole` one was timed, by a start of the unit with its evidence.

    After each a slot that verifies runs, the old one or the new one, and the same command goes on, to the next cut or
    (the last one always) to its end. What it had acknowledged is kept.
    """
    now, slower = runs(trust)[0], 1.0
    for number in range(counts.wanted):
        wanted, anew = other_version(now), dice.random() < SENT_ANEW
        if anew:
            forget_other_slot()
        when, take = cut(SHARE[anew], slower)
        ended = take(update_words(wanted, trust))
        begun_s = time.monotonic()
        good("twin", "power", "on", TWIN, "--force")
        after, said = runs(trust), power_cuts()[-1]
        slower = max(1.0, (time.monotonic() - begun_s) / whole.start_s)
        print(f"{when} of {now} -> {wanted} ({anew=}): {ended=} runs {after}; {said}", flush=True)
        assert after[0] in (now, wanted)
        assert ended is None or (ended == 0 and after == (wanted, "confirmed"))
        found = LOST.match(said)
        assert found
        came = CameOf(when, anew, ended, "new" if after[0] == wanted else "old", after[1], int(found[1]), NEXT_CUT)
        if after == (wanted, "confirmed"):
            came = replace(came, then=OVER)
        elif after[1] != "confirmed" or dice.random() < GOES_ON or number == counts.wanted - 1:
            answer = assay(*update_words(wanted, trust))
            assert answer.status == 0, answer
            after = runs(trust)
            assert after == (wanted, "confirmed")
            came = replace(came, then=COMPLETED)
        counts.add(came)
        now = after[0]


def link_campaign(trust: Path, dice: random.Random, counts: CutCounts, whole_s: float) -> None:
    """So many cuts of its link, at any moment of updates and for a while. The command goes on, or is ERROR and the same
    command goes on: never FAIL, since nothing was wrong with unit or image.
    """
    now = runs(trust)[0]
    for _ in range(counts.wanted):
        wanted, anew = other_version(now), dice.random() < SENT_ANEW
        if anew:
            forget_other_slot()
        after_s, for_s = dice.uniform(0, whole_s * SHARE[anew]), dice.choice(LINK_GONE_S)
        with relayed(()) as relay:
            begun_s = time.monotonic()
            process = start(*update_words(wanted, trust))
            time.sleep(after_s)
            over = process.poll()
            relay.cut_now(for_s)
            _, words = process.communicate(timeout=UPDATE_TIMEOUT_S)
        if anew and process.returncode == 0:
            whole_s = time.monotonic() - begun_s - for_s  # by today's load
        assert process.returncode in (0, ERROR), words
        then = OVER if over is not None else BY_ITSELF
        if process.returncode == ERROR:
            print(words, flush=True)
            answer = assay(*update_words(wanted, trust))
            assert answer.status == 0, answer
            then = COMPLETED
        after = runs(trust)
        assert after == (wanted, "confirmed")
        counts.add(CameOf(f"after {after_s:.1f} s, for {for_s} s", anew, over, "new", after[1], 0, then))
        now = wanted
