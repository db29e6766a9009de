# SPDX-License-Identifier: Apache-2.0
"""Campaigns of cuts on a Linux module: its power at any moment of an update, and its link in uploads; by seed.

nox -s linux -- -k power_goes --cuts 25 --cut-seed 7
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from cut_relay import cut_relay
from linux_site import assay, good, start
from linux_unit import FOLDER, TWIN, forget_other_slot, last_cut, other_version, runs, update, update_words

from assay.drivers.twin.linux_disk import PORT_FILE, chosen_port

AFTER_ITS_END = 1.05
"""Of the time that an update took: some cuts come when it is over."""
SENT_ANEW = 0.5
"""Of the updates that begin: the others find their image in the slot, and are install, mark, boot and confirm alone."""
STOPPED_WITHIN_S = 600
BUNDLE_BYTES = 20_000_000
"""Fewer than a bundle has: cuts come before this."""
SENT_MAX = 30_000_000
"""One bundle (26 MB), and what was under way twice."""
CUTS_EACH = 2


def cut_the_power(words: tuple[str, ...], after_s: float) -> int | None:
    """Give the command, and cut the power after so many seconds; its exit status if it had ended by then."""
    process = start(*words)
    time.sleep(after_s)
    ended = process.poll()
    good("twin", "power", "cut", TWIN, "--force")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=STOPPED_WITHIN_S)
    return ended


def test_the_power_goes_at_any_moment_and_a_slot_boots(
    unit: str, trust: Path, update_s: float, pytestconfig: pytest.Config
) -> None:
    """Somewhere in the upload, the installation, the mark, the restart, the confirmation or after it, and the disk
    forgets what was not flushed: a slot that verifies runs, and the same command goes on, to the next cut or to its
    end. What it had acknowledged is kept.
    """
    dice, told = random.Random(pytestconfig.getoption("--cut-seed")), Counter[str]()
    now = runs(trust)[0]
    for number in range(pytestconfig.getoption("--cuts")):
        wanted = other_version(now)
        if dice.random() < SENT_ANEW:
            forget_other_slot()
        after_s = dice.uniform(0, AFTER_ITS_END * update_s)
        ended = cut_the_power(update_words(wanted, trust), after_s)
        good("twin", "power", "on", TWIN, "--force")
        after = runs(trust)
        print(f"cut {number}: {after_s:.1f} s into {now} -> {wanted}: {ended=} runs {after}; {last_cut()}", flush=True)
        assert after[0] in (now, wanted)
        assert ended is None or (ended == 0 and after == (wanted, "confirmed"))
        told[f"{'new' if after[0] == wanted else 'old'}, {after[1]}"] += 1
        if after[1] != "confirmed" or dice.random() < 1 / 3:
            answer = assay(*update_words(wanted, trust))
            assert answer.status == 0, answer
            after = runs(trust)
            assert after == (wanted, "confirmed")
        now = after[0]
    print(dict(told))
    assert update(other_version(now), trust).status == 0


def test_the_link_is_cut_in_the_middle_of_uploads(unit: str, trust: Path, pytestconfig: pytest.Config) -> None:
    """Twice in each; the upload goes on where it was, in the same command."""
    dice, left = random.Random(pytestconfig.getoption("--cut-seed")), pytestconfig.getoption("--link-cuts")
    while left:
        wanted = other_version(runs(trust)[0])
        forget_other_slot()
        cuts = tuple(sorted(dice.randrange(BUNDLE_BYTES) for _ in range(min(left, CUTS_EACH))))
        port = chosen_port(FOLDER)
        try:
            with cut_relay(port, cuts) as relay:
                (FOLDER / PORT_FILE).write_text(str(relay.port))
                answer = update(wanted, trust)
        finally:
            (FOLDER / PORT_FILE).write_text(str(port))
        assert answer.status == 0, answer
        print(f"cut after {cuts} bytes: {answer.data['bytes_sent']} sent", flush=True)
        assert relay.cut == len(cuts)
        assert answer.data["bytes_sent"] < SENT_MAX
        assert runs(trust) == (wanted, "confirmed")
        left -= len(cuts)


def test_the_history_verifies(unit: str, trust: Path) -> None:
    found = good("trace", unit, "--trust", str(trust))
    assert found["broken"] == []
    assert found["links"] >= 6
