# SPDX-License-Identifier: Apache-2.0
"""The firmware's core on the host, under sanitizers: parser, frames, stores, and every power cut."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUN_HOST = Path(__file__).resolve().parents[2] / "firmware" / "tests" / "run_host.py"


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for this host: apt-get install gcc")
def test_host_tests_pass(request: pytest.FixtureRequest) -> None:
    """All pass, and there are as many as there should be: a run that found no tests proves nothing."""
    assert request.config.cache is not None
    cache = request.config.cache.mkdir("firmware")
    command = [sys.executable, str(RUN_HOST), "--cache", str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(r"all power cuts: (\d+)\n(\d+) tests, (\d+) checks, 0 failures", done.stdout)
    assert counts, done.stdout
    cuts, tests, checks = (int(count) for count in counts.groups())
    assert cuts > 9000
    chips = re.findall(r"geometry \S+: (\d+) power cuts, \d+ tests, \d+ checks, 0 failures", done.stdout)
    assert len(chips) >= 3
    assert all(int(cuts) > 2000 for cuts in chips)
    assert tests >= 60
    assert checks > 100_000
