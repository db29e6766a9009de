# SPDX-License-Identifier: Apache-2.0
"""Tests of a Linux module take minutes and need packages: they run when they are named (`nox -s linux`).

One site and one provisioned unit serve all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from linux_site import ROOT, made_trust, release
from linux_unit import provisioned, update

CUTS, LINK_CUTS = 5, 4
TIMEOUT_S = 7200
"""Seconds for one test: the first builds what all need, and a campaign is one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the campaigns of cuts are, and where their dice begin."""
    parser.addoption("--cuts", type=int, default=CUTS, help=f"power cuts of the Linux module [{CUTS}]")
    parser.addoption("--link-cuts", type=int, default=LINK_CUTS, help=f"cuts of its link in uploads [{LINK_CUTS}]")
    parser.addoption("--cut-seed", type=int, default=20261126, help="of the moments of the cuts")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Not with all the others."""
    named = any("linux" in Path(word.partition("::")[0]).parts for word in config.invocation_params.args)
    return None if named or collection_path.name == "conftest.py" else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The limit of the other tests is one for tests of seconds."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


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
def update_s(unit: str, trust: Path) -> float:
    """Seconds of a whole update, on this host today."""
    release("1.1.0")
    begun_s = time.monotonic()
    assert update("1.1.0", trust).status == 0
    return time.monotonic() - begun_s
