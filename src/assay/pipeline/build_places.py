# SPDX-License-Identifier: Apache-2.0
"""The folders of one build: sources, outputs, home and work, and the task that a builder is given for them.

Guards: the sources are written in the order that their surroundings ask for, and where the disk has its own order, in
memory, so that the two builds do find another one. Leaves to others: what differs (`stages.build.surroundings`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from assay.backends.builders.source_tree import listed_otherwise, write
from assay.backends.stores.result_folder import owner, remove_leftovers
from assay.errors import UsageFault
from assay.interfaces.builder import Builder, BuildTask
from assay.model.source_file import SourceFile
from assay.pipeline.build_recipe import Recipe
from assay.stages.build.command import expand
from assay.stages.build.surroundings import Surroundings
from assay.stages.build.systems import SYSTEMS, script_of, steps_of, tree_of

SCRATCH = "assay-build-"
"""Begin of the names of the folders in which builds run; the process id follows."""

MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of our own in it, made safely
"""A file system that lists files by their creation, where there is one."""

ROOM_FACTOR = 4
"""How many times the room of the sources memory must have before they are put there."""


@dataclass(frozen=True)
class Places:
    """Where one build takes place."""

    source: Path
    out: Path
    home: Path
    work: Path


@contextlib.contextmanager
def scratch_folders() -> Iterator[tuple[Path, Path | None]]:
    """A folder on disk, and one in memory if there is such a thing; both are gone afterwards. Raises `OSError`."""
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(_scratch(Path(tempfile.gettempdir())))
        try:
            memory = stack.enter_context(_scratch(MEMORY))
        except OSError:
            memory = None
        yield disk, memory


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    remove_leftovers(parent, SCRATCH)
    prefix = f"{SCRATCH}{owner()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


def lay_out(recipe: Recipe, around: Surroundings, disk: Path, memory: Path | None, first: Places | None) -> Places:
    """Make the folders and write the sources. `first`: the other build, whose order of files is not to be met again."""
    base = disk / around.folder
    places = Places(base / "source", base / "out", base / "home" / around.user, base / "home" / around.user / "work")
    for folder in (places.source, places.out, places.home, places.work):
        folder.mkdir(parents=True)
    _write_sources(recipe, around, places.source)
    if first is None or memory is None or listed_otherwise(first.source, places.source):
        return places
    size = sum(len(file.data) for file in recipe.files)
    if shutil.disk_usage(memory).free < ROOM_FACTOR * size:
        return places
    source = memory / around.folder / "source"
    source.mkdir(parents=True)
    _write_sources(recipe, around, source)
    shutil.rmtree(places.source)
    return Places(source, places.out, places.home, places.work)


def _write_sources(recipe: Recipe, around: Surroundings, source: Path) -> None:
    keys = tuple(SourceFile(f"{name}.pem", False, pem.encode()) for name, pem in recipe.pems.items())
    write(recipe.files, source, around.epoch_s, backwards=around.backwards)
    write(keys, source / "declared-keys", around.epoch_s, backwards=around.backwards)


def task_of(
    recipe: Recipe,
    builder: Builder,
    around: Surroundings,
    places: Places,
    cache: Path,
    hidden: tuple[Path, ...],
    locale: Path | None = None,
) -> BuildTask:
    """What the builder is to do in `places`. `locale`: a folder with compiled locales of this machine's C library."""
    values = _values(recipe, builder, around, places, cache)
    system = SYSTEMS.get(recipe.subject.module.build.system)
    environment = around.environment(places.home, builder.path) | {
        name: str(folder) for name, folder in recipe.trees.items()
    }
    seen = tuple(recipe.trees.values())
    if locale is not None and around.needs_locale:
        environment["LOCPATH"] = str(locale)
        seen += (locale,)
    if system is not None:
        environment |= {name: expand((text,), values, {})[0] for name, text in system.environment.items()}
    return BuildTask(
        command=_command(recipe, values),
        source=places.source,
        out=places.out,
        cache=cache,
        home=places.home,
        environment=environment,
        uid=around.uid,
        umask=around.umask,
        hostname=around.hostname,
        cpus=around.cpus,
        hidden=hidden,
        seen=seen,
    )


def _values(recipe: Recipe, builder: Builder, around: Surroundings, places: Places, cache: Path) -> dict[str, str]:
    build = recipe.subject.module.build
    processors = len(os.sched_getaffinity(0))
    values = {
        "python": builder.python,
        "board_toml": str(places.source / recipe.board_path),
        "out": str(places.out),
        "version": recipe.subject.version,
        "name": recipe.subject.module.name,
        "cache": str(cache),
        "source": str(places.source),
        "work": str(places.work),
        "jobs": str(around.cpus or max(processors, 2)),
        **{f"{name}_pubkey": str(places.source / "declared-keys" / f"{name}.pem") for name in recipe.pems},
    }
    values["tree"] = expand((tree_of(build),), values, {})[0]
    system = SYSTEMS.get(build.system)
    values["build"] = values["work"] if system is None else expand((system.build,), values, {})[0]
    return values


def _command(recipe: Recipe, values: Mapping[str, str]) -> tuple[str, ...]:
    build, defines = recipe.subject.module.build, recipe.subject.parameters["defines"]
    system = SYSTEMS.get(build.system)
    form = None if system is None else system.define
    if form == "" and defines:
        raise UsageFault(f"{build.system} takes no defines", remedy="put the value into the project's own files")
    steps = tuple(expand(step, values, defines, form) for step in steps_of(build))
    if system is None and not build.collect and not build.after:
        return steps[0]
    return ("/bin/sh", "-euc", script_of(build, steps, values))
