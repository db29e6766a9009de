# SPDX-License-Identifier: Apache-2.0
"""Results of builds: taken from the cache, checked when they are read, and written in the place of their own kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_build import (
    build,
    needs_sandbox,
    request_for,
    tiny_project,
    tiny_site,
)

from assay.errors import NotVerified, UsageFault
from assay.pipeline.artifact_folder import read_artifact
from assay.pipeline.module_build import build_module
from assay.pipeline.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return tiny_site(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tiny_project(tmp_path)


def test_the_same_inputs_are_not_built_again(project: Path, site: Site) -> None:
    first = build(project, site)
    again = build(project, site)
    assert (first.from_cache, again.from_cache, again.built) == (False, True, first.built)
    assert not build(project, site, fresh=True).from_cache
    assert not build(project, site, version="1.0.1").from_cache
    assert not build(project, site, defines={"A": "1"}).from_cache
    (project / "mod" / "data" / "blob").write_bytes(b"other")
    assert build(project, site).built.payload == b"other"


CACHING = """\
import pathlib, sys
kept = pathlib.Path(sys.argv[2]) / 'object'
if not kept.exists():
    kept.write_text(sys.argv[3])
open(sys.argv[1] + '/payload.bin', 'w').write(kept.read_text())
"""
"""Leaves in the compiler's cache what it was told first, and builds from what lies there."""


def caching(project: Path) -> None:
    path = project / "mod" / "module.toml"
    path.write_text(path.read_text().replace('"{out}", "{defines}"', '"{out}", "{cache}", "{version}", "{defines}"'))
    (project / "mod" / "build.py").write_text(CACHING)


def test_a_build_finds_nothing_that_one_with_other_parameters_left(project: Path, site: Site) -> None:
    caching(project)
    assert build(project, site, version="6.6.6", defines={"A": "1"}).built.payload == b"6.6.6"
    assert build(project, site).built.payload == b"1.0.0"


def test_a_compiler_that_names_by_content_may_share_its_cache(project: Path, site: Site) -> None:
    """The module says so; this one does not keep its word, which shows that the cache is the same."""
    caching(project)
    path = project / "mod" / "module.toml"
    path.write_text(path.read_text().replace("[build]\n", "[build]\ncache_by_content = true\n"))
    assert build(project, site, version="6.6.6").built.payload == b"6.6.6"
    assert build(project, site).built.payload == b"6.6.6"


@needs_sandbox
def test_a_build_in_the_sandbox_finds_nothing_that_one_without_walls_left(project: Path, site: Site) -> None:
    caching(project)
    build(project, site)
    for kept in (site.cache_dir / "lanes").glob("*/*/object"):
        kept.write_text("a build without walls can write anything here")
    assert build(project, site, "sandbox").built.payload == b"1.0.0"


@pytest.mark.parametrize("name", ["payload.bin", "artifact.json", "sbom.cdx.json"])
def test_a_changed_cache_is_not_believed(project: Path, site: Site, name: str) -> None:
    built = build(project, site).built
    kept = next((site.cache_dir / "artifacts").glob("*/" + name))
    data = kept.read_bytes()
    kept.write_bytes(data[:-2] + b"??")
    lines: list[str] = []
    report = build_module(request_for(project), site, None, lines.append)
    assert not report.from_cache
    assert report.built == built
    assert "cannot be used" in lines[0]


@pytest.mark.parametrize("name", ["payload.bin", "artifact.json", "sbom.cdx.json"])
def test_a_changed_artifact_is_not_read(project: Path, site: Site, name: str) -> None:
    build(project, site)
    path = project / "out" / name
    path.write_bytes(path.read_bytes()[:-2] + b"??")
    with pytest.raises(NotVerified):
        read_artifact(project / "out")


def test_artifact_json_cannot_name_files_outside(project: Path, site: Site) -> None:
    build(project, site)
    path = project / "out" / "artifact.json"
    document = json.loads(path.read_text())
    document["files"]["../../secret"] = "0" * 64
    path.write_text(json.dumps(document))
    with pytest.raises(NotVerified, match="names a file outside"):
        read_artifact(project / "out")


def test_a_folder_that_is_no_result_is_not_replaced(project: Path, site: Site) -> None:
    (project / "out").mkdir()
    (project / "out" / "precious").write_text("x")
    with pytest.raises(UsageFault, match="holds something else"):
        build(project, site)
    assert (project / "out" / "precious").read_text() == "x"
