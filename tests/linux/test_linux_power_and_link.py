# SPDX-License-Identifier: Apache-2.0
"""Campaigns of cuts on a Linux module: its power at any moment of an update and at its flushes, and its link in
uploads; by seed.

nox -s linux -- -k power_goes --cuts 25 --cut-seed 7
"""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest
from cut_campaign import UPDATE_TIMEOUT_S, Cut, campaign, cut_after, cut_at_flush, stop
from linux_site import good, start
from linux_unit import (
    TWIN,
    WholeUpdate,
    forget_other_slot,
    link_cuts,
    other_version,
    rauc_installs,
    relayed,
    runs,
    unit_host,
    update,
    update_words,
    wait_until,
)

AFTER_ITS_END = 1.05
"""Of the time that an update took: some cuts come when it is over."""
SURELY_LOSE = 8
"""So many cuts at flushes lose something."""
SENT_MAX = 30_000_000
"""One bundle (26 MB), and what was under way twice."""
CUTS_EACH = 2


@pytest.fixture
def dice(pytestconfig: pytest.Config) -> random.Random:
    """The moments of all cuts follow from them."""
    return random.Random(pytestconfig.getoption("--cut-seed"))


def test_the_power_goes_at_any_moment_and_a_slot_boots(
    whole_update: WholeUpdate, trust: Path, dice: random.Random, pytestconfig: pytest.Config
) -> None:
    """Somewhere in the upload, the installation, the mark, the restart, the confirmation or after it."""

    def at_a_moment(_anew: bool) -> tuple[str, Cut]:
        after_s = dice.uniform(0, AFTER_ITS_END * whole_update.seconds)
        return f"after {after_s:.1f} s", partial(cut_after, after_s=after_s)

    campaign(trust, dice, pytestconfig.getoption("--cuts"), at_a_moment)


@pytest.mark.sampled
def test_the_disk_forgets_what_was_not_flushed_and_a_slot_boots(
    whole_update: WholeUpdate, trust: Path, dice: random.Random, pytestconfig: pytest.Config
) -> None:
    """The power goes when the disk is asked to keep what was written: then most is at stake."""

    def at_a_flush(anew: bool) -> tuple[str, Cut]:
        most = whole_update.flushes if anew else whole_update.flushes // 2
        number, seed = dice.randint(1, most), dice.getrandbits(32)
        return f"at flush {number}", partial(cut_at_flush, number=number, seed=seed)

    count = pytestconfig.getoption("--lost-flush")
    assert campaign(trust, dice, count, at_a_flush) or count < SURELY_LOSE


def test_the_link_is_cut_in_the_middle_of_uploads(
    unit: str, trust: Path, dice: random.Random, pytestconfig: pytest.Config
) -> None:
    """Twice in each; the upload goes on where it was, in the same command."""
    left = pytestconfig.getoption("--link-cuts")
    while left:
        wanted = other_version(runs(trust)[0])
        forget_other_slot()
        cuts = link_cuts(dice, min(left, CUTS_EACH))
        with relayed(cuts) as relay:
            answer = update(wanted, trust)
        assert answer.status == 0, answer
        print(f"link cut after {cuts} bytes: {answer.data['bytes_sent']} sent", flush=True)
        assert relay.cut == len(cuts)
        assert answer.data["bytes_sent"] < SENT_MAX
        assert runs(trust) == (wanted, "confirmed")
        left -= len(cuts)


def test_the_power_goes_while_rauc_installs(unit: str, trust: Path) -> None:
    """All is uploaded and not installed: the same command installs it."""
    wanted = other_version(runs(trust)[0])
    forget_other_slot()
    with unit_host() as host:
        process = start(*update_words(wanted, trust))
        wait_until(lambda: rauc_installs(host), UPDATE_TIMEOUT_S, "RAUC does not install")
        stop(process)
    good("twin", "power", "on", TWIN)
    answer = update(wanted, trust)
    assert answer.status == 0, answer
    assert runs(trust) == (wanted, "confirmed")


def test_the_link_is_cut_while_rauc_installs(unit: str, trust: Path) -> None:
    """The last answer is lost with it: it is not waited for, and nobody disturbs RAUC."""
    wanted = other_version(runs(trust)[0])
    forget_other_slot()
    with unit_host() as host, relayed(()) as relay:
        process = start(*update_words(wanted, trust))
        wait_until(lambda: rauc_installs(host), UPDATE_TIMEOUT_S, "RAUC does not install")
        relay.cut_now()
        _, words = process.communicate(timeout=UPDATE_TIMEOUT_S)
    assert process.returncode == 0, words
    assert runs(trust) == (wanted, "confirmed")


@pytest.mark.sampled
def test_the_history_verifies(unit: str, trust: Path) -> None:
    found = good("trace", unit, "--trust", str(trust))
    assert found["broken"] == []
    assert found["links"] >= 6
