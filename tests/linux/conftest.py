# SPDX-License-Identifier: Apache-2.0
"""Tests of a Linux module take minutes and need packages: they run when they are named (`nox -s linux`).

One site and one provisioned unit serve all of them. `--sample` is what CI runs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cut_campaign import flushes_of_the_last_run
from linux_site import ROOT, good, made_trust, release
from linux_unit import TWIN, WholeUpdate, link_cuts, provisioned, relayed, runs, update

CAMPAIGNS = {
    "--cuts": (5, 0, "power cuts at any moment"),
    "--lost-flush": (10, 1, "power cuts at flushes of the disk"),
    "--link-cuts": (4, 2, "cuts of its link in uploads"),
    "--link-moments": (3, 0, "cuts of its link at any moment"),
}
"""How many by default, how many in a sample, and what they are."""
TIMEOUT_S = 7200
"""Seconds for one test: the first builds what all need."""
CUT_TIMEOUT_S = 300
"""For each cut of a campaign, which is one test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the campaigns of cuts are, and where their dice begin."""
    for option, (usual, sampled, what) in CAMPAIGNS.items():
        parser.addoption(option, type=int, help=f"{what} [{usual}; in a sample {sampled}]")
    parser.addoption("--cut-seed", type=int, default=20261126, help="of the moments of the cuts")
    parser.addoption("--sample", action="store_true", help="one test of each kind, for CI")


def pytest_configure(config: pytest.Config) -> None:
    """The mark of what is in a sample, and its numbers."""
    config.addinivalue_line("markers", "sampled: a test of the Linux module that `--sample` runs")
    for option, (usual, sampled, _) in CAMPAIGNS.items():
        if config.getoption(option) is None:
            setattr(config.option, option[2:].replace("-", "_"), sampled if config.getoption("--sample") else usual)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Not with all the others."""
    named = any("linux" in Path(word.partition("::")[0]).parts for word in config.invocation_params.args)
    return None if named or collection_path.name == "conftest.py" else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The limit of the other tests is one for tests of seconds."""
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    cuts = max(config.getoption(option) for option in CAMPAIGNS)
    for item in ours:
        item.add_marker(pytest.mark.timeout(TIMEOUT_S + CUT_TIMEOUT_S * cuts))
    if config.getoption("--sample"):
        left_out = [item for item in ours if item.get_closest_marker("sampled") is None]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def trust() -> Path:
    if not (ROOT / "linux-base" / "root.tar").exists():
        pytest.fail("linux-base is not there: python firmware/linux/fetch_base.py")
    return made_trust()


@pytest.fixture(scope="session")
def unit(trust: Path) -> Iterator[str]:
    """A provisioned unit on the twin; its serial number."""
    with provisioned(trust) as serial:
        yield serial


@pytest.fixture(scope="session")
def whole_update(unit: str, trust: Path, pytestconfig: pytest.Config) -> WholeUpdate:
    """What a whole update is on this host today; the power goes right after it. In a sample its link is cut, too: there
    is no other such update.
    """
    release("1.1.0")
    good("twin", "power", "cut", TWIN)  # so that the flushes of this update are counted, and of no other
    good("twin", "power", "on", TWIN)
    dice = random.Random(pytestconfig.getoption("--cut-seed"))
    cuts = link_cuts(dice, pytestconfig.getoption("--link-cuts")) if pytestconfig.getoption("--sample") else ()
    begun_s = time.monotonic()
    with relayed(cuts) as relay:
        assert update("1.1.0", trust).status == 0
    assert relay.cut == len(cuts)
    took_s = time.monotonic() - begun_s
    good("twin", "power", "cut", TWIN)
    begun_s = time.monotonic()
    good("twin", "power", "on", TWIN)
    assert runs(trust) == ("1.1.0", "confirmed")
    return WholeUpdate(took_s, flushes_of_the_last_run(), time.monotonic() - begun_s)
