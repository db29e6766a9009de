# SPDX-License-Identifier: Apache-2.0
"""Campaigns of cuts on a Linux module: its power at any moment of an update and at its flushes, its link at any moment
and in uploads; by seed.

nox -s linux-cuts -- --cuts 40 --cut-seed 7
"""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest
from cut_campaign import Cut, campaign, cut_after, cut_at_flush, link_campaign
from cut_counts import CutCounts
from linux_unit import WholeUpdate, forget_other_slot, link_cuts, other_version, relayed, runs, update

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


def counts(config: pytest.Config, option: str) -> CutCounts:
    """Of the campaign that this option counts."""
    return CutCounts(option[2:], config.getoption(option), config.getoption("--cut-seed"))


def test_the_power_goes_at_any_moment_and_a_slot_boots(
    whole_update: WholeUpdate, trust: Path, dice: random.Random, pytestconfig: pytest.Config
) -> None:
    """Somewhere in the upload, the installation, the mark, the restart, the confirmation or after it."""

    def at_a_moment(left: float, slower: float) -> tuple[str, Cut]:
        after_s = dice.uniform(0, AFTER_ITS_END * whole_update.seconds * left * slower)
        return f"after {after_s:.1f} s", partial(cut_after, after_s=after_s)

    with counts(pytestconfig, "--cuts") as told:
        campaign(trust, dice, told, whole_update, at_a_moment)


@pytest.mark.sampled
def test_the_disk_forgets_what_was_not_flushed_and_a_slot_boots(
    whole_update: WholeUpdate, trust: Path, dice: random.Random, pytestconfig: pytest.Config
) -> None:
    """The power goes when the disk is asked to keep what was written: then most is at stake."""

    def at_a_flush(left: float, _slower: float) -> tuple[str, Cut]:
        most = round(whole_update.flushes * left)
        number, seed = dice.randint(1, most), dice.getrandbits(32)
        return f"at flush {number}", partial(cut_at_flush, number=number, seed=seed)

    with counts(pytestconfig, "--lost-flush") as told:
        campaign(trust, dice, told, whole_update, at_a_flush)
    assert told.lost or told.wanted < SURELY_LOSE


def test_the_link_is_cut_at_any_moment_and_the_update_ends(
    whole_update: WholeUpdate, trust: Path, dice: random.Random, pytestconfig: pytest.Config
) -> None:
    """Also while the unit installs, restarts or confirms, and the way stays closed for a while."""
    with counts(pytestconfig, "--link-moments") as told:
        link_campaign(trust, dice, told, AFTER_ITS_END * whole_update.seconds)


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
