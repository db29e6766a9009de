# SPDX-License-Identifier: Apache-2.0
"""`assay fetch`: a release from a repository on a server, in a folder or on a stick, into the site's store."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_board
from assay.cli.working import working

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Fetch a release from a repository.")
@click.argument("release", metavar="[NAME[@VERSION]]", required=False)
@click.option("--repo", "where", required=True, metavar="URL|FOLDER", help="Where the repository is this time.")
@click.option("--board", metavar="NAME", shell_complete=complete_board, help="The board it is for.")
@click.option("--trust", required=True, type=FILE, envvar="ASSAY_TRUST", help="The trust file [ASSAY_TRUST].")
@click.option("--root", type=FILE, help="Its root.json, from somebody you trust; needed the first time.")
@click.option("--name", default="releases", show_default=True, help="What this site calls the repository.")
@verb
def command(
    session: Session, release: str | None, where: str, board: str | None, trust: Path, root: Path | None, name: str
) -> Answer:
    """Fetch NAME@VERSION (without a version the highest) into the store, verified; without NAME only learn what was
    withdrawn.

    What came before the link broke is kept, and the next call goes on from there.
    """
    from assay.pipeline.repository_fetch import FetchOrder, fetch

    order = FetchOrder(release, board, where, trust, name, root)
    with working(session, f"fetching from {where}"):
        done = fetch(session.site, order)
    lines = [f"{each.says.release} for {each.says.board} was withdrawn: {each.says.reason}" for each in done.withdrawn]
    if done.release is None:
        lines += [] if lines else ["nothing was withdrawn that this site did not know"]
    else:
        lines += [
            f"{done.release.reference} for {done.release.board} is in the store",
            f"  manifest  sha256:{done.manifest_sha256}",
            f"  image     {done.release.image.file_sha256}",
        ]
    data = {
        "reference": done.release.reference if done.release else None,
        "manifest_sha256": done.manifest_sha256,
        "checks": list(done.checks),
        "withdrawn": [each.says.model_dump(mode="json") for each in done.withdrawn],
    }
    return Answer("\n".join(lines), data)
