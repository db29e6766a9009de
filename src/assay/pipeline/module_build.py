# SPDX-License-Identifier: Apache-2.0
"""Build a module for a board: declared inputs to an artifact that two builds agreed on.

Guards: what goes into a build is declared and digested; what two builds disagree on is no artifact; a result from the
cache was checked file by file and says so. No key of the site is within reach of a build in the sandbox.
Leaves to others: reading manifests (`pipeline.manifest_files`), running builds (`backends.builders`), the comparison
(`stages.build`).
"""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from assay.backends.builders.choice import choose
from assay.backends.builders.lanes import lanes
from assay.backends.builders.sandbox_strays import end_strays
from assay.backends.builders.source_tree import listed_otherwise, outputs
from assay.backends.builders.turkish_locale import compiled_locale
from assay.backends.builders.undeclared import undeclared
from assay.backends.stores.result_folder import write_result
from assay.errors import NotVerified, StorageError, UnitFailed, UsageFault
from assay.formats.visible_text import visible
from assay.interfaces.builder import Builder, BuilderSettings
from assay.model.artifact import BuiltArtifact
from assay.pipeline.artifact_folder import check_artifact_folder, read_artifact, write_artifact
from assay.pipeline.build_places import lay_out, scratch_folders, task_of
from assay.pipeline.build_recipe import BuildRequest, Recipe, lane_of, prepare
from assay.pipeline.manifest_files import load_module
from assay.pipeline.site import Site
from assay.stages.build.comparison import difference
from assay.stages.build.inputs import result_key
from assay.stages.build.probe import seen_otherwise
from assay.stages.build.result import BuildSubject, artifact_of
from assay.stages.build.surroundings import FIRST, SECOND, variations
from assay.stages.build.systems import copies_sources
from assay.stages.build.twice import run_both

Say = Callable[[str], None]
"""Called with a line of progress."""

Progress = Callable[[int, int], None]
"""Called with how many parts of the work are done, and of how many."""

CHANGES_SHOWN_MAX = 3
PARTS = 4
"""Of a build, as its progress counts them: inputs read, first build, second build, compared and written."""


@dataclass(frozen=True)
class BuildReport:
    """What came out: the artifact, and whether an earlier build of the same inputs gave it. `checked`: it was built
    anew and is the same as one that was kept.
    """

    built: BuiltArtifact
    from_cache: bool
    checked: bool = False
    subject: BuildSubject | None = None


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
    _check_folder(site.cache_dir.resolve())
    if out is not None:
        check_artifact_folder(out)
    module = load_module(request.module_toml)
    builder, why_host = choose(request.builder, BuilderSettings(image=request.image or module.build.image))
    recipe = prepare(request, site.cache_dir, builder, _no_inputs(site, out))
    parts.one_more()
    _say_changes(recipe, say)
    if why_host:
        say(f"without a sandbox ({why_host}): the build can read what you can read")
    key = result_key(recipe.subject.source.digest, recipe.subject.tools, builder.name, recipe.subject.parameters)
    kept = site.cache_dir / "artifacts" / key
    before = None if request.fresh else _from_cache(kept, recipe, say)
    report = None if request.check else before
    if report is None:
        built = _build(recipe, request, builder, site, out or kept, say, parts)
        if before is not None:
            _compare_with_kept(before.built, built, out or kept)
        write_artifact(kept, built)
        report = BuildReport(built, from_cache=False, checked=before is not None, subject=recipe.subject)
    if out is not None:
        write_artifact(out, report.built)
    progress(PARTS, PARTS)
    return report


def _say_changes(recipe: Recipe, say: Say) -> None:
    """What makes it a build that nobody can repeat from the commit: a file, its mode, or its ends of lines."""
    found = recipe.changed
    if not found:
        return
    more = f" and {len(found) - CHANGES_SHOWN_MAX} more" if len(found) > CHANGES_SHOWN_MAX else ""
    say(f"not as the commit has it, byte by byte: {', '.join(found[:CHANGES_SHOWN_MAX])}{more}")


def _no_inputs(site: Site, out: Path | None) -> tuple[Path, ...]:
    """The site with its keys, and what this verb and the next ones make of the build: no wildcard means them."""
    made = () if out is None else (out, *(out.with_name(f"{out.name}.{end}") for end in ("signed", "differing")))
    return (site.folder, site.keys_dir, site.cache_dir, *made)


def _check_folder(cache: Path) -> None:
    """Compilers write the names of what they read into lists of lines, and would blame the sources."""
    if found := re.search(r"[\x00-\x1f\x7f]", str(cache)):
        raise UsageFault(
            f"{visible(str(cache))}: no compiler works in a folder with the character {ord(found[0])} in its name",
            remedy="move the project, or the site (--site), to a folder without control characters",
        )


def _compare_with_kept(kept: BuiltArtifact, built: BuiltArtifact, out: Path) -> None:
    """Raises `UnitFailed` when what was built before from the same inputs is something else."""
    found = difference(kept.files, built.files)
    if found is not None:
        folder = _keep_both(out, kept.files, built.files)
        what = f"{built.artifact.module} {built.artifact.version}"
        text = f"{what} is not what was built before from the same inputs: {found}"
        raise UnitFailed(text, remedy=f"compare {folder}/first (kept) with {folder}/second; see what else changed")


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


def _build(
    recipe: Recipe, request: BuildRequest, builder: Builder, site: Site, out: Path, say: Say, parts: _Parts
) -> BuiltArtifact:
    subject = recipe.subject
    what = f"{subject.module.name} {subject.version}"
    end_strays()
    say(f"building {what} for {subject.board.name} twice ({builder.name})")
    try:
        with scratch_folders() as (disk, memory):
            first, second, varied = _run_twice(recipe, request, builder, site, (disk, memory), parts)
    except UnitFailed as error:
        raise _with_undeclared(error, recipe) from error
    except OSError as error:
        raise _cannot_build(error) from error
    found = difference(first, second)
    if found is not None:
        kept = _keep_both(out, first, second)
        text = f"two builds of {what} differ: {found}"
        raise UnitFailed(text, remedy=f"compare {kept}/first with {kept}/second; what differs is no input of the build")
    return artifact_of(subject, builder, first, varied)


def _cannot_build(error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"no room to build: {error.strerror}", remedy="free disk space, or set TMPDIR")
    named = f"{error.filename}: " if error.filename else ""
    return StorageError(f"cannot build: {named}{error.strerror}", remedy="mend that, or set TMPDIR or --site")


def _run_twice(
    recipe: Recipe,
    request: BuildRequest,
    builder: Builder,
    site: Site,
    scratch: tuple[Path, Path | None],
    parts: _Parts,
) -> tuple[dict[str, bytes], dict[str, bytes], tuple[str, ...]]:
    """What both builds left, and what was different for them."""
    disk, memory = scratch
    locale = compiled_locale(site.cache_dir.resolve()) if builder.tools() is None else None
    places = [lay_out(recipe, FIRST, disk, memory, None)]
    places.append(lay_out(recipe, SECOND, disk, memory, places[0]))
    in_tree = copies_sources(recipe.subject.module.build)
    file_order = not in_tree and listed_otherwise(places[0].source, places[1].source)
    root = disk / "anew" if request.check else (site.cache_dir / "lanes").resolve()
    with lanes(root, lane_of(recipe, builder), disk / "cache") as caches:
        tasks = [
            task_of(recipe, builder, around, each, cache, (site.keys_dir.resolve(),), locale)
            for around, each, cache in zip((FIRST, SECOND), places, caches, strict=True)
        ]
        seen = run_both(builder, tasks[0], tasks[1], site.clock, parts.one_more)
    return outputs(tasks[0].out), outputs(tasks[1].out), variations(seen_otherwise(*seen), file_order)


def _with_undeclared(error: UnitFailed, recipe: Recipe) -> UnitFailed:
    """A build that failed for want of files that are there, and not declared, says which."""
    missed = undeclared(error.message, recipe.root, {file.path for file in recipe.files})
    if not missed:
        return error
    name = recipe.subject.module.name
    text = f"the build asks for {', '.join(missed)}, which [build] sources of {name} does not declare"
    return UnitFailed(f"{text}; {error.message}", remedy="add it to [build] sources, or correct the sources")


def _keep_both(out: Path, first: Mapping[str, bytes], second: Mapping[str, bytes]) -> Path:
    kept = out.with_name(out.name + ".differing")
    both = {f"first/{name}": data for name, data in first.items()}
    both |= {f"second/{name}": data for name, data in second.items()}
    write_result(kept, {"DIFFERING": b"", **both}, "DIFFERING")
    return kept
