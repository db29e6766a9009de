# SPDX-License-Identifier: Apache-2.0
"""Options of the test run."""

from __future__ import annotations

import os
import signal

import pytest

KILLS_IN_CI = 6
TIMEOUT_S = 300
WORKERS_A_PROCESSOR = 2
"""Of `-n auto`: more than half of the time a test waits for a line, a twin or a time-out."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """The time limit of a test; and Ctrl-C works in what tests start, also where the shell that runs them ignores it.

    The limit is no setting of `pyproject.toml`: somebody's suite in this folder is run where pytest-timeout is not.
    """
    if not hasattr(config.option, "timeout"):
        raise pytest.UsageError("these tests need pytest-timeout, which their own environment has: ./noxw -s tests")
    if config.option.timeout is None:
        config.option.timeout = TIMEOUT_S
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--kills` and `--kill-seed`: how long the kill campaign of the demo is, and which one it is."""
    parser.addoption("--kills", type=int, default=KILLS_IN_CI, help="kills in the campaign over the demo")
    parser.addoption("--kill-seed", type=int, default=1, help="seed of the campaign")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many `-n auto` starts, on the processors that this process may use."""
    return WORKERS_A_PROCESSOR * len(os.sched_getaffinity(0))
