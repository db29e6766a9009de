# SPDX-License-Identifier: Apache-2.0
"""The toolchain's identity: the same on every machine, and a compiler that is not the package's own is noticed."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import shutil
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from assay.backends.builders import toolchain as module
from assay.backends.builders.toolchain import toolchain, tree_identity
from assay.errors import InfrastructureError, ToolMissing, UsageFault
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


def test_a_library_file_of_the_compiler_that_was_changed_is_found_by_a_check(tmp_path: Path) -> None:
    """A wheel is digested by its own list; a check reads the files themselves."""
    wheel, program = tmp_path / "tool-1.0.dist-info", tmp_path / "tool" / "run"
    wheel.mkdir()
    program.parent.mkdir()
    (wheel / "METADATA").write_text("Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n")
    rows = ""
    for name in ("run", "lib.zig"):
        (tmp_path / "tool" / name).write_text(name)
        digest = base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).rstrip(b"=").decode()
        rows += f"tool/{name},sha256={digest},{len(name)}\n"
    (wheel / "RECORD").write_text(rows)
    found = Distribution.at(wheel)
    module._check_whole(found)
    for spoil in (lambda path: path.write_text("other"), lambda path: path.unlink()):
        spoil(tmp_path / "tool" / "lib.zig")
        with pytest.raises(InfrastructureError, match=r"'tool' is damaged: .*lib\.zig"):
            module._check_whole(found)


def test_our_own_builds_import_nothing_that_is_not_recorded() -> None:
    """Python packages are no input of a build: what drives ours uses the standard library and the compiler alone."""
    tree = ast.parse((ROOT / "firmware" / "build.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert len(names) > 10
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_a_missing_compiler_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPILER", "no-such-compiler")
    with pytest.raises(ToolMissing, match="pip install no-such-compiler"):
        toolchain(tmp_path / "tools.json")


DRIVER = """\
#!/bin/sh
case "$1" in
  -print-prog-name=cc1) echo {folder}/lib/cc1 ;;
  -print-file-name=crt1.o) echo {folder}/lib/../lib/crt1.o ;;
  -print-*) echo "${{1#*=}}" ;;
esac
"""
"""A compiler that has `cc1` and `crt1.o` of its own, and looks for the rest on the path, as GCC does."""


@pytest.fixture
def compiler(tmp_path: Path) -> Path:
    """The folder of a compiler `x-gcc`, with the assembler that is on its path."""
    folder = tmp_path / "compiler"
    (folder / "lib").mkdir(parents=True)
    for name, text in {"x-gcc": DRIVER.format(folder=folder), "as": "#!/bin/sh\n", "lib/cc1": "1"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "lib" / "crt1.o").write_text("2")
    return folder


@pytest.mark.parametrize("changed", ["lib/cc1", "lib/crt1.o", "as", "x-gcc"])
def test_what_a_compiler_starts_is_recorded_and_a_change_of_it_shows(
    tmp_path: Path, compiler: Path, changed: str
) -> None:
    """A compiler by its full name, and by that of the one for another chip: `x-gcc` is a driver of `cc1` and `as`."""

    def asked() -> dict[str, str]:
        found = toolchain(tmp_path / "tools.json", ("x-gcc",), f"{compiler}:/usr/bin:/bin")
        return {tool.name: tool.sha256 for tool in found if not tool.name.startswith("deb:")}

    before = asked()
    assert {"x-gcc", "x-gcc:cc1", "x-gcc:as", "x-gcc:crt1.o"} <= set(before)
    with (compiler / changed).open("a") as file:
        file.write("# x\n")
    name = "x-gcc" if changed == "x-gcc" else f"x-gcc:{Path(changed).name}"
    after = asked()
    assert {each for each in before if before[each] != after[each]} == {name}


def test_what_may_be_there_is_recorded_where_it_is_and_once(tmp_path: Path, compiler: Path) -> None:
    (compiler / "x-cc").symlink_to("x-gcc")
    found = toolchain(tmp_path / "tools.json", ("x-gcc",), str(compiler), ("x-cc", "no-such-c++"))
    names = [tool.name for tool in found]
    assert "x-cc" in names and "x-cc:cc1" not in names and not [name for name in names if "no-such" in name]


def test_a_link_out_of_a_tree_is_followed_into_its_digest(tmp_path: Path) -> None:
    """A tree of links to tools elsewhere is those tools."""
    tree, other = tmp_path / "tree", tmp_path / "other"
    tree.mkdir()
    other.mkdir()
    (other / "tool").write_text("one")
    (tree / "tool").symlink_to(other / "tool")
    (tree / "again").symlink_to("tool")
    (tree / "broken").symlink_to("nowhere")
    before = tree_identity("T", tree, tmp_path / "tools.json")
    assert tree_identity("T", tree, tmp_path / "tools.json") == before
    (other / "tool").write_text("another")
    assert tree_identity("T", tree, tmp_path / "tools.json").sha256 != before.sha256
    (tree / "folder").symlink_to(other)
    with pytest.raises(UsageFault, match="folder leads to a folder outside"):
        tree_identity("T", tree, tmp_path / "tools.json")


def test_a_link_within_a_tree_is_a_link(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "lib").mkdir(parents=True)
    (tree / ".git").mkdir()
    (tree / "lib" / "x.so.1").write_text("1")
    (tree / "lib64").symlink_to("lib")
    (tree / "lib" / "x.so").symlink_to("x.so.1")
    (tree / "lib" / "hook").symlink_to("../.git/hook")
    (tree / ".git" / "hook").write_text("1")
    before = tree_identity("T", tree, tmp_path / "tools.json")
    assert before.version == "4 files"
    (tree / ".git" / "hook").write_text("22")
    assert tree_identity("T", tree, tmp_path / "tools.json").sha256 != before.sha256


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
