# SPDX-License-Identifier: Apache-2.0
"""`assay rebuild`: build a release again from nothing but its provenance, and say whether it is the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_board
from assay.cli.working import working
from assay.errors import ExitStatus, UsageFault

if TYPE_CHECKING:
    from assay.model.artifact import Release
    from assay.model.trust import TrustFile
    from assay.pipeline.rebuild import Rebuilt

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(short_help="Build a release again from its provenance, and compare.")
@click.argument("what", metavar="RELEASE|PROVENANCE_FILE")
@click.option("--board", shell_complete=complete_board, help="The board of the release, when there are several.")
@click.option("--trust", "trust_path", type=FILE, envvar="ASSAY_TRUST", help="Whom to trust [ASSAY_TRUST].")
@click.option("--source", metavar="FOLDER|URL", help="A repository that has the commit [default: the one it names].")
@click.option("--builder", default="auto", show_default=True, help="sandbox, host, container, or one of a package.")
@click.option("--tree", "trees", multiple=True, metavar="NAME=FOLDER", help="A folder of tools that the build uses.")
@click.option(
    "--beside", type=FILE, multiple=True, help="Another signer's provenance, where the trust file wants several."
)
@click.option("--original", type=FILE, help="The image or payload, to show a difference in.")
@click.option("--out", type=FOLDER, help="Folder for what was built.")
@click.option("--statement", type=FILE, help="Also write the signed statement (a Sigstore bundle) to this file.")
@click.option(
    "--take-in",
    "others",
    type=FILE,
    help="Build nothing: keep a statement of somebody else beside RELEASE.",
)
@verb
def command(
    session: Session,
    what: str,
    board: str | None,
    trust_path: Path | None,
    source: str | None,
    builder: str,
    trees: tuple[str, ...],
    beside: tuple[Path, ...],
    original: Path | None,
    out: Path | None,
    statement: Path | None,
    others: Path | None,
) -> Answer:
    """Build RELEASE again from its provenance alone: fetch the commit, build it twice, and compare payload, image up to
    its signature, and bill of materials. What was built in a container is built in one of the same image.

    RELEASE is NAME@VERSION in the site's store, or the file with a signed provenance, which needs --trust. What came
    out is signed by this site's builder, recorded, and kept beside the release. A difference is FAIL.
    """
    from assay.cli.build import read_trees
    from assay.pipeline.offline_verify import read_input
    from assay.pipeline.rebuild import RebuildOrder, rebuild

    trust = _trust(session, trust_path, what)
    release = None if Path(what).is_file() else _published(session, what, board)
    if others is not None:
        return _take_in(session, trust, release, others)
    order = RebuildOrder(
        provenance=read_input(Path(what)) if release is None else _provenance(session, release),
        trust=trust,
        release=release,
        source=source,
        builder=builder,
        trees=read_trees(trees),
        original=read_input(original) if original is not None else None,
        beside=(*map(read_input, beside), *(_provenances(session, release) if release else ())),
    )
    with working(session, f"building {what} again") as say:
        rebuilt = rebuild(order, session.site, out, say)
    if statement is not None:
        _write(statement, rebuilt.bundle)
    status = ExitStatus.PASS if rebuilt.identical else ExitStatus.FAIL
    return Answer(_text(rebuilt, out), _data(rebuilt, out, statement), status)


def _trust(session: Session, path: Path | None, what: str) -> TrustFile:
    from assay.pipeline.trust_anchor import load_anchor
    from assay.pipeline.trust_file import site_trust

    if path is not None:
        return load_anchor(path)[0]
    if Path(what).is_file():
        raise UsageFault("whom to believe this provenance is not said", remedy="add --trust FILE, or set ASSAY_TRUST")
    return site_trust(session.site, "this-site", allow_development=True, allow_emulated=True)


def _published(session: Session, reference: str, board: str | None) -> Release:
    from assay.pipeline.unit_records import parse_reference

    name, version = parse_reference(reference)
    there = [each for each in session.site.store.releases() if each.name == name and version in (None, each.version)]
    boards = sorted({each.board for each in there})
    chosen = board or (boards[0] if len(boards) == 1 else None)
    if chosen is None or chosen not in boards:
        known = f"it is there for {', '.join(boards)}" if boards else "it is not in the store, and no file"
        raise UsageFault(f"{reference} cannot be built again: {known}", remedy="name a release, and one with --board")
    return session.site.store.find(name, version, chosen)


def _provenance(session: Session, release: Release) -> bytes:
    from assay.model.statement import PredicateType

    return session.site.store.get(release.attestations[PredicateType.PROVENANCE.value])


def _provenances(session: Session, release: Release) -> tuple[bytes, ...]:
    from assay.model.statement import PredicateType

    return session.site.store.attached(release, PredicateType.PROVENANCE.value)


def _take_in(session: Session, trust: TrustFile, release: Release | None, others: Path) -> Answer:
    from assay.formats import sigstore_bundle
    from assay.formats.statement_verifier import read_statement
    from assay.model.statement import PredicateType
    from assay.pipeline import statement_forms
    from assay.pipeline.offline_verify import read_input
    from assay.pipeline.rebuild_statements import take_in

    if release is None:
        raise UsageFault("a statement is kept beside a release in the store", remedy="name it: NAME@VERSION")
    bundle = read_input(others)
    kind = read_statement(sigstore_bundle.decode(bundle).envelope.payload).predicateType
    if kind != PredicateType.REBUILD:
        taken = statement_forms.take_in(session.site.store, release, bundle, trust)
        text = f"{release.reference}: '{taken.signer.name}' says {kind}, too"
        return Answer(text, {"release": release.reference, "signer": taken.signer.name, "type": kind})
    found = take_in(session.site, trust, release, bundle)
    text = f"{release.reference}: '{found.statement.signer.name}' built it again, and it is {found.said.result}"
    return Answer(text, {"release": release.reference, "rebuild": found.said.model_dump(mode="json")})


def _text(rebuilt: Rebuilt, out: Path | None) -> str:
    recipe, artifact = rebuilt.recipe, rebuilt.built.artifact
    what = "identical" if rebuilt.identical else "DIFFERENT"
    lines = [f"{recipe.reference} for {recipe.board}: {what}, from commit {str(recipe.source.commit)[:12]}"]
    for part in rebuilt.compared:
        same = part.attested == part.found
        lines.append(f"  {'same' if same else 'OTHER'}  {part.name}  {part.found}")
    lines += [f"  tool   {tool}" for tool in rebuilt.other_tools]
    if rebuilt.difference is not None:
        lines.append(f"  first difference: {rebuilt.difference}")
        lines.append(f"  both are in {rebuilt.report}")
    if rebuilt.no_diffoscope is not None:
        lines.append(f"  no more words: {rebuilt.no_diffoscope}")
    lines.append(f"  built by {artifact.builder}; log entry {rebuilt.record.index} of {rebuilt.record.origin}")
    if out is not None:
        lines.append(f"  in     {out}")
    return "\n".join(lines)


def _data(rebuilt: Rebuilt, out: Path | None, statement: Path | None) -> dict[str, Any]:
    return {
        "release": rebuilt.recipe.reference,
        "identical": rebuilt.identical,
        "compared": [part.model_dump(mode="json") for part in rebuilt.compared],
        "other_tools": list(rebuilt.other_tools),
        "difference": rebuilt.difference,
        "report": str(rebuilt.report) if rebuilt.report else None,
        "no_diffoscope": rebuilt.no_diffoscope,
        "record": rebuilt.record.model_dump(mode="json"),
        "folder": str(out) if out else None,
        "statement": str(statement) if statement else None,
    }


def _write(path: Path, data: bytes) -> None:
    from assay.errors import StorageError

    try:
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}", remedy="name another file") from error
