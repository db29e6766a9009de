# SPDX-License-Identifier: Apache-2.0
"""`assay build`: build a module twice, compare byte for byte, and leave the artifact in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_board
from assay.cli.working import counting
from assay.errors import UsageFault

if TYPE_CHECKING:
    from assay.pipeline.module_build import BuildReport


@click.command()
@click.argument("module_toml", type=click.Path(path_type=Path))
@click.option("--board", required=True, shell_complete=complete_board, help="Name of the board (boards/NAME.toml).")
@click.option("--version", help="Version to build [default: the one in the module's file].")
@click.option("--define", "defines", multiple=True, metavar="NAME=VALUE", help="A define for the sources.")
@click.option("--declare-key", "keys", multiple=True, metavar="NAME=PEM_FILE", help="A public key that is built in.")
@click.option("--tree", "trees", multiple=True, metavar="NAME=FOLDER", help="A folder of tools that the build uses.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the artifact (only --check can do without).")
@click.option("--builder", default="auto", show_default=True, help="sandbox, host, container, or one of a package.")
@click.option("--image", metavar="[NAME@]sha256:...", help="Image of the container, by digest.")
@click.option("--fresh", is_flag=True, help="Build even if these inputs were built before.")
@click.option("--check", is_flag=True, help="Build anew without any cache, and compare with what was kept.")
@verb
def command(
    session: Session,
    module_toml: Path,
    board: str,
    version: str | None,
    defines: tuple[str, ...],
    keys: tuple[str, ...],
    trees: tuple[str, ...],
    out: Path | None,
    builder: str,
    image: str | None,
    fresh: bool,
    check: bool,
) -> Answer:
    """Build MODULE_TOML twice, in different surroundings, and compare every output byte for byte.

    A difference is FAIL: it says where the outputs differ, and both are kept. Without network, in a sandbox where
    bubblewrap works.
    """
    from assay.pipeline.build_recipe import BuildRequest
    from assay.pipeline.module_build import build_module
    from assay.stages.build.command import parse_defines

    if out is None and not check:
        raise UsageFault("there is no folder for the artifact", remedy="add --out FOLDER")
    request = BuildRequest(
        *(module_toml, board, version, parse_defines(defines), _read_keys(keys), builder, fresh),
        image=image,
        trees=read_trees(trees),
        check=check,
    )
    with counting(session, f"building {module_toml}") as (say, progress):
        report = build_module(request, session.site, out, say, progress)
    return Answer(_text(report, out), _data(report, out))


def read_trees(texts: tuple[str, ...]) -> dict[str, Path]:
    """`NAME=FOLDER` texts as a table. Raises `UsageFault`."""
    trees: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or not Path(folder).is_dir():
            raise UsageFault(f"{text!r} names no tree of tools", remedy="write NAME=FOLDER, such as IDF_PATH=/opt/idf")
        if name in trees:
            raise UsageFault(f"the tree {name} is given twice", remedy="give it once")
        trees[name] = Path(folder)
    return trees


def _read_keys(texts: tuple[str, ...]) -> dict[str, str]:
    keys: dict[str, str] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not (name.isascii() and name.isalpha() and name.islower() and equals):
            raise UsageFault(f"{text!r} declares no key", remedy="write NAME=FILE, such as image=image.pem")
        if name in keys:
            raise UsageFault(f"the key '{name}' is declared twice", remedy="declare it once")
        try:
            keys[name] = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise UsageFault(
                f"the key file {file!r} cannot be read: {why}", remedy="name a file with a PEM key"
            ) from error
    return keys


def _text(report: BuildReport, out: Path | None) -> str:
    artifact = report.built.artifact
    source = artifact.source
    commit = f"{source.commit[:12]}{' and changes' if source.dirty else ''}" if source.commit else "no commit"
    tools = _tools(report)
    how = "from the cache: the same inputs were built twice before" if report.from_cache else "two builds, same bytes"
    if report.checked:
        how += ", and the same as before"
    return "\n".join(
        (
            f"{artifact.module} {artifact.version} for {artifact.board}: {artifact.payload_size} bytes, {how}",
            f"  payload   {artifact.payload_sha256}",
            f"  source    {commit}, inputs {source.digest[:16]}",
            f"  tools     {tools}; builder {artifact.builder}",
            f"  differed  {', '.join(artifact.variations)}",
            *((f"  in        {out}",) if out is not None else ()),
        )
    )


def _tools(report: BuildReport) -> str:
    """The tools; without the parts of a compiler, and of the packages behind them only how many there are."""
    tools = report.built.artifact.tools
    packages = sum(tool.name.startswith("deb:") for tool in tools)
    named = [f"{tool.name} {tool.version}".strip() for tool in tools if _is_named(tool.name)]
    return ", ".join([*named, *([f"{packages} packages"] if packages else [])])


def _is_named(tool: str) -> bool:
    return ":" not in tool or tool.startswith("tree:")


def _data(report: BuildReport, out: Path | None) -> dict[str, Any]:
    artifact = report.built.artifact.model_dump(mode="json", by_alias=True)
    folder = str(out) if out is not None else None
    return {"artifact": artifact, "folder": folder, "from_cache": report.from_cache, "checked": report.checked}
