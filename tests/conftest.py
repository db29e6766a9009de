# SPDX-License-Identifier: Apache-2.0
"""Options of the test run."""

from __future__ import annotations

import pytest

KILLS_IN_CI = 6


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--kills` and `--kill-seed`: how long the kill campaign of the demo is, and which one it is."""
    parser.addoption("--kills", type=int, default=KILLS_IN_CI, help="kills in the campaign over the demo")
    parser.addoption("--kill-seed", type=int, default=1, help="seed of the campaign")
