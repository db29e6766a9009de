# SPDX-License-Identifier: Apache-2.0
"""Real projects from elsewhere, built by a few lines of TOML: xxHash by Make and by CMake, a crate of Debian by Cargo.

Skipped where they were not fetched: `nox -s containers`, and all but the crate by `nox -s tests`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from foreign_project import unpack
from test_build_systems import MODULE
from tiny_build import build, needs_sandbox, tiny_project, tiny_site

from assay.errors import UnitFailed

CRATE = Path("/usr/share/cargo/registry/fnv-1.0.7")
LINES = {
    "make": ("theirs", 'arguments = ["libxxhash.a"]\ncollect = { "payload.bin" = "libxxhash.a" }'),
    "cmake": (
        "theirs/cmake_unofficial",
        'arguments = ["-DBUILD_SHARED_LIBS=OFF", "-DXXHASH_BUILD_XXHSUM=OFF"]\n'
        'collect = { "payload.bin" = "libxxhash.a" }',
    ),
    "cargo": ("theirs", 'collect = { "payload.bin" = "release/libfnv.rlib" }'),
}


def project(folder: Path, system: str) -> Path:
    """The project in `theirs`, and our lines in a folder beside it. Skips what is not here."""
    program = shutil.which(system, path="/usr/bin:/bin")
    root = tiny_project(folder)
    if program is None or not (unpack(root / "theirs") if system != "cargo" else CRATE.is_dir()):
        pytest.skip(f"{system} or its project is not here: nox -s containers")
    if system == "cargo":
        shutil.copytree(CRATE, root / "theirs", ignore=shutil.ignore_patterns(".*", "debian"), symlinks=False)
        lock = '[[package]]\nname = "fnv"\nversion = "1.0.7"\n'
        (root / "theirs" / "Cargo.lock").write_text(f"version = 3\n\n{lock}")
    directory, more = LINES[system]
    text = MODULE.format(system=system, more=more).replace('directory = "theirs"', f'directory = "{directory}"')
    (root / "mod" / "module.toml").write_text(text)
    return root


@needs_sandbox
@pytest.mark.parametrize("system", sorted(LINES))
def test_it_is_built_twice_to_the_same_bytes(tmp_path: Path, system: str) -> None:
    report = build(project(tmp_path, system), tiny_site(tmp_path), "sandbox")
    assert report.built.payload.startswith(b"!<arch>\n") and len(report.built.payload) > 1000
    assert system in {tool.name for tool in report.built.artifact.tools}
    assert str(tmp_path).encode() not in report.built.payload


@needs_sandbox
def test_an_input_that_nobody_declared_fails_it_and_is_named(tmp_path: Path) -> None:
    root = project(tmp_path, "make")
    text = (root / "mod" / "module.toml").read_text()
    some = text.replace('sources = ["theirs"]', 'sources = ["theirs/Makefile", "theirs/xxhash.c", "theirs/cli"]')
    (root / "mod" / "module.toml").write_text(some)
    with pytest.raises(UnitFailed, match=r"asks for theirs/xxhash\.h, which \[build\] sources of theirs does not"):
        build(root, tiny_site(tmp_path), "sandbox")
