# SPDX-License-Identifier: Apache-2.0
"""`assay verify`: an exported history, a statement or a signed image, with a trust file and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.roles import ROLES
from assay.cli.session import Answer, Session, verb
from assay.errors import ExitStatus, UsageFault

if TYPE_CHECKING:
    from datetime import datetime

    from assay.model.trace import Trace, TraceNode
    from assay.model.trust import TrustFile, VerifiedStatement

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Verify a file, a release or a unit's history.")
@click.argument("what", nargs=-1, required=True, metavar="FILE...|RELEASE|SERIAL")
@click.option(
    "--trust", "trust_path", type=FILE, required=True, envvar="ASSAY_TRUST", help="Whom to trust [ASSAY_TRUST]."
)
@click.option("--artifact", type=FILE, help="The file that the statement has to be about.")
@click.option("--role", type=click.Choice(ROLES), help="The role that has to have signed the statement.")
@click.option("--at", "at_text", metavar="TIME", help="Ask as of this time (ISO 8601) [default: now].")
@click.option("--board", help="The board of the release, when there are several.")
@click.option("--html", "page", type=FILE, help="Write the page of a history, too.")
@verb
def command(
    session: Session,
    what: tuple[str, ...],
    trust_path: Path,
    artifact: Path | None,
    role: str | None,
    at_text: str | None,
    board: str | None,
    page: Path | None,
) -> Answer:
    """Verify a file offline: what `assay trace --export` wrote, a Sigstore bundle, or a signed MCUboot image. Several
    bundles are statements of several signers about one subject.

    NAME@VERSION is a release in the site's store, anything else that is no file a serial number of the site. A file
    needs no site, no store and no network. Says what was checked and by which key or identity, in which log, and when
    it was signed. Status 4 when anything is wrong.
    """
    from assay.pipeline import offline_verify
    from assay.pipeline.trust_anchor import load_anchor

    trust, trust_sha256 = load_anchor(trust_path)
    at = offline_verify.parse_time(at_text)
    kind, datas = _kind(what)
    only = {"--artifact": artifact, "--role": role} if kind != "statement" else {}
    only |= {"--at": at_text} if kind not in ("statement", "export") else {}
    only |= {"--html": page} if kind not in ("export", "serial") else {}
    only |= {"--board": board} if kind != "release" else {}
    for option, value in only.items():
        if value is not None:
            text = f"{option} is not for {_WORDS[kind]}, which {what[0]} is"
            raise UsageFault(text, remedy="leave it out")
    if kind == "statement":
        content = offline_verify.read_input(artifact) if artifact is not None else None
        return _statements(what, datas, trust, content, role, at)
    if kind == "image":
        return _node_answer(kind, offline_verify.verify_signed_image(datas[0], trust))
    if kind == "release":
        return _release(session, what[0], board, trust)
    if kind == "serial":
        return _serial(session, what[0], trust, trust_sha256, page)
    return _export_answer(offline_verify.verify_export(datas[0], trust, trust_sha256, at), page)


_WORDS = {
    "statement": "statements",
    "image": "an image",
    "export": "an exported history",
    "release": "a release",
    "serial": "a serial number",
}


def _kind(what: tuple[str, ...]) -> tuple[str, list[bytes]]:
    """What is to be verified, and the bytes of the files. A file that is there is always taken for one."""
    from assay.pipeline import offline_verify

    first = Path(what[0])
    if not first.exists() and len(what) == 1 and "/" not in what[0] and "." not in what[0].partition("@")[0]:
        return ("release" if "@" in what[0] else "serial"), []
    datas = [offline_verify.read_input(Path(each)) for each in what]
    kinds = {offline_verify.kind_of(data) for data in datas}
    if len(datas) > 1 and kinds != {"statement"}:
        raise UsageFault("of several files each has to be a statement", remedy="verify the others one by one")
    return kinds.pop(), datas


def _statements(
    what: tuple[str, ...],
    datas: list[bytes],
    trust: TrustFile,
    artifact: bytes | None,
    role: str | None,
    at: datetime,
) -> Answer:
    from assay.model.trust import Role
    from assay.pipeline import offline_verify
    from assay.pipeline.stamp_folder import read_stamps

    chosen = Role(role) if role is not None else None
    stamps = {data: read_stamps(Path(each)) for each, data in zip(what, datas, strict=True)}
    node, verified = offline_verify.verify_bundles(datas, trust, artifact=artifact, role=chosen, at=at, stamps=stamps)
    answer = _node_answer("statement", node)
    answer.data["signed"] = [_signed(each) for each in verified]
    return answer


def _signed(statement: VerifiedStatement) -> dict[str, Any]:
    """Who signed, when and where it is logged, for machines."""
    signer, time, place = statement.signer, statement.time, statement.place
    said: dict[str, Any] = {"role": signer.role.value, "name": signer.name, "development": signer.development}
    said |= signer.model_dump(mode="json", include={"keyid", "issuer", "san", "san_pattern"}, exclude_none=True)
    said["time"] = {"when": time.when.isoformat(), "source": time.source} if time is not None else None
    return {**said, "log": dataclasses.asdict(place) if place is not None else None}


def _release(session: Session, reference: str, board: str | None, trust: TrustFile) -> Answer:
    from assay.pipeline.offline_verify import verify_published

    return _node_answer("release", verify_published(session.site, reference, board, trust))


def _serial(session: Session, text: str, trust: TrustFile, trust_sha256: str, page: Path | None) -> Answer:
    from assay.model.identifiers import parse_serial
    from assay.pipeline.trace_site import trace_site

    if not session.site_dir.is_dir():
        raise UsageFault(f"there is no file {text}, and no site to look for the unit in", remedy="check the path")
    _, trace = trace_site(session.site_dir, parse_serial(text), trust, trust_sha256, unit_only=True)
    return _export_answer(trace, page)


def _export_answer(trace: Trace, page: Path | None) -> Answer:
    from assay.cli.trace import answer_data, status_of
    from assay.cli.tree_view import look_of_stdout
    from assay.pipeline.export import write_page
    from assay.pipeline.trace_tree import render_text

    text = render_text(trace.root, look_of_stdout())
    extra = {"kind": "export"}
    if page is not None:
        text += f"\nwrote {page} ({write_page(page, trace)} bytes)"
        extra["html"] = str(page)
    return Answer(text, answer_data(trace) | extra, status_of(trace))


def _node_answer(kind: str, node: TraceNode) -> Answer:
    from assay.cli.tree_view import look_of_stdout
    from assay.pipeline.trace_tree import render_text

    broken = [{"link": bad.link, "faults": list(bad.faults)} for bad in node.broken]
    data = {"kind": kind, "tree": node.model_dump(mode="json"), "links": node.links, "broken": broken}
    status = ExitStatus.REFUSED if node.broken else ExitStatus.PASS
    return Answer(render_text(node, look_of_stdout()), data, status)
