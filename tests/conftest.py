# SPDX-License-Identifier: Apache-2.0
"""Options of the test run."""

from __future__ import annotations

import signal

import pytest

KILLS_IN_CI = 6


def pytest_configure() -> None:
    """Ctrl-C works in what tests start, also where the shell that runs them in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--kills` and `--kill-seed`: how long the kill campaign of the demo is, and which one it is."""
    parser.addoption("--kills", type=int, default=KILLS_IN_CI, help="kills in the campaign over the demo")
    parser.addoption("--kill-seed", type=int, default=1, help="seed of the campaign")
