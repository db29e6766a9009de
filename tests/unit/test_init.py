# SPDX-License-Identifier: Apache-2.0
"""`assay init`: a whole project or none, from a checkout and from an installed assay without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import assay
from assay.backends import project_kit
from assay.backends.project_kit import KIT, kit_files
from assay.cli import init
from assay.cli.init import command
from assay.errors import ToolMissing
from assay.pipeline import project_start
from assay.pipeline.manifest_files import board_names, load_board, load_module, load_pipeline, load_profile
from assay.pipeline.product_resolve import load_product
from assay.pipeline.project_start import BOARDS, start_project

ROOT = Path(__file__).parents[2]


def run(*words: str) -> tuple[int, dict[str, Any]]:
    answer = CliRunner().invoke(command, [*words, "--json"])
    return answer.exit_code, json.loads(answer.stdout)


@pytest.mark.parametrize("board", BOARDS)
def test_a_project_has_manifests_that_fit_each_other(tmp_path: Path, board: str) -> None:
    folder = tmp_path / "gauge"
    status, found = run(str(folder), "--board", board)
    assert (status, found["module"], found["files"]) == (0, "gauge", sorted(found["files"]))
    module = load_module(folder / "firmware" / "app")
    profile, _ = load_profile(folder / "provisioning" / "gauge.toml")
    product, _ = load_product(folder)
    assert (module.name, [need.name for need in module.boards], board_names(folder)) == ("gauge", [board], [board])
    assert (profile.app, profile.bootloader, profile.serial.prefix) == ("gauge", "assay-bootloader", "GAUGE-")
    assert [each.name for each in product.modules] == ["assay-bootloader", "gauge"]
    assert load_pipeline(folder / "pipelines" / "try.toml").variables["board"] == board
    assert set(module.resources.peripherals) <= set(load_board(folder / "boards" / f"{board}.toml").peripherals)
    for declared in module.build.sources:
        assert (folder / declared).exists()
    assert not [path for path in folder.rglob("*") if "__pycache__" in path.parts or "@" in path.name]
    assert "@NAME@" not in (folder / "README.md").read_text()


def test_the_apps_contract_is_the_one_of_the_repository(tmp_path: Path) -> None:
    """Who changes what the demo's app needs or offers changes what new projects begin with."""
    start_project(tmp_path / "gauge", "gauge", "rv32-virt")
    ours, theirs = load_module(ROOT / "firmware" / "app"), load_module(tmp_path / "gauge" / "firmware" / "app")
    same = ("build", "interfaces", "capabilities", "dependencies", "resources", "update")
    assert {name: getattr(ours, name) for name in same} == {name: getattr(theirs, name) for name in same}


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "gauge"
    folder.mkdir()
    assert run(str(folder))[0] == 0
    (folder / "README.md").write_text("mine")
    status, refused = run(str(folder))
    assert (status, "is there already" in refused["error"]) == (2, True)
    assert (folder / "README.md").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gauge"]


def test_the_folder_that_a_person_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays the same folder: a shell is in it."""
    folder = tmp_path / "gauge"
    folder.mkdir()
    monkeypatch.chdir(folder)
    before = folder.stat().st_ino
    done = CliRunner().invoke(command, ["."])
    assert done.exit_code == 0 and "assay run pipelines/try.toml" in done.output and " cd " not in done.output
    assert (load_module(folder / "firmware" / "app").name, folder.stat().st_ino) == ("gauge", before)
    assert [path.name for path in tmp_path.iterdir()] == ["gauge"]


def test_the_folder_that_a_person_is_in_stays_empty_when_one_file_cannot_be_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if self.name == "pipelines":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    status, refused = run(".", "--name=gauge")
    assert (status, "No space left" in refused["error"], list(tmp_path.iterdir())) == (3, True, [])


@pytest.mark.parametrize(("name", "said"), [("Gauge", "cannot be the name"), ("-x", "cannot be the name")])
def test_a_name_that_a_module_cannot_have(tmp_path: Path, name: str, said: str) -> None:
    status, refused = run(str(tmp_path / "p"), f"--name={name}")
    assert (status, said in refused["error"], (tmp_path / "p").exists()) == (2, True, False)


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    status, refused = run(str(tmp_path / "gauge"))
    assert (status, "No space left" in refused["error"], list(tmp_path.iterdir())) == (3, True, [])


def test_an_assay_without_the_kit_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assay, "__file__", str(tmp_path / "lib" / "assay" / "__init__.py"))
    with pytest.raises(ToolMissing, match="no firmware to start a project from") as caught:
        kit_files()
    assert "from its wheel" in caught.value.remedy


def test_the_wheel_the_verb_and_the_code_name_the_same() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {name: f"assay/kit/{name}" for name in project_kit.KIT}
    assert init.BOARDS == project_start.BOARDS


def test_an_installed_assay_brings_what_a_project_needs(tmp_path: Path) -> None:
    """The wheel, taken apart elsewhere: no repository is around it."""
    hatchling = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(hatchling, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "lib")
    assert all(any(name.startswith(f"assay/kit/{part}") for name in names) for part in KIT)
    assert not [name for name in names if name.endswith(".pyc")]
    command = [sys.executable, "-m", "assay", "init", "gauge", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "lib"), "PYTHONSAFEPATH": "1"}
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    files = json.loads(answer.stdout)["files"]
    here = start_project(tmp_path / "here", "gauge", "rv32-virt")
    assert files == list(here)
    assert all((tmp_path / "gauge" / file).read_bytes() == (tmp_path / "here" / file).read_bytes() for file in files)
