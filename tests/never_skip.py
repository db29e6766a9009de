# SPDX-License-Identifier: Apache-2.0
"""A plugin of CI's test runs: what is skipped, though the session has installed what it needs, has failed.

Loaded by the noxfile, which says in `ASSAY_NEVER_SKIP` for which reasons (a pattern).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

NEVER_SKIP = "ASSAY_NEVER_SKIP"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """A test."""
    outcome: Any = yield
    _not_skipped(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """A whole file."""
    outcome: Any = yield
    _not_skipped(outcome.get_result())


def _not_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    pattern = os.environ.get(NEVER_SKIP)
    if not pattern or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if re.search(pattern, reason):
        report.outcome = "failed"
        report.longrepr = f"{reason}: may not be skipped here ({NEVER_SKIP})"
