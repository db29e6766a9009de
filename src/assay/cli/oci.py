# SPDX-License-Identifier: Apache-2.0
"""`assay oci`: releases to and from any OCI registry."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.near_commands import NearCommands
from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_board, complete_release
from assay.cli.working import working
from assay.errors import UsageFault

FILE = click.Path(path_type=Path, dir_okay=False)

board_option = click.option(
    "--board", required=True, metavar="NAME", shell_complete=complete_board, help="The board it is for."
)
ca_option = click.option("--ca", type=FILE, help="The CA of the registry's certificate (PEM) [default: the system's].")
also_option = click.option(
    "--also", multiple=True, metavar="HOST[:PORT]", help="A host that the registry may lead to; others are refused."
)


@click.group(cls=NearCommands)
def command() -> None:
    """Releases to and from an OCI registry, with the statements about them as referrers.

    REGISTRY is HOST[:PORT][/PREFIX]. Passwords are no arguments: they come from ASSAY_REGISTRY_USER with
    ASSAY_REGISTRY_PASSWORD_FILE, from docker's config.json, or from netrc.
    """


@command.command()
@click.argument("release", metavar="NAME@VERSION", shell_complete=complete_release)
@click.argument("registry")
@board_option
@ca_option
@also_option
@verb
def push(session: Session, release: str, registry: str, board: str, ca: Path | None, also: tuple[str, ...]) -> Answer:
    """Push NAME@VERSION from the store to REGISTRY/BOARD/NAME:VERSION. What is there already is not sent again."""
    from assay.pipeline.registry_transfer import Registry, push_release

    name, version = _parts(release)
    found = session.site.store.find(name, version, board)
    with working(session, f"pushing {release}") as say:
        done = push_release(session.site, found, Registry(registry, ca, frozenset(also)), say)
    text = "\n".join(
        (
            f"{release} for {board} is at {done.where}",
            f"  manifest    {done.manifest}",
            f"  blobs       {done.blobs_sent} sent, {done.blobs_there} were there",
            f"  statements  {done.statements} refer to it",
        )
    )
    data = {
        "where": done.where,
        "manifest": done.manifest,
        "blobs_sent": done.blobs_sent,
        "blobs_there": done.blobs_there,
        "statements": done.statements,
    }
    return Answer(text, data)


@command.command()
@click.argument("release", metavar="NAME@VERSION")
@click.argument("registry")
@board_option
@click.option(
    "--trust", "trust_path", type=FILE, required=True, envvar="ASSAY_TRUST", help="Whom to trust [ASSAY_TRUST]."
)
@ca_option
@also_option
@verb
def pull(
    session: Session,
    release: str,
    registry: str,
    board: str,
    trust_path: Path,
    ca: Path | None,
    also: tuple[str, ...],
) -> Answer:
    """Pull NAME@VERSION from REGISTRY, verify everything, and only then put it into the store.

    The registry is not trusted: status 4 with the reason when anything is wrong; then nothing is kept.
    """
    from assay.pipeline.registry_transfer import Registry, pull_release
    from assay.pipeline.trust_anchor import load_anchor

    name, version = _parts(release)
    trust, _ = load_anchor(trust_path)
    with working(session, f"pulling {release}") as say:
        done = pull_release(session.site, name, version, board, Registry(registry, ca, frozenset(also)), trust, say)
    lines = [f"{release} for {board}", f"  image       {done.release.image.file_sha256}"]
    lines += [f"  statements  {done.statements} came with it", f"  verified    {len(done.checks)} checks"]
    data = {
        "reference": release,
        "board": board,
        "file_sha256": done.release.image.file_sha256,
        "statements": done.statements,
        "checks": [check.what for check in done.checks],
    }
    return Answer("\n".join(lines), data)


def _parts(reference: str) -> tuple[str, str]:
    from assay.model.identifiers import Version

    name, _, version = reference.partition("@")
    if not name or not version:
        raise UsageFault(f"{reference!r} names no version", remedy="write NAME@VERSION: a registry has no highest one")
    return name, str(Version(version))
