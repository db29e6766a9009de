# SPDX-License-Identifier: Apache-2.0
"""The toolchain's identity: the same on every machine, and a compiler that is not the package's own is noticed."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from assay.backends.builders import toolchain as module
from assay.backends.builders.toolchain import toolchain
from assay.errors import InfrastructureError, ToolMissing
from assay.pipeline.rom_image import rom_for
from assay.pipeline.site import Site

ROOT = Path(__file__).parents[2]


def test_compiler_and_python_have_version_and_digest(tmp_path: Path) -> None:
    tools = {tool.name: tool for tool in toolchain(tmp_path / "tools.json")}
    assert tools["ziglang"].version == distribution("ziglang").version
    assert tools["python"].version.endswith(".".join(map(str, sys.version_info[:3])))
    assert toolchain(tmp_path / "tools.json") == tuple(tools.values())


def test_the_digest_does_not_depend_on_where_the_package_lies() -> None:
    rows = module._recorded(distribution("ziglang"))
    assert len(rows) > 10_000
    assert rows["ziglang/zig"]
    assert not [path for path in rows if path.startswith((".", "/")) or ".dist-info" in path]


def test_digests_of_unchanged_files_are_kept_and_changed_files_are_read_again(tmp_path: Path) -> None:
    file, kept = tmp_path / "file", tmp_path / "kept.json"
    file.write_bytes(b"one")
    known = module._KnownDigests(kept)
    first = known.sha256(file)
    known.save()
    assert list(json.loads(kept.read_text()).values()) == [first]
    file.write_bytes(b"other")
    assert module._KnownDigests(kept).sha256(file) != first
    kept.write_text("damaged")
    assert module._KnownDigests(kept).sha256(file) != first


def test_a_compiler_that_was_exchanged_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._KnownDigests, "sha256", lambda _self, _path: "0" * 64)
    with pytest.raises(InfrastructureError, match="is not the file that the package brought"):
        toolchain(tmp_path / "tools.json")


def test_a_missing_compiler_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPILER", "no-such-compiler")
    with pytest.raises(ToolMissing, match="pip install no-such-compiler"):
        toolchain(tmp_path / "tools.json")


def test_the_rom_of_a_board_is_built_once(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "boards", tmp_path / "boards")
    rom = tmp_path / "firmware" / "rom"
    rom.mkdir(parents=True)
    text = (ROOT / "firmware" / "rom" / "module.toml").read_text()
    start, end = text.index("command ="), text.index("outputs =")
    command = 'command = ["{python}", "firmware/rom/build.py", "{out}"]\nsources = ["firmware/rom"]\n'
    (rom / "module.toml").write_text(text[:start] + command + text[end:])
    (rom / "build.py").write_text(
        "import sys; [open(sys.argv[1] + n, 'w').write('x') for n in ('/part.elf', '/payload.bin')]"
    )
    site, said = Site(tmp_path / "site"), list[str]()
    path = rom_for(site, "ast1030-evb", tmp_path, said.append)
    assert (path.relative_to(site.folder).as_posix(), path.read_text()) == ("cache/rom/ast1030-evb/part.elf", "x")
    count = len(said)
    assert count > 0
    assert rom_for(site, "ast1030-evb", tmp_path, said.append) == path
    assert len([line for line in said[count:] if "twice" in line]) == 0
