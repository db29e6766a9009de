# SPDX-License-Identifier: Apache-2.0
"""Other people's projects: real Make and CMake builds by a few lines of TOML, and what is told of gaps."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_build import ROOT, build, needs_sandbox, request_for, tiny_project, tiny_site

from assay.backends.builders.debian_packages import DebianPackages
from assay.backends.builders.fewer_cpus import can_pin
from assay.backends.builders.host import HostBuilder
from assay.errors import ManifestFault, ToolMissing, UnitFailed, UsageFault
from assay.model.build_recipe import BuildRecipe
from assay.model.module import Module
from assay.pipeline import build_recipe
from assay.pipeline.manifest_files import load_module
from assay.pipeline.module_build import build_module
from assay.pipeline.site import Site
from assay.stages.build.command import parse_defines
from assay.stages.build.systems import SYSTEMS, perhaps_of, script_of, steps_of, tools_of

BIN = 'after = [["objcopy", "-O", "binary", "-j", ".rodata", "{work}/%s", "{out}/payload.bin"]]'
MODULE = """\
schema = "assay.module/2"
name = "theirs"
kind = "app"
version = "1.0.0"
license = "MIT"
boards = [{{ name = "ast1030-evb", min_revision = 1 }}]

[build]
system = "{system}"
directory = "theirs"
sources = ["theirs"]
outputs = ["payload.bin"]
{more}

[update]
policy = "test-then-confirm"
security_counter = 1
"""
MAIN = '#include "part.h"\nconst char where[] = __FILE__;\nconst int value = VALUE + LEVEL;\n'
MAKEFILE = """\
LEVEL ?= 3
app.o: main.c part.h
\tcc $(CFLAGS) -O2 -DLEVEL=$(LEVEL) -c $(CURDIR)/main.c -o $@
"""
CMAKE = """\
cmake_minimum_required(VERSION 3.16)
project(theirs C)
set(LEVEL 3 CACHE STRING "")
add_library(app OBJECT main.c)
target_compile_definitions(app PRIVATE LEVEL=${LEVEL})
"""
CMAKE_OBJECT = "build/CMakeFiles/app.dir/main.c.o"
FILES = {"make": {"Makefile": MAKEFILE}, "cmake": {"CMakeLists.txt": CMAKE}}
MORE = {
    "make": BIN % "tree/theirs/app.o" + '\ntools = ["make", "gcc", "objcopy"]',
    "cmake": BIN % CMAKE_OBJECT + '\ntools = ["cmake", "make", "gcc", "objcopy"]',
}
SYSTEMS_HERE = [
    pytest.param(
        name, marks=pytest.mark.skipif(shutil.which(name) is None or shutil.which("gcc") is None, reason=f"no {name}")
    )
    for name in ("make", "cmake")
]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return tiny_site(tmp_path)


def theirs(folder: Path, system: str, more: str | None = None) -> Path:
    """A project of somebody else, with a module.toml of ours above it."""
    root = tiny_project(folder)
    shutil.rmtree(root / "mod")
    (root / "mod").mkdir()
    (root / "mod" / "module.toml").write_text(MODULE.format(system=system, more=MORE[system] if more is None else more))
    (root / "theirs").mkdir()
    for name, text in {"main.c": MAIN, "part.h": "#define VALUE 4\n", **FILES[system]}.items():
        (root / "theirs" / name).write_text(text)
    return root


@needs_sandbox
@pytest.mark.parametrize("system", SYSTEMS_HERE)
def test_a_real_project_is_built_twice_to_the_same_bytes(tmp_path: Path, site: Site, system: str) -> None:
    """By its absolute path in `__FILE__`, too: the folder of a build is mapped away."""
    root = theirs(tmp_path, system)
    report = build(root, site, "sandbox", defines=parse_defines(("LEVEL=5",)))
    assert b"main.c" in report.built.payload and str(tmp_path).encode() not in report.built.payload
    tools = {tool.name: tool for tool in report.built.artifact.tools}
    assert {system, "gcc", "objcopy"} <= set(tools)
    if DebianPackages().state:
        assert {"deb:make", "deb:libc6", "deb:binutils"} <= set(tools)
        assert all(tool.version for name, tool in tools.items() if name.startswith("deb:"))
    assert "CPU count" in report.built.artifact.variations or not can_pin()
    other = build(root, site, "sandbox", defines=parse_defines(("LEVEL=6",)))
    assert other.built.payload != report.built.payload
    assert not list((root / "theirs").glob("*.o"))


@needs_sandbox
@pytest.mark.parametrize("system", SYSTEMS_HERE)
def test_an_undeclared_input_is_named(tmp_path: Path, site: Site, system: str) -> None:
    root = theirs(tmp_path, system)
    text = (root / "mod" / "module.toml").read_text()
    sources = [f"theirs/{name}" for name in ("main.c", *FILES[system])]
    listed = ", ".join(f'"{name}"' for name in sources)
    (root / "mod" / "module.toml").write_text(text.replace('sources = ["theirs"]', f"sources = [{listed}]"))
    with pytest.raises(
        UnitFailed, match=r"asks for theirs/part\.h, which \[build\] sources of theirs does not"
    ) as told:
        build(root, site, "sandbox")
    assert "[build] sources" in told.value.remedy


@needs_sandbox
@pytest.mark.parametrize("system", SYSTEMS_HERE[1:])
def test_what_writes_among_its_sources_gets_a_copy(tmp_path: Path, site: Site, system: str) -> None:
    """As libcoap's `configure_file` does; without the word it is told what to say."""
    root = theirs(tmp_path, system)
    lists = root / "theirs" / "CMakeLists.txt"
    lists.write_text(lists.read_text() + "\nconfigure_file(part.h ${CMAKE_SOURCE_DIR}/made.h COPYONLY)\n")
    with pytest.raises(UnitFailed, match="Read-only file system") as told:
        build(root, site, "sandbox")
    assert "in_copy = true" in told.value.remedy
    manifest = root / "mod" / "module.toml"
    manifest.write_text(manifest.read_text().replace("[build]", "[build]\nin_copy = true"))
    report = build(root, site, "sandbox")
    assert b"main.c" in report.built.payload and b"assay-build-" not in report.built.payload
    assert not (root / "theirs" / "made.h").exists()


def test_an_undeclared_output_is_named(tmp_path: Path, site: Site) -> None:
    more = 'after = [["sh", "-c", "echo x > {out}/payload.bin; echo y > {out}/map.txt"]]\ntools = ["make"]'
    root = theirs(tmp_path, "make", more)
    with pytest.raises(UnitFailed, match=r"left map\.txt, which nobody declared"):
        build(root, site)
    text = (root / "mod" / "module.toml").read_text()
    (root / "mod" / "module.toml").write_text(text.replace('["payload.bin"]', '["payload.bin", "*.txt"]'))
    assert build(root, site).built.files["map.txt"] == b"y\n"


def test_collected_files_become_outputs_and_a_missing_one_is_named(tmp_path: Path, site: Site) -> None:
    root = theirs(tmp_path, "make", 'collect = { "payload.bin" = "app.o" }\ntools = ["make", "gcc"]')
    assert build(root, site).built.payload.startswith(b"\x7fELF")
    text = (root / "mod" / "module.toml").read_text()
    (root / "mod" / "module.toml").write_text(text.replace('"app.o"', '"other.o"'))
    with pytest.raises(UnitFailed, match=r"the build folder has no other\.o, which \[build\] collect has for payload"):
        build(root, site)


def test_an_unchanged_module_is_not_built_again_and_a_changed_input_is(tmp_path: Path, site: Site) -> None:
    root = theirs(tmp_path, "make", 'collect = { "payload.bin" = "app.o" }\ntools = ["make", "gcc"]')
    assert [build(root, site).from_cache for _ in range(2)] == [False, True]
    (root / "theirs" / "part.h").write_text("#define VALUE 5\n")
    assert not build(root, site).from_cache


def test_what_is_kept_is_found_by_the_inputs_alone(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beside the inputs is read for a build, and not to say that nothing changed."""
    root = theirs(tmp_path, "make", 'collect = { "payload.bin" = "app.o" }\ntools = ["make", "gcc"]')
    build(root, site)
    monkeypatch.setattr(build_recipe, "_tree_digest", None)
    assert build(root, site).from_cache


def test_a_compiler_cache_is_not_shared_when_the_tree_changed_meanwhile(tmp_path: Path, site: Site) -> None:
    root = theirs(tmp_path, "make", 'collect = { "payload.bin" = "app.o" }\ntools = ["make", "gcc"]')
    (root / "mod" / "beside.txt").write_text("is no input")
    recipe = build_recipe.prepare(request_for(root), site.cache_dir, HostBuilder())
    lane = build_recipe.lane_of(recipe, HostBuilder())
    (root / "mod" / "beside.txt").write_text("more")
    other = build_recipe.lane_of(recipe, HostBuilder())
    (root / "theirs" / "part.h").write_text("#define VALUE 5\n")
    alone = build_recipe.lane_of(recipe, HostBuilder())
    (root / "mod" / "beside.txt").write_text("more still")
    assert len({lane, other, alone}) == 3 and alone == build_recipe.lane_of(recipe, HostBuilder())


def test_a_check_builds_anew_and_compares_with_what_was_kept(tmp_path: Path, site: Site) -> None:
    root = theirs(tmp_path, "make", 'collect = { "payload.bin" = "app.o" }\ntools = ["make", "gcc"]')
    first = build(root, site)
    request = replace(request_for(root), check=True)
    report = build_module(request, site, None, lambda _line: None)
    assert (report.from_cache, report.checked, report.built.files) == (False, True, first.built.files)


def test_a_check_finds_that_what_was_kept_is_something_else(tmp_path: Path, site: Site) -> None:
    """The input here is one that nobody declared and that the host builder lets in."""
    outside = tmp_path / "outside"
    outside.write_text("one")
    more = f'after = [["sh", "-c", "cat {outside} > {{out}}/payload.bin"]]\ntools = ["make"]'
    root = theirs(tmp_path, "make", more)
    build(root, site)
    outside.write_text("two")
    with pytest.raises(UnitFailed, match="is not what was built before from the same inputs"):
        build_module(replace(request_for(root), check=True), site, root / "out", lambda _line: None)
    assert (root / "out.differing" / "first" / "payload.bin").read_bytes() == b"one"


def test_trees_of_tools_are_declared_and_recorded(tmp_path: Path, site: Site) -> None:
    more = 'trees = ["SDK"]\nafter = [["sh", "-c", "cat $SDK/blob > {out}/payload.bin"]]\ntools = ["make"]'
    root = theirs(tmp_path, "make", more)
    with pytest.raises(UsageFault, match="SDK, which is not given"):
        build(root, site)
    sdk = tmp_path / "sdk"
    sdk.mkdir()
    (sdk / "blob").write_text("from the sdk")
    first = build(root, site, trees={"SDK": sdk})
    assert first.built.payload == b"from the sdk"
    (sdk / "blob").write_text("from another sdk")
    second = build(root, site, trees={"SDK": sdk})
    digests = [
        [tool.sha256 for tool in each.built.artifact.tools if tool.name == "tree:SDK"] for each in (first, second)
    ]
    assert len(digests[0]) == 1 and digests[0] != digests[1]
    with pytest.raises(UsageFault, match="uses no tree OTHER"):
        build(root, site, trees={"SDK": sdk, "OTHER": sdk})


def _wrapped_cc(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler of one's own that is found first; what it starts is the machine's."""
    folder.mkdir()
    wrapper = folder / "cc"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("cc")} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(HostBuilder, "path", f"{folder}:{HostBuilder.path}")
    return wrapper


@pytest.mark.skipif(shutil.which("make") is None or shutil.which("cc") is None, reason="no make, or no cc")
def test_the_compiler_of_a_project_is_an_input_without_a_word(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody said `tools`: the compiler and what it starts are recorded, and another compiler builds anew."""
    wrapper = _wrapped_cc(tmp_path / "bin", monkeypatch)
    root = theirs(tmp_path, "make", 'collect = { "payload.bin" = "app.o" }')
    built = build(root, site)
    names = {tool.name for tool in built.built.artifact.tools}
    assert {"make", "cc", "cc:as", "cc:ld"} <= names
    assert build(root, site).from_cache
    with wrapper.open("a") as file:
        file.write("# another compiler\n")
    assert not build(root, site).from_cache


def test_the_tools_of_make_and_cmake_are_more_than_what_they_are_called_with() -> None:
    recipe = BuildRecipe(system="cmake", directory="x", sources=("x",), outputs=("payload.bin",))
    assert "cc" in (tools_of(recipe) or ()) and "c++" in perhaps_of(recipe)
    named = recipe.model_copy(update={"tools": ("cmake", "make", "arm-none-eabi-gcc")})
    assert (tools_of(named), perhaps_of(named)) == (named.tools, ())


def test_a_tool_that_is_not_there_is_named(tmp_path: Path, site: Site) -> None:
    root = theirs(tmp_path, "make", 'collect = { "payload.bin" = "app.o" }\ntools = ["no-such-tool"]')
    with pytest.raises(ToolMissing, match="no-such-tool"):
        build(root, site)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('command = ["x"]', "has its own command line"),
        ('arguments = ["{nothing}"]', "is not known here"),
        ('after = [["{nothing}"]]', "is not known here"),
        ('image = "debian:12"', "does not have the form"),
        ('tools = ["../x"]', "does not have the form"),
    ],
)
def test_what_a_manifest_may_not_say(tmp_path: Path, more: str, said: str) -> None:
    root = theirs(tmp_path, "make", more)
    with pytest.raises(ManifestFault, match=said):
        load_module(root / "mod")


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_every_system_has_its_commands_in_order(system: str) -> None:
    recipe = BuildRecipe(
        system=system,  # type: ignore[arg-type]
        directory="theirs",
        arguments=("--option",),
        after=(("after",),),
        sources=("theirs",),
        outputs=("payload.bin",),
    )
    steps = steps_of(recipe)
    assert steps[-1] == ("after",) and any("--option" in step for step in steps)
    assert steps[0][0] in (tools_of(recipe) or ())
    places = {"source": "/s o", "work": "/w", "out": "/o", "build": "/w/build"}
    script = script_of(recipe, (("tool", "a b; rm -rf /"),), places)
    assert "tool 'a b; rm -rf /'" in script
    assert ("cp -Rp '/s o'/. /w/tree" in script) == SYSTEMS[system].in_tree


def test_the_examples_of_the_docs_are_manifests() -> None:
    text = (ROOT / "docs" / "how-to" / "build-a-project-of-somebody-else.md").read_text()
    blocks = [block.partition("```")[0] for block in text.split("```toml\n")[1:]]
    head = MODULE[: MODULE.index("[build]")].replace("{{", "{").replace("}}", "}")
    tail = '\n[update]\npolicy = "none"\nsecurity_counter = 0\n'
    systems = []
    for block in blocks:
        from assay.stages.manifest.read import read_manifest

        whole = block.startswith("schema = ")
        module = read_manifest((block if whole else head + block + tail).encode(), "docs", Module)
        systems += [] if whole or module.build.system not in SYSTEMS else [module.build.system]
    assert sorted(systems) == sorted(SYSTEMS)
    assert len(blocks) == len(SYSTEMS) + 3  # one whole file, rustup's toolchain, Go
