# SPDX-License-Identifier: Apache-2.0
"""`assay build`: build a module twice, compare byte for byte, and leave the artifact in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the artifact.")
@click.option("--builder", type=click.Choice(["auto", "sandbox", "host"]), default="auto", show_default=True)
@click.option("--fresh", is_flag=True, help="Build even if these inputs were built before.")
@verb
def command(
    session: Session,
    module_toml: Path,
    board: str,
    version: str | None,
    defines: tuple[str, ...],
    keys: tuple[str, ...],
    out: Path,
    builder: Literal["auto", "sandbox", "host"],
    fresh: bool,
) -> Answer:
    """Build MODULE_TOML twice, in different surroundings, and compare every output byte for byte.

    A difference is FAIL: it says where the outputs differ, and both are kept. Without network, in a sandbox where
    bubblewrap works.
    """
    from assay.pipeline.build_recipe import BuildRequest
    from assay.pipeline.module_build import build_module
    from assay.stages.build.command import parse_defines

    request = BuildRequest(module_toml, board, version, parse_defines(defines), _read_keys(keys), builder, fresh)
    with counting(session, f"building {module_toml}") as (say, progress):
        report = build_module(request, session.site, out, say, progress)
    return Answer(_text(report, out), _data(report, out))


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


def _text(report: BuildReport, out: Path) -> str:
    artifact = report.built.artifact
    source = artifact.source
    commit = f"{source.commit[:12]}{' and changes' if source.dirty else ''}" if source.commit else "no commit"
    tools = ", ".join(f"{tool.name} {tool.version}" for tool in artifact.tools)
    how = "from the cache: the same inputs were built twice before" if report.from_cache else "two builds, same bytes"
    return "\n".join(
        (
            f"{artifact.module} {artifact.version} for {artifact.board}: {artifact.payload_size} bytes, {how}",
            f"  payload   {artifact.payload_sha256}",
            f"  source    {commit}, inputs {source.digest[:16]}",
            f"  tools     {tools}; builder {artifact.builder}",
            f"  differed  {', '.join(artifact.variations)}",
            f"  in        {out}",
        )
    )


def _data(report: BuildReport, out: Path) -> dict[str, Any]:
    artifact = report.built.artifact.model_dump(mode="json", by_alias=True)
    return {"artifact": artifact, "folder": str(out), "from_cache": report.from_cache}
