# SPDX-License-Identifier: Apache-2.0
"""Rows about building: cold, warm and unchanged beside the bare build command; what a sandbox and a container cost."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

import measuring
from container_engine import NoEngine, running_engine
from life_site import ROOT
from measuring import Call, in_turn, program, row, seconds

from assay.backends.builders.choice import choose
from assay.errors import AssayError
from assay.interfaces.builder import Builder, BuilderSettings, BuildTask


def built(rounds: int) -> None:
    """Rows: the app of the demo by `assay build`, which builds twice and starts the second 1.1 s later, and by its
    command alone; with empty caches, with the compiler's, and with nothing changed.
    """
    folder = Path(tempfile.mkdtemp(prefix="assay-bench-build-"))
    cold_ours, cold_bare = seconds(_ours(folder / "cold")), seconds(_bare(folder / "bare"))
    _ours(folder / "site")()
    taken = in_turn(
        rounds, warm=_ours(folder / "site", "--fresh"), bare=_bare(folder / "bare"), unchanged=_ours(folder / "site")
    )
    row("build, nothing cached (once)", f"{cold_ours:.2f} s", f"{cold_bare:.2f} s (the command)", cold_ours / cold_bare)
    for name, title in (("warm", "build, the compiler's cache kept"), ("unchanged", "build, nothing changed")):
        row(title, f"{taken[name]:.2f} s", f"{taken['bare']:.2f} s (the command)", taken[name] / taken["bare"])
    shutil.rmtree(folder, ignore_errors=True)


def _ours(site: Path, *more: str) -> Call:
    words = ["build", "firmware/app", "--board", measuring.board, "--out", str(site.parent / f"{site.name}.out"), *more]
    return program(sys.executable, "-m", "assay", *words, "--site", str(site))


def _bare(folder: Path) -> Call:
    """The very command line of the module."""
    board = str(ROOT / "boards" / f"{measuring.board}.toml")
    words = ["firmware/build.py", "--part", "app", "--board-toml", board, "--out", str(folder)]
    return program(sys.executable, *words, "--cache", str(folder / "cache"), "--version", "1.0.0", "--name", "demo")


def walls(rounds: int) -> None:
    """Rows: a build that does nothing, on the host, in the sandbox and in a container: what the walls cost.

    The container takes the image in ASSAY_BENCH_IMAGE (by digest), on the engine of DOCKER_HOST; without one, an image
    of busybox on a podman of its own.
    """
    folder = Path(tempfile.mkdtemp(prefix="assay-bench-walls-"))
    with _image() as settings:
        calls: dict[str, Call] = {}
        for name in ("host", "sandbox", "container"):
            try:
                builder, _ = choose(name, settings)
                calls[name] = _nothing(builder, folder / name)
            except AssayError as error:
                print(f"{name} not measured: {error.message}")
        taken = in_turn(rounds * 3, **calls)
    for name in [each for each in taken if each != "host"]:
        host_ms, ours_ms = taken["host"] * 1e3, taken[name] * 1e3
        row(f"a build of nothing in the {name}", f"{ours_ms:.0f} ms", f"{host_ms:.0f} ms (host)", ours_ms / host_ms)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _image() -> Iterator[BuilderSettings]:
    named = os.environ.get("ASSAY_BENCH_IMAGE")
    if named:
        yield BuilderSettings(image=named)
        return
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(running_engine("podman"))
            settings = BuilderSettings(image=running.image, engine=running.address)
        except NoEngine as error:
            print(error)
            settings = BuilderSettings()
        yield settings


def _nothing(builder: Builder, folder: Path) -> Call:
    source, out, cache, home = (folder / part for part in ("source", "out", "cache", "home"))
    for each in (source, out, cache, home):
        each.mkdir(parents=True)
    task = BuildTask(("true",), source, out, cache, home, environment={"PATH": builder.path})
    return lambda: builder.run(task)
