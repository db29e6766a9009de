# SPDX-License-Identifier: Apache-2.0
"""A suite that a test writes, pytest with the plugin on it in a process of its own, and what that left.

Leaves to others: the bench that the plugin finds (`fake_bench`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.model.verdict import CaseResult, SuiteRun

HERE = Path(__file__).parent
CONFTEST = f"import sys; sys.path.insert(0, {str(HERE)!r}); import fake_bench; fake_bench.install()\n"
START_TIMEOUT_S = 100.0


class Bench:
    """A folder with a suite, and a way to run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.suite = folder / "suite"
        self.suite.mkdir()
        (self.suite / "conftest.py").write_text(CONFTEST)
        self.results = folder / "results"
        self.log = folder / "bench.log"
        self.output = ""

    def write(self, text: str, name: str = "test_it.py") -> None:
        (self.suite / name).write_text("import pytest, fake_bench\nfrom assay.errors import *\n" + text)

    def command(self, *options: str) -> list[str]:
        named = [] if "--assay-place" in options else ["--assay-place", "fake"]
        place = [*named, "--assay-release", "demo-sensor@1.0.0", "--assay-trust", "trust.toml"]
        plugins = ["-p", "no:cacheprovider", "-p", "assay.pytest_plugin", *(["-p", "xdist"] if "-n" in options else [])]
        base = [sys.executable, "-m", "pytest", "-q", *plugins, "-c", os.devnull, "--rootdir", "."]
        return [*base, *place, "--assay-results", str(self.results), *options, "."]

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASSAY_", "PYTEST_"))}
        quick = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return {**kept, **quick, "FAKE_LOG": str(self.log), **more}

    def run(self, *options: str, **more: str) -> int:
        done = subprocess.run(
            self.command(*options),
            cwd=self.suite,
            env=self.environment(**more),
            capture_output=True,
            timeout=200,
            text=True,
        )
        self.output = done.stdout + done.stderr
        return done.returncode

    @property
    def verdict(self) -> SuiteRun:
        suite = json.loads((self.results / "suite.json").read_bytes())
        assert suite.pop("schema") == "assay.suite/1"
        return SuiteRun.model_validate_json(json.dumps(suite))

    def case(self, name: str) -> CaseResult:
        (found,) = [case for case in self.verdict.cases if case.name.endswith(f"::{name}")]
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def event_lines(folder: Path) -> list[str]:
    return [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)
