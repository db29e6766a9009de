# SPDX-License-Identifier: Apache-2.0
"""West and PlatformIO themselves, by the lines that the page on other people's projects shows, in the sandbox.

Both are real (PyPI). What they would fetch is ours: Zephyr brings west's `build` command and PlatformIO's registry a
development platform; here each is a few lines that compile for this machine. SCons is the real one.
Skipped where they are not installed: `nox -s containers`.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_build_systems import MODULE
from tiny_build import build, needs_sandbox, tiny_project, tiny_site

from assay.errors import UnitFailed

BESIDE = str(Path(sys.executable).parent)
"""Programs that were installed beside this Python are found by a build."""

BINARY = "objcopy -O binary -j .rodata"
MAIN = "const char where[] = __FILE__; const int level = LEVEL; int main(void) { return 0; }\n"

WEST = """\
arguments = ["-b", "bench"]
trees = ["ZEPHYR_BASE", "ZEPHYR_WORKSPACE"]
collect = { "payload.bin" = "zephyr/zephyr.bin" }
"""
WEST_COMMANDS = """\
west-commands:
  - file: scripts/build.py
    commands:
      - name: build
        class: Build
        help: build an app
"""
WEST_BUILD = """\
import subprocess
from west.commands import WestCommand

class Build(WestCommand):
    def __init__(self):
        super().__init__("build", "build an app", "", accepts_unknown_args=True)

    def do_add_parser(self, adder):
        parser = adder.add_parser(self.name)
        parser.add_argument("-b", "--board", required=True)
        parser.add_argument("-d", "--build-dir", required=True)
        return parser

    def do_run(self, args, unknown):
        source, *options = [word for word in unknown if word != "--"]
        configure = ["cmake", "-GNinja", "-S", source, "-B", args.build_dir, f"-DBOARD={args.board}", *options]
        for command in (configure, ["cmake", "--build", args.build_dir]):
            subprocess.check_call(command)
"""


def cmake_of(after: str) -> str:
    """The CMakeLists.txt of the project; `after` makes the artifact of what was linked."""
    return f"""\
cmake_minimum_required(VERSION 3.16)
project(app C)
add_executable(app main.c)
target_compile_definitions(app PRIVATE LEVEL=${{LEVEL}})
target_compile_options(app PRIVATE -ffile-prefix-map=${{CMAKE_CURRENT_SOURCE_DIR}}=.)
add_custom_command(TARGET app POST_BUILD {after})
"""


WEST_CMAKE = cmake_of(f"COMMAND mkdir -p zephyr COMMAND {BINARY} app zephyr/zephyr.bin")
IMPORTING = """\
manifest:
  remotes: [{{ name: here, url-base: "file://{0}" }}]
  projects: [{{ name: zephyr, remote: here, revision: main, import: true }}]
"""

PLATFORMIO = """\
arguments = ["-e", "release"]
trees = ["PLATFORMIO_PACKAGES_DIR", "PLATFORMIO_PLATFORMS_DIR"]
tools = ["platformio", "gcc", "objcopy"]
collect = { "payload.bin" = "release/firmware.bin" }
"""
PLATFORM = """\
from platformio.public import PlatformBase

class HerePlatform(PlatformBase):
    def is_embedded(self):
        return False
"""
PLATFORM_BUILD = f"""\
from SCons.Script import Default, DefaultEnvironment

env = DefaultEnvironment()
env.Replace(PROGNAME="firmware", PROGSUFFIX=".elf")
Default(env.Command("$BUILD_DIR/firmware.bin", env.BuildProgram(), "{BINARY} $SOURCE $TARGET"))
"""
SCONS = "import sys\nfrom SCons.Script import main\nsys.exit(main())\n"


def needs(*programs: str) -> pytest.MarkDecorator:
    lacking = [each for each in programs if shutil.which(each, path=f"{BESIDE}:/usr/bin:/bin") is None]
    return pytest.mark.skipif(bool(lacking), reason=f"{', '.join(lacking)} not installed: nox -s containers")


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def theirs(tmp_path: Path, system: str, more: str, files: dict[str, str]) -> Path:
    root = tiny_project(tmp_path)
    (root / "mod" / "module.toml").write_text(MODULE.format(system=system, more=more))
    put(root / "theirs", files)
    return root


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Made by west itself: a manifest repository that imports another one, which brings the command."""
    zephyr = put(tmp_path / "made", {"scripts/west-commands.yml": WEST_COMMANDS, "scripts/build.py": WEST_BUILD})
    put(zephyr, {"west.yml": "manifest:\n  self:\n    west-commands: scripts/west-commands.yml\n"})
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "all"]):
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
        subprocess.run(git, cwd=zephyr, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(zephyr), str(tmp_path / "remote" / "zephyr")], check=True)
    folder = tmp_path / "workspace"
    put(folder / "manifest", {"west.yml": IMPORTING.format(tmp_path / "remote")})
    west = [sys.executable, "-m", "west"]
    subprocess.run([*west, "init", "-l", str(folder / "manifest")], check=True, capture_output=True)
    for words in (["update"], ["config", "zephyr.base", "zephyr"]):
        subprocess.run([*west, *words], cwd=folder, check=True, capture_output=True)
    return folder


@needs_sandbox
@needs("west", "cmake", "ninja", "git", "gcc")
def test_an_app_by_west(tmp_path: Path, workspace: Path) -> None:
    root = theirs(tmp_path, "west", WEST, {"main.c": MAIN, "CMakeLists.txt": WEST_CMAKE})
    trees = {"ZEPHYR_BASE": workspace / "zephyr", "ZEPHYR_WORKSPACE": workspace}
    built = build(root, tiny_site(tmp_path), "sandbox", trees=trees, defines={"LEVEL": "7"}).built
    assert b"./main.c\0" in built.payload and (7).to_bytes(4, "little") in built.payload
    tools = {tool.name for tool in built.artifact.tools}
    assert {"west", "cmake", "ninja", "tree:ZEPHYR_BASE", "tree:ZEPHYR_WORKSPACE"} <= tools


@needs_sandbox
@needs("west", "cmake", "ninja", "git")
def test_west_finds_no_command_without_its_workspace(tmp_path: Path, workspace: Path) -> None:
    more = WEST.replace(', "ZEPHYR_WORKSPACE"', "")
    root = theirs(tmp_path, "west", more, {"main.c": MAIN, "CMakeLists.txt": WEST_CMAKE})
    with pytest.raises(UnitFailed, match='unknown command "build"; do you need to run this inside a workspace'):
        build(root, tiny_site(tmp_path), "sandbox", trees={"ZEPHYR_BASE": workspace / "zephyr"}, defines={"LEVEL": "7"})


@pytest.fixture
def packages(tmp_path: Path) -> dict[str, Path]:
    """What `platformio pkg install` would have left: a development platform, and its package of SCons."""
    found = importlib.util.find_spec("SCons")
    assert found is not None and found.origin is not None
    import SCons

    major, minor, patch = SCons.__version__.split(".")
    says = {"name": "tool-scons", "version": f"{major}.{major}{int(minor):02}{int(patch):02}.0"}  # 4.11.1: 4.41101.0
    spec = {"owner": "platformio", "id": 1, "name": "tool-scons", "requirements": None, "uri": None}
    installed = json.dumps({"type": "tool", **says, "spec": spec})
    files = {"scons.py": SCONS, "package.json": json.dumps(says), ".piopm": installed}
    scons = put(tmp_path / "packages" / "tool-scons", files)
    shutil.copytree(Path(found.origin).parent, scons / "SCons", ignore=shutil.ignore_patterns("__pycache__"))
    platform = {"name": "here", "title": "this machine", "version": "1.0.0", "packages": {}}
    files = {"platform.json": json.dumps(platform), "platform.py": PLATFORM, "builder/main.py": PLATFORM_BUILD}
    put(tmp_path / "platforms" / "here", files)
    return {"PLATFORMIO_PACKAGES_DIR": tmp_path / "packages", "PLATFORMIO_PLATFORMS_DIR": tmp_path / "platforms"}


@needs_sandbox
@needs("platformio", "scons", "gcc", "objcopy")
def test_a_project_by_platformio(tmp_path: Path, packages: dict[str, Path]) -> None:
    settings = "[env:release]\nplatform = here\nbuild_flags = -DLEVEL=7\n"
    root = theirs(tmp_path, "platformio", PLATFORMIO, {"src/main.c": MAIN, "platformio.ini": settings})
    built = build(root, tiny_site(tmp_path), "sandbox", trees=packages).built
    assert b"main.c\0" in built.payload and (7).to_bytes(4, "little") in built.payload
    assert str(tmp_path).encode() not in built.payload
    tools = {tool.name for tool in built.artifact.tools}
    assert {"platformio", "gcc", "tree:PLATFORMIO_PACKAGES_DIR", "tree:PLATFORMIO_PLATFORMS_DIR"} <= tools
    assert not (root / "theirs" / ".pio").exists()
