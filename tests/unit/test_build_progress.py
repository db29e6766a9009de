# SPDX-License-Identifier: Apache-2.0
"""Progress of `assay build`: a bar on a terminal that moves as the two builds end, nothing in CI, stdout kept clean."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_build

from assay.pipeline.build_recipe import BuildRequest
from assay.pipeline.module_build import PARTS, build_module
from assay.pipeline.site import Site

MODULE = tiny_build.MODULE.replace(', "{defines}"', "").replace(', "mod/data"', "")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "boards").mkdir(parents=True)
    (root / "mod").mkdir()
    shutil.copy(tiny_build.ROOT / "boards" / "ast1030-evb.toml", root / "boards")
    (root / "mod" / "module.toml").write_text(MODULE)
    (root / "mod" / "build.py").write_text("import sys\nopen(sys.argv[1] + '/payload.bin', 'wb').write(b'same')\n")
    return root


def on_terminal(project: Path, **more: str) -> str:
    """What `assay build` shows on a terminal; its answer goes to a file."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, "-P", "-m", "assay", "build", "mod", "--board", "ast1030-evb", "--out", "out"]
    ours, theirs = pty.openpty()
    with (project / "stdout").open("wb") as answer:
        run = subprocess.Popen(
            [*command, "--builder", "host"],
            stdout=answer, stderr=theirs, cwd=project, env={**kept, "TERM": "xterm-256color", "COLUMNS": "120", **more},
        )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # the other end was closed
        pass
    os.close(ours)
    assert run.wait(timeout=60) == 0
    assert "two builds, same bytes" in (project / "stdout").read_text()
    return shown.decode()


def test_the_bar_counts_the_parts_of_a_build(project: Path) -> None:
    shown = on_terminal(project)
    counts = [int(done) for done in re.findall(rf"(\d)/{PARTS}", shown)]
    assert counts == sorted(counts)
    assert max(counts) >= 2, "a build had ended"  # a busy machine draws less often than the parts end
    assert "building mod" in shown


def test_in_ci_there_is_no_bar(project: Path) -> None:
    assert on_terminal(project, CI="1") == ""


def test_each_part_is_told_once(project: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    request = BuildRequest(project / "mod" / "module.toml", "ast1030-evb", builder="host")
    site = Site(tmp_path / "site")
    build_module(request, site, project / "out", lambda _line: None, lambda *parts: told.append(parts))
    assert told == [(number, PARTS) for number in range(1, PARTS + 1)]
    told.clear()
    assert build_module(
        request, site, project / "out", lambda _line: None, lambda *parts: told.append(parts)
    ).from_cache
    assert told == [(1, PARTS), (PARTS, PARTS)]
