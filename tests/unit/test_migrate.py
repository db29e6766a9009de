# SPDX-License-Identifier: Apache-2.0
"""`assay migrate`: files of older versions become newer ones, with their comments, whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from assay.backends import durable_file
from assay.cli.migrate import command
from assay.errors import ManifestFault
from assay.model import upgrades
from assay.model.upgrades import Upgrade
from assay.pipeline import migration
from assay.pipeline.manifest_files import load_any_board, load_board, load_module
from assay.pipeline.migration import migrate, plan_migration

FORMATS = Path(__file__).parents[1] / "data" / "formats"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "boards").mkdir()
    (tmp_path / "mod").mkdir()
    shutil.copy(FORMATS / "assay.board.1.toml", tmp_path / "boards" / "ast1030-evb.toml")
    shutil.copy(FORMATS / "assay.board.1.foreign.toml", tmp_path / "boards" / "nrf52840dk.toml")
    child = 'schema = "assay.board/1"\nname = "child"\nrevision = 2\ninherits = "nrf52840dk"\nwhy = "another LED"\n'
    (tmp_path / "boards" / "child.toml").write_text(child)
    shutil.copy(FORMATS / "assay.module.1.toml", tmp_path / "mod" / "module.toml")
    shutil.copy(FORMATS / "assay.bench.1.toml", tmp_path / "bench.toml")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "theirs"\n')
    (tmp_path / "broken.toml").write_text("this is = no [TOML")
    (tmp_path / ".hidden").mkdir()
    shutil.copy(FORMATS / "assay.module.1.toml", tmp_path / ".hidden" / "module.toml")
    return tmp_path


def run(*words: str) -> tuple[int, dict[str, Any]]:
    answer = CliRunner().invoke(command, [*words, "--json"])
    return answer.exit_code, json.loads(answer.stdout)


def texts(project: Path) -> dict[str, str]:
    return {str(path.relative_to(project)): path.read_text() for path in sorted(project.rglob("*.toml"))}


def test_a_dry_run_says_what_and_why_and_writes_nothing(project: Path) -> None:
    before = texts(project)
    status, found = run(str(project), "--dry-run")
    assert (status, found["written"], found["current"], texts(project)) == (0, False, 1, before)
    assert {Path(each["file"]).name: (each["from"], each["to"]) for each in found["files"]} == {
        "ast1030-evb.toml": ("assay.board/1", "assay.board/2"),
        "child.toml": ("assay.board/1", "assay.board/2"),
        "nrf52840dk.toml": ("assay.board/1", "assay.board/2"),
        "module.toml": ("assay.module/1", "assay.module/2"),
    }
    assert "contract" in found["files"][-1]["why"][0]


def test_everything_but_the_version_stays_byte_for_byte(project: Path) -> None:
    before = texts(project)
    assert run(str(project))[0] == 0
    for name, text in texts(project).items():
        was = before[name]
        if not name.startswith(".hidden"):
            was = was.replace("assay.board/1", "assay.board/2").replace("assay.module/1", "assay.module/2")
        assert text == was, name
    assert load_module(project / "mod").name == "demo-sensor"
    assert load_board(project / "boards" / "ast1030-evb.toml").peripherals == ()
    assert load_any_board(project / "boards" / "child.toml").revision == 2
    assert run(str(project))[1]["files"] == []


def test_comments_stay_when_a_step_moves_keys(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(document: upgrades.Document) -> None:
        document["update"]["health_timeout_s"] = document["update"].pop("patience")

    path = project / "mod" / "module.toml"
    text = path.read_text().replace("health_timeout_s = 10", "patience = 12 # slow sensor")
    path.write_text(text.replace("assay.module/1", "assay.module/0") + "\n# the end\n")
    monkeypatch.setitem(upgrades.UPGRADES, "assay.module/0", Upgrade("assay.module/1", "a better name", change=change))
    status, found = run(str(path))
    after = path.read_text()
    assert (status, [len(each["why"]) for each in found["files"]]) == (0, [2])
    assert "# the end\n" in after and "patience" not in after and "health_timeout_s = 12 # slow sensor" in after
    assert load_module(path).update.health_timeout_s == 12


def test_one_file_that_cannot_be_leaves_all_as_they_were(project: Path) -> None:
    path = project / "mod" / "module.toml"
    path.write_text(path.read_text().replace('kind = "app"', 'kind = "toaster"'))
    before = texts(project)
    status, refused = run(str(project))
    assert (status, "module.toml:4: kind" in refused["error"], texts(project)) == (2, True, before)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("assay.module/1", "assay.module/9", "is newer than"),
        ("assay.module/1", "assay.toaster/1", "no manifest; known are"),
        ('schema = "assay.module/1"\n', "", "no manifest; known are"),
        ("min_revision = 1\n", "min_revision = 1\nmax_revision = 1\n", "is a key of assay.module/2"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(project: Path, old: str, new: str, said: str) -> None:
    path = project / "mod" / "module.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    status, refused = run(str(path))
    assert (status, said in refused["error"]) == (2, True), refused


def test_a_step_that_changes_the_meaning_is_not_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = migration._rewritten

    def other(raw: bytes, path: Path, steps: Any) -> str:
        return real(raw, path, steps).replace("health_timeout_s = 10", "health_timeout_s = 11")

    monkeypatch.setattr(migration, "_rewritten", other)
    with pytest.raises(ManifestFault, match="would mean something else"):
        plan_migration([project / "mod"])


def test_cut_short_each_file_is_old_or_new_and_the_next_run_completes_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_migration([project])
    real, calls = durable_file.os.fsync, []

    def cut(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 4:
            raise OSError(5, "power cut")
        real(descriptor)

    monkeypatch.setattr(durable_file.os, "fsync", cut)
    with pytest.raises(Exception, match=r"power cut; \d files were migrated before it"):
        migrate(plan)
    monkeypatch.undo()
    found = {each.path.name: each.path.read_text() for each in plan if each.is_needed}
    states = {("board/2" in text or "module/2" in text) for text in found.values()}
    assert all(text.endswith("\n") for text in found.values())
    assert states == {True, False}
    assert not list(project.rglob(".tmp-*"))
    assert run(str(project))[0] == 0
    assert run(str(project))[1]["files"] == []


def test_permissions_stay_and_links_are_left_alone(project: Path) -> None:
    path, link = project / "mod" / "module.toml", project / "mod" / "link.toml"
    path.chmod(0o600)
    link.symlink_to("module.toml")
    assert run(str(project))[0] == 0
    assert (path.stat().st_mode & 0o777, link.is_symlink()) == (0o600, True)
    assert run(str(link))[0] == 2


def test_a_folder_without_a_manifest_is_not_called_migrated(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("a = 1\n")
    told = CliRunner().invoke(command, [str(tmp_path)])
    assert told.exit_code == 2
    assert f"no manifest of assay in {tmp_path}" in told.output
