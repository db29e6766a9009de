# SPDX-License-Identifier: Apache-2.0
"""`assay bundle`: releases in one file, for a place without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.near_commands import NearCommands
from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_release
from assay.cli.working import working

if TYPE_CHECKING:
    from assay.pipeline.bundle_import import Imported

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(cls=NearCommands)
def command() -> None:
    """Releases in one file, for a place without a network."""


@command.command(name="export")
@click.argument("releases", nargs=-1, metavar="[NAME[@VERSION]]...", shell_complete=complete_release)
@click.option("--out", type=FILE, required=True, help="The file to write.")
@click.option("--board", help="Only the releases for this board [default: for every board].")
@click.option("--since", type=int, help="Prove that the log goes on from this size, which the receiver has seen.")
@click.option(
    "--trust", "trust_path", type=FILE, envvar="ASSAY_TRUST", help="Take archive stamps beside it along [ASSAY_TRUST]."
)
@click.option("--metadata", type=FOLDER, help="Trust metadata to take along: the metadata folder of a TUF repository.")
@verb
def export(
    session: Session,
    releases: tuple[str, ...],
    out: Path,
    board: str | None,
    since: int | None,
    trust_path: Path | None,
    metadata: Path | None,
) -> Answer:
    """Write releases with their attestations and what this site's log says of them into one file; and what was
    withdrawn, which is all of it when no release is named.

    The same releases at the same state of the log give the same bytes. The file is an OCI image layout in a tar, too.
    """
    from assay.pipeline.bundle_export import export_bundle, find_releases
    from assay.pipeline.stamp_folder import stamps_of

    stamps = stamps_of(trust_path) if trust_path is not None else None
    found = find_releases(session.site, releases, board)
    with working(session, f"writing {out}"):
        done = export_bundle(session.site, found, out, since=since, metadata=metadata, stamps=stamps)
    lines = [f"{each.reference} for {each.board}" for each in done.releases]
    lines += [f"  log       {done.log_size} entries, {done.records} of them about these releases"]
    lines += [f"  wrote     {out}: {done.size} bytes, SHA-256 {done.sha256}"]
    data = {
        "file": str(out),
        "bytes": done.size,
        "sha256": done.sha256,
        "log_size": done.log_size,
        "records": done.records,
        "releases": [{"reference": each.reference, "board": each.board} for each in done.releases],
    }
    return Answer("\n".join(lines), data)


@command.command(name="import")
@click.argument("file", type=FILE)
@click.option(
    "--trust", "trust_path", type=FILE, required=True, envvar="ASSAY_TRUST", help="Whom to trust [ASSAY_TRUST]."
)
@click.option("--check", is_flag=True, help="Verify, and keep nothing.")
@click.option(
    "--repository", default="releases", show_default=True, help="Whose metadata may come along: its name here."
)
@click.option("--root", type=FILE, help="The root.json of that repository that you trust, the first time.")
@verb
def import_(session: Session, file: Path, trust_path: Path, check: bool, repository: str, root: Path | None) -> Answer:
    """Verify everything in FILE, and only then put its releases into the store: all of them, or none.

    Status 4 with the reason when anything is wrong; then nothing is left behind.
    """
    from assay.pipeline.bundle_import import import_bundle
    from assay.pipeline.bundle_metadata import MetadataOrder
    from assay.pipeline.stamp_folder import stamps_of
    from assay.pipeline.trust_anchor import load_anchor

    trust, _ = load_anchor(trust_path)
    with working(session, f"verifying {file}"):
        order = MetadataOrder(repository, root)
        done = import_bundle(session.site, file, trust, keep=not check, repository=order, stamps=stamps_of(trust_path))
    return Answer("\n".join(_lines(done)), _data(done))


def _lines(done: Imported) -> list[str]:
    lines = []
    for release, checks in done.releases:
        lines += [f"{release.reference} for {release.board}", f"  image     {release.image.file_sha256}"]
        lines += [f"  caution   {check.what}" for check in checks if check.caution]
        lines += [f"  verified  {len(checks)} checks"]
    lines += [f"withdrawn  {each.release} for {each.board}: {each.reason}" for each in done.withdrawn]
    lines += [f"log '{done.log.head.origin}', {done.log.head.size} entries"]
    lines += [f"archive stamps of {done.stamped} statements count here"] if done.stamped else []
    lines += [f"caution   archive stamps of {sha256} do not count by this trust file" for sha256 in done.passed_over]
    here = "lie here already: they are kept and go before those of the bundle"
    lines += [f"caution   other archive stamps of {sha256} {here}" for sha256 in done.other_stamps]
    lines += ["the repository's metadata names these releases"] if done.metadata else []
    if done.log.continues:
        lines += [f"  goes on from the {done.log.continues} entries that this site had seen"]
    return [*lines, "kept in the store" if done.kept else "nothing was kept (--check)"]


def _data(done: Imported) -> dict[str, object]:
    releases = [
        {"reference": each.reference, "board": each.board, "checks": [check.what for check in checks]}
        for each, checks in done.releases
    ]
    log = {"origin": done.log.head.origin, "size": done.log.head.size, "continues": done.log.continues}
    withdrawn = [each.model_dump(mode="json") for each in done.withdrawn]
    stamps = {"counted": done.stamped, "passed_over": list(done.passed_over), "others_here": list(done.other_stamps)}
    said = {"releases": releases, "withdrawn": withdrawn, "log": log, "metadata": done.metadata}
    return {**said, "archive_stamps": stamps, "kept": done.kept}
