# SPDX-License-Identifier: Apache-2.0
"""The tutorials' commands, run as they stand, in their order, by a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
PROJECT = ("boards", "firmware", "pipelines", "provisioning", "suites")
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


_FILE = re.compile(r"^```\{code-block\} \w+\n:caption: (\S+)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files(tutorial: Path) -> dict[str, str]:
    """The files that the reader writes: blocks whose caption is a path."""
    return dict(_FILE.findall(tutorial.read_text()))


def commands(tutorial: Path) -> list[str]:
    """Every line of a console block that begins with `$ `."""
    lines = [line for block in _BLOCK.findall(tutorial.read_text()) for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_every_command_of_the_tutorial_passes(tutorial: Path, tmp_path: Path) -> None:
    """In a folder that looks like the project's, so that nothing is left in the project itself."""
    for name in PROJECT:
        (tmp_path / name).symlink_to(ROOT / name)
    for name, text in files(tutorial).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    script = "set -e\n" + "\n".join(f"echo '$' {line!r} >&2\n{line}" for line in commands(tutorial))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "CI": "1"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=560, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tutorials_have_commands() -> None:
    """A tutorial that lost its blocks would pass by running nothing."""
    assert TUTORIALS
    assert all(len(commands(tutorial)) > 5 for tutorial in TUTORIALS)
