# SPDX-License-Identifier: Apache-2.0
"""What a wildcard among the sources of a module means: the project, and never keys, version control or results."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tiny_build import MODULE, build, needs_sandbox, request_for, tiny_project, tiny_site, write_script

from assay.backends.builders.source_tree import collect
from assay.errors import UsageFault
from assay.pipeline.module_build import build_module
from assay.pipeline.site import Site

DECLARED = '["mod/*.py", "mod/data"]'
LISTS_ALL = """\
found = sorted(os.path.join(folder, name)[2:] for folder, _, names in os.walk('.') for name in names)
open(sys.argv[1] + '/payload.bin', 'w').write('\\n'.join(found))
"""
ALL = ["boards/ast1030-evb.toml", "mod/build.py", "mod/data/blob", "mod/module.toml"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """In a repository whose commit has all of it; its site is the one that every verb takes, with a key."""
    root = tiny_project(tmp_path)
    write_script(root, LISTS_ALL)
    return root


def committed(root: Path, sources: str) -> None:
    (root / "mod" / "module.toml").write_text(MODULE.replace(DECLARED, sources))
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), (*author, "commit", "-q", "-m", "all")):
        subprocess.run(["git", "-C", str(root), *words], check=True)


@needs_sandbox
@pytest.mark.parametrize("sources", ['["**"]', '["**/*"]', '["*"]', '["*/*", "**/b*", "mod"]'])
@pytest.mark.parametrize("where", [".assay", "elsewhere"])
def test_no_build_is_given_a_key_or_what_was_built_before(project: Path, sources: str, where: str) -> None:
    """Also where the site of this verb has another name; the second build has the inputs of the first."""
    committed(project, sources)
    theirs = tiny_site(project.parent)
    theirs.folder.rename(project / where)
    site = Site(project / where)
    site.__dict__["clock"] = theirs.clock
    first = build(project, site, "sandbox")
    (project / "out.signed").mkdir()
    (project / "out.signed" / "image.bin").write_text("image")
    again = build(project, site, "sandbox")
    assert first.built.payload.decode().splitlines() == ALL
    assert again.built.artifact == first.built.artifact
    assert again.from_cache
    assert first.built.artifact.source.dirty is False


@needs_sandbox
def test_what_was_built_is_no_input_also_where_it_is_committed(project: Path, tmp_path: Path) -> None:
    """Whatever this verb's own folder is called: a checkout, which knows no --out, has the same inputs."""
    committed(project, '["**"]')
    site = tiny_site(tmp_path)
    first = build(project, site, "sandbox")  # in project/out
    shutil.copytree(project / "out", project / "mod" / "data" / "kept")
    for folder, names in {"x.signed": ("signed.json", "image.bin"), "x.differing": ("DIFFERING",)}.items():
        for which in ("first", "second"):
            (project / folder / which).mkdir(parents=True)
            (project / folder / which / "payload.bin").write_text(which)
        for name in names:
            (project / folder / name).write_text("" if name == "DIFFERING" else '{"schema": "assay.release/1"}')
    committed(project, '["**"]')
    again = build(project, site, "sandbox")
    assert again.built.artifact.source.digest == first.built.artifact.source.digest
    assert again.from_cache and again.built.artifact.source.dirty is False
    git_clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(project), str(git_clone)], check=True)
    assert (git_clone / "out" / "artifact.json").is_file()
    assert [file.path for file in collect(git_clone, ["**"])] == ALL
    named = collect(git_clone, ["mod/*.py", "mod/data/kept/payload.bin", "out"])
    assert {file.path.rpartition("/")[2] for file in named} >= {"build.py", "payload.bin", "artifact.json"}
    (git_clone / "out" / "artifact.json").write_text('{"schema": "somebody.elses/1"}')
    assert "out/artifact.json" in {file.path for file in collect(git_clone, ["**"])}, "no result of ours"


def test_the_inputs_are_compared_with_git_once(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(project, '["mod"]')
    (project / "mod" / "data" / "blob").write_text("changed")
    asked, git = tmp_path / "asked", shutil.which("git")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f'#!/bin/sh\necho "$@" >> {asked}\nexec {git} "$@"\n')
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    said: list[str] = []
    report = build_module(request_for(project), tiny_site(tmp_path), None, said.append)
    assert report.built.artifact.source.dirty is True
    assert "not as the commit has it, byte by byte: mod/data/blob" in said
    assert len([line for line in asked.read_text().splitlines() if "ls-tree" in line]) == 1


def test_what_the_commit_does_not_have_is_named(project: Path, tmp_path: Path) -> None:
    """Also ends of lines that git changed at the checkout: what is built is the bytes here, and git sees no change."""
    (project / ".gitattributes").write_text("*.sln text eol=crlf\n")
    (project / "mod" / "part.sln").write_bytes(b"one\r\n")
    committed(project, '["mod"]')
    said: list[str] = []
    build_module(request_for(project), tiny_site(tmp_path), None, said.append)
    assert "not as the commit has it, byte by byte: mod/part.sln" in said
    (project / "mod" / "part.sln").unlink()
    said.clear()
    build_module(request_for(project), Site(tmp_path / "site"), None, said.append)
    assert not [line for line in said if "commit" in line]


@pytest.mark.parametrize("pattern", [".assay", ".assay/keys/secret.pem", ".git/*", "mod/.git/config", ".assay/**"])
def test_what_is_never_an_input_is_refused_by_name(project: Path, pattern: str) -> None:
    for name in (".assay/keys/secret.pem", ".git/config", "mod/.git/config"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("secret")
    with pytest.raises(UsageFault, match="is never an input"):
        collect(project, [pattern])


def test_a_cache_is_an_input_by_name_alone(project: Path) -> None:
    (project / ".venv").mkdir()
    (project / ".venv" / "tool.py").write_text("pass")
    (project / ".venv" / "python").symlink_to("/usr/bin/python3")
    assert [file.path for file in collect(project, ["**"])] == ALL
    assert [file.path for file in collect(project, [".venv/*.py"])] == [".venv/tool.py"]


def test_a_project_inside_of_a_site_has_its_files(project: Path) -> None:
    outside = (project.parent, project)
    assert [file.path for file in collect(project, ["**"], outside)] == ALL
    assert [file.path for file in collect(project, ["**"], (project / "mod" / "data",))] == [
        name for name in ALL if "data" not in name
    ]
