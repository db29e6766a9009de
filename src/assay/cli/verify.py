# SPDX-License-Identifier: Apache-2.0
"""`assay verify`: an exported history, a statement or a signed image, with a trust file and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.session import Answer, Session, verb
from assay.errors import ExitStatus, UsageFault

if TYPE_CHECKING:
    from assay.model.trace import Trace, TraceNode

FILE = click.Path(path_type=Path, dir_okay=False)
ROLES = ("image", "builder", "bench", "station", "field", "policy", "verifier", "device-ca", "log")
"""`model.trust.Role`, written out so that `--help` needs no model; a test holds them together."""


@click.command(short_help="Verify an exported trace, a bundle or an image.")
@click.argument("file", type=FILE)
@click.option(
    "--trust", "trust_path", type=FILE, required=True, envvar="ASSAY_TRUST", help="Whom to trust [ASSAY_TRUST]."
)
@click.option("--artifact", type=FILE, help="The file that the statement has to be about.")
@click.option("--role", type=click.Choice(ROLES), help="The role that has to have signed the statement.")
@click.option("--html", "page", type=FILE, help="Write the page of an exported history, too.")
@verb
def command(
    _session: Session, file: Path, trust_path: Path, artifact: Path | None, role: str | None, page: Path | None
) -> Answer:
    """Verify FILE offline: what `assay trace --export` wrote, a Sigstore bundle of assay, or a signed MCUboot image.

    Needs no site, no store and no network. Says what was checked and by which key. Status 4 when anything is wrong.
    """
    from assay.model.trust import Role
    from assay.pipeline import offline_verify
    from assay.pipeline.trust_anchor import load_anchor

    trust, trust_sha256 = load_anchor(trust_path)
    data = offline_verify.read_input(file)
    kind = offline_verify.kind_of(data)
    if kind != "statement" and (artifact is not None or role is not None):
        raise UsageFault(f"--artifact and --role are for statements, {file} is an {kind}", remedy="leave them out")
    if kind != "export" and page is not None:
        raise UsageFault(f"--html is for exported histories, {file} is an {kind}", remedy="leave it out")
    if kind == "statement":
        content = offline_verify.read_input(artifact) if artifact is not None else None
        chosen = Role(role) if role is not None else None
        return _node_answer(kind, offline_verify.verify_bundle(data, trust, artifact=content, role=chosen))
    if kind == "image":
        return _node_answer(kind, offline_verify.verify_signed_image(data, trust))
    return _export_answer(offline_verify.verify_export(data, trust, trust_sha256), page)


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
