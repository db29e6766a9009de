# SPDX-License-Identifier: Apache-2.0
"""A project of `assay init`, as its README says: it builds, passes its tests and runs on an emulated board."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)

CPU_MAX_S = 60
"""Seconds of one core for all of it; a busy machine stretches the time on the clock, and not this."""


def test_a_new_project_builds_and_passes_its_tests_on_a_twin(tmp_path: Path) -> None:
    def assay(*words: str, folder: Path) -> dict[str, object]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")} | {"CI": "1"}
        command = [sys.executable, "-m", "assay", *words, "--json"]
        answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        found: dict[str, object] = json.loads(answer.stdout)
        return found

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    project = tmp_path / "gauge"
    assay("init", str(project), folder=tmp_path)
    found = assay("run", "pipelines/try.toml", folder=project)
    steps = found["steps"]
    assert isinstance(steps, list)
    assert {step["outcome"] for step in steps} == {"PASS"}
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < CPU_MAX_S
    brief = next((project / "build" / "try").glob("*/trace-brief.txt")).read_text()
    assert "Tested gauge@1.0.0+1 with gauge: PASS" in brief
