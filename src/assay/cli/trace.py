# SPDX-License-Identifier: Apache-2.0
"""`assay trace`: the verified history of a serial number: a tree, JSON, a page, one file for somebody else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.place_names import complete_place
from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_serial
from assay.errors import ExitStatus

if TYPE_CHECKING:
    from assay.model.trace import Trace

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Show the verified history of a serial number.")
@click.argument("serial", shell_complete=complete_serial)
@click.option(
    "--trust", "trust_path", type=FILE, required=True, envvar="ASSAY_TRUST", help="Whom to trust [ASSAY_TRUST]."
)
@click.option("--html", "page", type=FILE, help="Write a page for people, too.")
@click.option("--export", "export", type=FILE, help="Write one file that `assay verify` checks anywhere, too.")
@click.option("--hide-others", is_flag=True, help="Export without the log's entries about other units.")
@click.option("--place", shell_complete=complete_place, help="Ask the unit on this place first, and record its answer.")
@click.option("--unit-only", is_flag=True, help="Leave the records of other units and the rest of the site alone.")
@click.option("--brief", is_flag=True, help="Show the links only, without what was checked.")
@verb
def command(
    session: Session,
    serial: str,
    trust_path: Path,
    page: Path | None,
    export: Path | None,
    hide_others: bool,
    place: str | None,
    unit_only: bool,
    brief: bool,
) -> Answer:
    """Show the history of SERIAL: source, build, tests, factory, every update, and what the unit last said.

    Every link says what was verified and by which key. Status 4 when one is broken; the rest is shown all the same.
    """
    from assay.cli.tree_view import look_of_stdout
    from assay.model.identifiers import parse_serial
    from assay.pipeline.export import check_export_file, check_page_file, write_export, write_page
    from assay.pipeline.trace_site import trace_site
    from assay.pipeline.trace_tree import render_text
    from assay.pipeline.trust_anchor import load_anchor

    wanted = parse_serial(serial)
    trust, trust_sha256 = load_anchor(trust_path)
    for path, check in ((page, check_page_file), (export, check_export_file)):
        if path is not None:
            check(path)  # before anything is done
    if place is not None:
        _ask(session, place, wanted, trust_path)
    if session.site_dir.is_dir():
        session.need_log()
    dossier, trace = trace_site(session.site_dir, wanted, trust, trust_sha256, unit_only=unit_only)
    files: dict[str, Any] = {}
    if page is not None:
        files["html"] = {"file": str(page), "bytes": write_page(page, trace)}
    if export is not None and not trace.root.broken:
        files["export"] = {"file": str(export), "bytes": write_export(export, dossier, trace, hide_others=hide_others)}
    lines = [render_text(trace.root, look_of_stdout(brief=brief))]
    lines += [f"wrote {item['file']} ({item['bytes']} bytes)" for item in files.values()]
    if export is not None and trace.root.broken:
        lines.append(f"not exported to {export}: the history is broken")
    return Answer("\n".join(lines), answer_data(trace) | files, status_of(trace))


def _ask(session: Session, place: str, serial: str, trust_path: Path) -> None:
    """What `assay evidence --serial` does; `WrongUnit` when it is another unit that answers."""
    from assay.pipeline.evidence_run import EvidenceOrder, ask_evidence

    ask_evidence(session.site, EvidenceOrder(place, trust_path, serial=serial), session.say)


def answer_data(trace: Trace) -> dict[str, Any]:
    """A trace as the JSON that `trace` and `verify` print."""
    broken = [{"link": node.link, "faults": list(node.faults)} for node in trace.root.broken]
    return {"trace": trace.model_dump(mode="json", by_alias=True), "links": trace.root.links, "broken": broken}


def status_of(trace: Trace) -> ExitStatus:
    """REFUSED when any link is broken."""
    return ExitStatus.REFUSED if trace.root.broken else ExitStatus.PASS
