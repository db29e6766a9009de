# SPDX-License-Identifier: Apache-2.0
"""Tests of a Linux module take minutes and need packages: they run when they are named (`nox -s linux`)."""

from __future__ import annotations

from pathlib import Path

import pytest

CUTS = 10
TIMEOUT_S = 7200
"""Seconds for one test: the first builds what all need, and a campaign is one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the campaign of power cuts is, and where its dice begin."""
    parser.addoption("--cuts", type=int, default=CUTS, help=f"power cuts of the Linux module [{CUTS}]")
    parser.addoption("--cut-seed", type=int, default=20261126, help="of the moments when the power goes")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Not with all the others."""
    named = any("linux" in Path(word.partition("::")[0]).parts for word in config.invocation_params.args)
    return None if named or collection_path.name == "conftest.py" else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The limit of the other tests is one for tests of seconds."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
