# SPDX-License-Identifier: Apache-2.0
"""Suites of pytest-embedded beside ours: below one hold of a place, and both plugins in one run.

`nox -s tests` puts pytest-embedded into a folder of its own (`requirements/pytest-embedded.txt`), which goes onto
PYTHONPATH here: in the test environment it would be loaded by every pytest.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from life_site import APP, ROOT, LifeSite, environment, unit_site

PACKAGES = ROOT / ".nox" / "pytest-embedded"
PAGE = ROOT / "docs" / "how-to" / "coming-from-labgrid-or-pytest-embedded.md"
PATIENCE_S = 240.0
VERSION = "1.0.0"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider"]

pytestmark = [
    pytest.mark.skipif(not PACKAGES.is_dir(), reason="no pytest-embedded here: nox -s tests"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LifeSite]:
    """Twin `a` is a unit, and runs; the suites of the page lie beside the site."""
    folder = tmp_path_factory.mktemp("embedded")
    made = unit_site("ast1030-evb", folder / "site")
    for name, text in re.findall(r"```{code-block} \w+\n:caption: ([\w/.]+)[^\n]*\n\n(.*?)```", PAGE.read_text(), re.S):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace("1.4.0", VERSION))
    made.good("twin", "start", "a")
    yield made
    made.verb("twin", "stop", "a", "--force")


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command that finds pytest-embedded."""
    beside = environment() | {"PYTHONPATH": str(PACKAGES)}
    return subprocess.run(
        list(map(str, words)), cwd=ROOT, env=beside, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def theirs(site: LifeSite) -> list[str]:
    """What says to pytest-embedded where the unit is."""
    return ["--embedded-services", "serial", "--port", str(site.folder / "twins" / "a" / "tty")]


def test_the_two_suites_of_the_page_take_turns_below_one_hold(site: LifeSite, tmp_path: Path) -> None:
    """`assay test` loads no plugin of anybody, so that theirs on the path changes nothing."""
    suites = site.folder.parent
    old = [*PYTEST, *theirs(site), str(suites / "embedded")]
    new = ["test", suites / "new", "--place", "a", "--release", f"{APP}@{VERSION}", "--results", tmp_path / "results"]
    ours = site.command(*new, "--trust", site.trust)[:-1]
    script = f"{shlex.join(old)} && {shlex.join(ours)}"
    held = [sys.executable, "-m", "assay", "bench", "acquire", "--site", site.folder, "a", "--", "sh", "-c", script]
    done = run(*held)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout, done.stdout
    assert f"PASS new on a (DEMO-000001), {APP}@{VERSION}" in done.stdout, done.stdout


def test_both_plugins_in_one_run_each_on_its_unit(site: LifeSite, tmp_path: Path) -> None:
    """Their fixtures and ours have other names, and what we report counts both."""
    suites = site.folder.parent
    site.twin("b")
    site.good(*site.provision_line("b"))
    ours = ["--assay-place", "b", "--assay-release", f"{APP}@{VERSION}", "--assay-trust", str(site.trust)]
    ours += ["--assay-site", str(site.folder), "--assay-results", str(tmp_path / "results")]
    done = run(*PYTEST, "--import-mode=importlib", *theirs(site), *ours, suites / "embedded", suites / "new")
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr
    report = (tmp_path / "results" / "junit.xml").read_text()
    assert 'tests="2" failures="0" errors="0"' in report, report
