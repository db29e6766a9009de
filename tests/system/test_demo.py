# SPDX-License-Identifier: Apache-2.0
"""The main job, as a user starts it: from nothing, on both boards; once more in the same place; and tampered with."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from changed_bytes import COVERED, Used, faults
from demo_project import DemoProject, without_network

RESULTS = {"summary.json", "trace-brief.txt", "trace.html", "trace.json", "trace.txt", "trust.toml", "unit.assay"}


@pytest.fixture
def project(tmp_path: Path) -> DemoProject:
    return DemoProject.make(tmp_path / "project")


@pytest.mark.timeout(3600)  # for a machine under load; two minutes on an idle one
@pytest.mark.parametrize(("board", "qemu"), [("ast1030-evb", "qemu-system-arm"), ("rv32-virt", "qemu-system-riscv32")])
def test_from_nothing(project: DemoProject, board: str, qemu: str, tmp_path: Path) -> None:
    if shutil.which(qemu) is None:
        pytest.skip(f"{qemu} is not installed")
    status, first = project.run(*project.demo_words(board=board, fixed=False), before=without_network())
    assert status == 0, first
    outcomes = {step["name"]: step["outcome"] for step in first["steps"]}
    assert outcomes.pop("bad-update") == "FAIL, as expected"
    assert set(outcomes.values()) == {"PASS"}
    results = project.root / first["results"]
    assert {path.name for path in results.iterdir()} >= RESULTS
    for version in ("1.0.0", "1.1.0"):
        assert {path.name for path in (results / f"test-{version}").iterdir()} >= {"junit.xml", "openhtf.json"}
    serial = first["variables"]["serial"]
    brief = (results / "trace-brief.txt").read_text()
    assert serial in brief
    assert "VERIFIED" in brief
    _the_record_says_why(project, serial)
    _verifies_elsewhere(project, results, tmp_path / "elsewhere")

    assert project.faults() == []
    if board == "ast1030-evb":
        _once_more(project, board, first)
        _one_changed_byte_anywhere(project, results / "trust.toml", serial)


def _once_more(project: DemoProject, board: str, first: dict[str, Any]) -> None:
    """Another unit, in another folder, although the releases of the first run are published."""
    status, second = project.run(*project.demo_words(board=board, fixed=False))
    assert status == 0, second
    assert second["results"] != first["results"]
    assert second["variables"]["serial"] != first["variables"]["serial"]
    assert project.faults() == []


def _one_changed_byte_anywhere(project: DemoProject, trust: Path, serial: str) -> None:
    """In a file of each kind that the demo leaves: refused where it is proof, and without effect where it is not."""
    site = Used(project.site.folder, trust, serial)
    assert list(faults(site, random.Random(3), flips=1, sample=1)) == []
    assert {"journal.sqlite*", "serials.sqlite*", "cache/*", "twins/*", *COVERED} <= set(site.kinds())


def _the_record_says_why(project: DemoProject, serial: str) -> None:
    """The bad update is in the log, with the device's own reason, and the unit's evidence that it went back."""
    updates = [text["predicate"] for kind, text in project.records() if kind == "update"]
    good, bad = [predicate for predicate in updates if predicate["serial"] == serial]
    assert (good["run"]["outcome"], bad["run"]["outcome"]) == ("PASS", "FAIL")
    assert "sha256" in bad["device_reason"]
    assert bad["after"]["image_hash"] == good["after"]["image_hash"] == bad["before"]["image_hash"]


def _verifies_elsewhere(project: DemoProject, results: Path, folder: Path) -> None:
    """The exported file, in an empty folder, without the site; one changed byte is refused."""
    folder.mkdir()
    for name in ("unit.assay", "trust.toml"):
        shutil.copy(results / name, folder / name)
    elsewhere = DemoProject(folder)
    status, answer = elsewhere.run("verify", "unit.assay", "--trust", "trust.toml")
    assert status == 0, answer
    assert not (folder / ".assay").exists()
    data = bytearray((folder / "unit.assay").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "unit.assay").write_bytes(data)
    status, answer = elsewhere.run("verify", "unit.assay", "--trust", "trust.toml")
    assert status == 4, json.dumps(answer)[:500]
