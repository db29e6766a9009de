# SPDX-License-Identifier: Apache-2.0
"""Build a module for a board: declared inputs to an artifact that two builds agreed on.

Guards: what goes into a build is declared and digested; what two builds disagree on is no artifact; a result from the
cache was checked file by file and says so. No key of the site is within reach of a build in the sandbox.
Leaves to others: reading manifests (`pipeline.manifest_files`), running builds (`backends.builders`), the comparison
(`stages.build`).
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from assay.backends.builders.choice import choose
from assay.backends.builders.lanes import lanes
from assay.backends.builders.source_tree import outputs, write
from assay.backends.stores.result_folder import remove_leftovers, write_result
from assay.errors import NotVerified, StorageError, UnitFailed, UsageFault
from assay.interfaces.builder import Builder, BuildTask
from assay.model.artifact import BuiltArtifact
from assay.model.source_file import SourceFile
from assay.pipeline.artifact_folder import read_artifact, write_artifact
from assay.pipeline.build_recipe import BuildRequest, Recipe, prepare
from assay.pipeline.site import Site
from assay.stages.build.command import expand
from assay.stages.build.comparison import difference
from assay.stages.build.inputs import result_key
from assay.stages.build.result import artifact_of
from assay.stages.build.surroundings import FIRST, SECOND, Surroundings
from assay.stages.build.twice import run_both

Say = Callable[[str], None]
"""Called with a line of progress."""

Progress = Callable[[int, int], None]
"""Called with how many parts of the work are done, and of how many."""

PARTS = 4
"""Of a build, as its progress counts them: inputs read, first build, second build, compared and written."""

SCRATCH = "assay-build-"
"""Begin of the names of the folders in which builds run; the process id follows."""


@dataclass(frozen=True)
class BuildReport:
    """What came out: the artifact, and whether an earlier build of the same inputs gave it."""

    built: BuiltArtifact
    from_cache: bool


class _Parts:
    """Counts the parts of one build that are done; both builds end in threads of their own."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()

    def one_more(self) -> None:
        with self._lock:
            self._done += 1
            self._progress(self._done, PARTS)


def _ignore(_done: int, _total: int) -> None:
    return None


def build_module(
    request: BuildRequest, site: Site, out: Path | None, say: Say, progress: Progress = _ignore
) -> BuildReport:
    """Build what `request` asks for, and leave it in `out` if given. Raises `UnitFailed` when two builds differ."""
    parts = _Parts(progress)
    recipe = prepare(request, site.cache_dir)
    parts.one_more()
    builder, why_host = choose(request.builder)
    if why_host:
        say(f"without a sandbox ({why_host}): the build can read what you can read")
    key = result_key(recipe.subject.source.digest, recipe.subject.tools, builder.name, recipe.subject.parameters)
    kept = site.cache_dir / "artifacts" / key
    report = None if request.fresh else _from_cache(kept, recipe, say)
    if report is None:
        built = _build(recipe, builder, site, out or kept, say, parts)
        write_artifact(kept, built)
        report = BuildReport(built, from_cache=False)
    if out is not None:
        write_artifact(out, report.built)
    progress(PARTS, PARTS)
    return report


def _from_cache(kept: Path, recipe: Recipe, say: Say) -> BuildReport | None:
    try:
        built = read_artifact(kept)
    except UsageFault:
        return None
    except NotVerified as error:
        say(f"the kept result cannot be used, building again: {error.message}")
        return None
    # The commit may be another one with the same inputs.
    artifact = built.artifact.model_copy(update={"source": recipe.subject.source})
    return BuildReport(BuiltArtifact(artifact, built.files, built.sbom), from_cache=True)


def _build(recipe: Recipe, builder: Builder, site: Site, out: Path, say: Say, parts: _Parts) -> BuiltArtifact:
    subject = recipe.subject
    what = f"{subject.module.name} {subject.version}"
    say(f"building {what} for {subject.board.name} twice ({builder.name})")
    try:
        remove_leftovers(Path(tempfile.gettempdir()), SCRATCH)
        with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-", ignore_cleanup_errors=True) as scratch:
            first, second = _run_twice(recipe, builder, site, Path(scratch).resolve(), parts)
    except OSError as error:
        raise StorageError(f"no room to build: {error.strerror}", remedy="free disk space, or set TMPDIR") from error
    found = difference(first, second)
    if found is not None:
        kept = _keep_both(out, first, second)
        text = f"two builds of {what} differ: {found}"
        raise UnitFailed(text, remedy=f"compare {kept}/first with {kept}/second; what differs is no input of the build")
    return artifact_of(subject, builder, first)


def _run_twice(
    recipe: Recipe, builder: Builder, site: Site, scratch: Path, parts: _Parts
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    with lanes((site.cache_dir / "lanes").resolve(), recipe.lane, scratch / "cache") as (one, other):
        tasks = [
            _task(recipe, site, scratch, surroundings, cache) for surroundings, cache in ((FIRST, one), (SECOND, other))
        ]
        run_both(builder, tasks[0], tasks[1], site.clock, parts.one_more)
    return outputs(tasks[0].out), outputs(tasks[1].out)


def _task(recipe: Recipe, site: Site, scratch: Path, around: Surroundings, cache: Path) -> BuildTask:
    base = scratch / around.folder
    source, out, home = base / "source", base / "out", base / "home" / around.user
    for folder in (source, out, home):
        folder.mkdir(parents=True)
    keys = tuple(SourceFile(f"{name}.pem", False, pem.encode()) for name, pem in recipe.pems.items())
    write(recipe.files, source, around.epoch_s)
    write(keys, source / "declared-keys", around.epoch_s)
    values = {
        "python": sys.executable,
        "board_toml": str(source / recipe.board_path),
        "out": str(out),
        "version": recipe.subject.version,
        "name": recipe.subject.module.name,
        "cache": str(cache),
        **{f"{name}_pubkey": str(source / "declared-keys" / f"{name}.pem") for name in recipe.pems},
    }
    return BuildTask(
        command=expand(recipe.subject.module.build.command, values, recipe.subject.parameters["defines"]),
        source=source,
        out=out,
        cache=cache,
        home=home,
        environment=around.environment(home, Path(sys.executable).parent),
        uid=around.uid,
        umask=around.umask,
        hostname=around.hostname,
        hidden=(site.keys_dir.resolve(),),
    )


def _keep_both(out: Path, first: Mapping[str, bytes], second: Mapping[str, bytes]) -> Path:
    kept = out.with_name(out.name + ".differing")
    both = {f"first/{name}": data for name, data in first.items()}
    both |= {f"second/{name}": data for name, data in second.items()}
    write_result(kept, {"DIFFERING": b"", **both}, "DIFFERING")
    return kept
