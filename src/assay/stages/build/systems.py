# SPDX-License-Identifier: Apache-2.0
"""Build systems of other people's projects: the commands that each is started with, in order.

Guards: none is started with leave to fetch anything; what writes into its own folder gets a copy of the sources, so
that the sources of a build are never written.
Leaves to others: placeholders (`command`), running (`interfaces.builder`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.model.build_recipe import BuildRecipe

ARGUMENTS = "{arguments}"
DEFINES = "{defines}"

_RELATIVE = "-ffile-prefix-map={source}=. -ffile-prefix-map={work}=."
"""For GCC and Clang: `__FILE__` and debug information do not name the folder of a build."""

_COMPILERS = ("c++", "gcc", "g++")
"""Names besides `cc` by which makefiles call the compilers of the machine."""

_C_FLAGS = {"CFLAGS": _RELATIVE, "CXXFLAGS": _RELATIVE}

_ENTER_ESP_IDF = '. "${IDF_PATH:?has to be among the trees of [build]}/export.sh" && exec "$@"'
"""ESP-IDF's own way in, which is for bash: it finds `idf.py`, its Python and its compilers (ADR 0307)."""


@dataclass(frozen=True)
class BuildSystem:
    """How to start one. `steps` are command lines; `{tree}` is the project's folder, `{build}` the one that `collect`
    is about. `perhaps`: tools that are recorded where they are there. `in_tree`: it writes beside its sources, which
    are copied for it. `define`: how a define is written.
    """

    steps: tuple[tuple[str, ...], ...]
    tools: tuple[str, ...]
    build: str
    perhaps: tuple[str, ...] = ()
    in_tree: bool = False
    define: str = "-D{name}={value}"
    environment: Mapping[str, str] = field(default_factory=dict)


SYSTEMS: Mapping[str, BuildSystem] = {
    "make": BuildSystem(
        steps=(("make", "-C", "{tree}", "-j{jobs}", DEFINES, ARGUMENTS),),
        tools=("make", "cc"),
        perhaps=_COMPILERS,
        build="{tree}",
        in_tree=True,
        define="{name}={value}",
        environment=_C_FLAGS,
    ),
    "cmake": BuildSystem(
        steps=(
            ("cmake", "-S", "{tree}", "-B", "{work}/build", "-DCMAKE_BUILD_TYPE=Release", DEFINES, ARGUMENTS),
            ("cmake", "--build", "{work}/build", "--parallel", "{jobs}"),
        ),
        tools=("cmake", "make", "cc"),
        perhaps=_COMPILERS,
        build="{work}/build",
        environment=_C_FLAGS,
    ),
    "west": BuildSystem(
        steps=(("west", "build", "-d", "{work}/build", "{tree}", ARGUMENTS, "--", DEFINES),),
        tools=("west", "cmake", "ninja"),
        build="{work}/build",
    ),
    "platformio": BuildSystem(
        steps=(("platformio", "run", "-d", "{tree}", "-j", "{jobs}", ARGUMENTS),),
        tools=("platformio",),
        build="{tree}/.pio/build",
        in_tree=True,
        define="",
        environment={"PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no", "PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL": "0"},
    ),
    "cargo": BuildSystem(
        steps=(
            (
                *("cargo", "build", "--release", "--locked", "--offline", "--jobs", "{jobs}"),
                *("--manifest-path", "{tree}/Cargo.toml", "--target-dir", "{work}/target", ARGUMENTS),
            ),
        ),
        tools=("cargo", "rustc"),
        build="{work}/target",
        define="",
        environment={"RUSTFLAGS": "--remap-path-prefix={source}=. --remap-path-prefix={work}=."},
    ),
    "esp-idf": BuildSystem(
        steps=(
            (
                *("bash", "-c", _ENTER_ESP_IDF, "bash"),
                *("idf.py", "-C", "{tree}", "-B", "{work}/build", DEFINES, ARGUMENTS, "build"),
            ),
        ),
        tools=("bash",),
        perhaps=("cmake", "ninja"),
        build="{work}/build",
        in_tree=True,
    ),
}


def steps_of(recipe: BuildRecipe) -> tuple[tuple[str, ...], ...]:
    """The command lines of a recipe, placeholders as they are; `after` is among them."""
    system = SYSTEMS.get(recipe.system)
    steps = (recipe.command,) if system is None else tuple(_with(step, recipe.arguments) for step in system.steps)
    return (*steps, *recipe.after)


def tools_of(recipe: BuildRecipe) -> tuple[str, ...] | None:
    """The programs that are recorded; None for what every module of ours is built with."""
    if recipe.tools is not None or recipe.system not in SYSTEMS:
        return recipe.tools
    return SYSTEMS[recipe.system].tools


def perhaps_of(recipe: BuildRecipe) -> tuple[str, ...]:
    """The programs that are recorded where they are there; none where the module says what it is built with."""
    system = SYSTEMS.get(recipe.system)
    return () if recipe.tools is not None or system is None else system.perhaps


def tree_of(recipe: BuildRecipe) -> str:
    """Where the project lies when it is built: `{tree}`."""
    base = "{work}/tree" if copies_sources(recipe) else "{source}"
    return base if recipe.directory is None else f"{base}/{recipe.directory}"


def copies_sources(recipe: BuildRecipe) -> bool:
    """Whether it is built in a copy of the sources, made by the build itself."""
    system = SYSTEMS.get(recipe.system)
    return system is not None and (system.in_tree or recipe.in_copy)


def script_of(recipe: BuildRecipe, steps: tuple[tuple[str, ...], ...], places: Mapping[str, str]) -> str:
    """A script for `sh` that runs `steps` (expanded) in order and leaves what is to be collected in `out`.

    `places`: source, work, out and build. Every word is quoted: what a value holds is never a command.
    """
    lines = [f"mkdir -p {_word(places['work'])}"]
    if copies_sources(recipe):
        lines.append(f"cp -Rp {_word(places['source'])}/. {_word(places['work'] + '/tree')}")
    for step in steps:
        lines += [f"printf '%s\\n' {_word('+ ' + shlex.join(step))}", shlex.join(step)]
    for output, made in sorted(recipe.collect.items()):
        source, goal = f"{places['build']}/{made}", f"{places['out']}/{output}"
        lines.append(f"[ -f {_word(source)} ] || {{ printf '%s\\n' {_word(_missing(made, output))}; exit 1; }}")
        if "/" in output:
            lines.append(f"mkdir -p {_word(goal.rpartition('/')[0])}")
        lines.append(f"cp {_word(source)} {_word(goal)}")
    return "\n".join(lines) + "\n"


def _missing(made: str, output: str) -> str:
    return f"the build folder has no {made}, which [build] collect has for {output}"


def _with(step: tuple[str, ...], arguments: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for part in step for word in (arguments if part == ARGUMENTS else (part,)))


def _word(text: str) -> str:
    return shlex.quote(text)
