# SPDX-License-Identifier: Apache-2.0
"""The commit that a build comes from, and whether its inputs differ from it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tiny_build import (
    build,
    tiny_project,
    tiny_site,
)

from assay.backends.builders.git_state import source_state
from assay.model.source_file import SourceFile
from assay.pipeline.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return tiny_site(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tiny_project(tmp_path)


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(project: Path) -> Path:
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "x")
    git(project, "remote", "add", "origin", "https://user:token@example.org/x.git")
    return project


def test_the_commit_and_whether_the_inputs_differ_from_it(repository: Path, site: Site) -> None:
    source = build(repository, site).built.artifact.source
    assert (source.commit, source.dirty) == (git(repository, "rev-parse", "HEAD"), False)
    assert source.repository == "https://example.org/x.git"
    (repository / "unrelated").write_text("x")
    assert not build(repository, site).built.artifact.source.dirty
    (repository / "mod" / "data" / "untracked").write_text("x")
    assert build(repository, site).built.artifact.source.dirty
    (repository / "mod" / "data" / "untracked").unlink()
    (repository / "mod" / "build.py").chmod(0o755)
    assert build(repository, site).built.artifact.source.dirty


def test_a_result_from_the_cache_names_the_commit_of_now(repository: Path, site: Site) -> None:
    before = build(repository, site).built.artifact.source.commit
    git(repository, "commit", "-q", "--allow-empty", "-m", "y")
    report = build(repository, site)
    assert report.from_cache
    assert report.built.artifact.source.commit == git(repository, "rev-parse", "HEAD") != before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_user_is_asked_but_runs_nothing(repository: Path) -> None:
    trap = repository / "trap"
    git(repository, "config", "core.fsmonitor", f"touch {trap}")
    git(repository, "config", "core.pager", f"touch {trap}")
    for path in [repository, *repository.rglob("*")]:
        os.chown(path, 12345, 12345)
    data = (repository / "mod" / "build.py").read_bytes()
    state, _ = source_state(repository, (SourceFile("mod/build.py", False, data),), "0" * 64)
    assert (state.commit is not None, state.dirty, trap.exists()) == (True, False, False)


def test_without_git_there_is_no_commit_and_no_error(
    repository: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    source = build(repository, site).built.artifact.source
    assert (source.commit, source.dirty) == (None, False)
