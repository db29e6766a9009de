# SPDX-License-Identifier: Apache-2.0
"""Pytest on a bench of two real units with names: a worker for each, a run in the line beside them, both in a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from life_site import APP, ROOT, LifeSite, environment, unit_site

PATIENCE_S = 100.0
BENCH = """schema = "assay.bench/1"
[[places]]
name = "left"
board = "ast1030-evb"
twin = "a"
[[places]]
name = "right"
board = "ast1030-evb"
twin = "r"
features = ["radio"]
"""
SHARED = """
import os, pathlib, time, pytest
FOLDER = pathlib.Path(__file__).parent
@pytest.mark.parametrize("number", range(4))
def test_alone(unit, smp, number):
    with (FOLDER / "workers").open("a") as file:
        print(os.getpid(), unit.place, file=file)
    assert smp.echo("x") == "x"
    while not (FOLDER / "go").exists():
        time.sleep(0.05)
"""
BOTH = """
import pytest
@pytest.mark.unit("sensor")
@pytest.mark.unit("radio", feature="radio")
def test_both(units):
    sensor, radio = units["sensor"], units["radio"]
    assert (sensor.unit.place, radio.unit.place) == ("left", "right")
    assert sensor.smp.info().chip != radio.smp.info().chip
    boots = radio.smp.stats().boots
    sensor.power.cut()
    assert radio.smp.echo("alone") == "alone"
    sensor.power.on()
    sensor.console.wait_for("ASSAY-APP 1")
    assert radio.smp.stats().boots == boots and radio.console.lines() == ()
"""


@pytest.fixture
def site(tmp_path: Path) -> LifeSite:
    made = unit_site("ast1030-evb", tmp_path / "site")
    (tmp_path / "bench.toml").write_text(BENCH)
    made.twin("r")
    made.good(*made.provision_line("r"))
    return made


def start(site: LifeSite, name: str, text: str, *more: str) -> subprocess.Popen[str]:
    """Plain pytest on both places, on a suite of its own."""
    suite = site.folder.parent / name
    suite.mkdir()
    (suite / "test_it.py").write_text(text)
    line = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider", str(suite), *more]
    line += ["--assay-place", "left", "--assay-place", "right", "--assay-bench", str(site.folder.parent / "bench.toml")]
    line += ["--assay-release", f"{APP}@1.0.0", "--assay-site", str(site.folder), "--assay-trust", str(site.trust)]
    return subprocess.Popen(
        line, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def eventually(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.05)


@pytest.mark.timeout(900)
def test_two_workers_two_places_and_a_run_that_waits_for_both(site: LifeSite) -> None:
    folder = site.folder.parent
    log = folder / "shared" / "workers"
    runs = [start(site, "shared", SHARED, "-n", "2")]
    try:
        eventually(lambda: log.is_file() and len(log.read_text().splitlines()) == 2)
        pid_of = {place: pid for pid, place in (line.split() for line in log.read_text().splitlines())}
        assert sorted(pid_of) == ["left", "right"] and len(set(pid_of.values())) == 2
        runs.append(start(site, "both", BOTH, "--assay-wait", "500"))
        waiting = runs[1]
        assert waiting.stdout is not None
        told = next(line for line in waiting.stdout if "waits for it" in line)
        assert told.startswith(f"assay: right is used by assay test (pid {pid_of['right']}, user "), told
        eventually(lambda: f"pid {waiting.pid}" in who(site, "right"))
        runs.append(start(site, "late", "def test_it(unit): pass"))
        late, _ = runs[2].communicate(timeout=PATIENCE_S)
        assert runs[2].returncode == 1
        assert re.search(
            rf"right is used by assay test \(pid {pid_of['right']}.*1 wait before: .*pid {waiting.pid}", late
        )
        assert waiting.poll() is None
        (folder / "shared" / "go").touch()
        for run in runs[:2]:
            said, _ = run.communicate(timeout=PATIENCE_S)
            assert run.returncode == 0, said
        assert len(log.read_text().splitlines()) == 4
    finally:
        for run in runs:
            run.kill()
            run.communicate()


def who(site: LifeSite, place: str) -> str:
    """Those who wait for the place, in words."""
    return str(site.good("bench", "who", place, "--bench", site.folder.parent / "bench.toml")["waiting"])
