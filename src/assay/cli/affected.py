# SPDX-License-Identifier: Apache-2.0
"""`assay affected`: which releases and which serial numbers hold a component."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.session import Answer, Session, verb
from assay.cli.working import counting
from assay.errors import ExitStatus

if TYPE_CHECKING:
    from assay.model.parts import AffectedRelease
    from assay.pipeline.parts_index import Affected

UNITS_SHOWN_MAX = 50
"""Serial numbers that people are shown; `--json` has them all."""


@click.command(short_help="Say which releases and serial numbers hold a component.")
@click.argument("component", metavar="COMPONENT[@VERSION]")
@click.option(
    "--trust",
    "trust_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    envvar="ASSAY_TRUST",
    help="Whom to trust [ASSAY_TRUST].",
)
@click.option("--vulnerability", metavar="ID", help="Only what is said of this vulnerability (CVE-...).")
@click.option("--rebuild", is_flag=True, help="Make the index anew from the log and the store.")
@verb
def command(session: Session, component: str, trust_path: Path, vulnerability: str | None, rebuild: bool) -> Answer:
    """Say which releases and which serial numbers hold COMPONENT, and what is said of vulnerabilities in it (VEX).

    COMPONENT is a name or a purl (pkg:pypi/ziglang), with a version, a range ('>=1.2,<2'), or none. The answer is from
    verified records only; status 4 when one does not verify, since units may be missing then.
    """
    from assay.formats.component_query import parse_query
    from assay.pipeline.parts_index import ask_index, open_index
    from assay.pipeline.trust_anchor import load_anchor

    query = parse_query(component)
    session.need_log()
    trust, trust_sha256 = load_anchor(trust_path)
    with counting(session, "reading the log") as (_, progress):
        database, head = open_index(session.site, trust, trust_sha256, rebuild=rebuild, progress=progress)
    try:
        found = ask_index(session.site, database, head, query)
        status = ExitStatus.REFUSED if found.faults else ExitStatus.PASS
        return Answer(
            "" if session.json else _text(component, found, vulnerability), _data(found, vulnerability), status
        )
    finally:
        database.close()


def _text(component: str, found: Affected, vulnerability: str | None) -> str:
    from assay.pipeline.trace_link import count

    lines = []
    for release in found.releases:
        lines += [f"{_named(release)}: {', '.join(release.parts)}"]
        lines += [f"  image       {release.file_sha256}"] if release.file_sha256 else []
        lines += [f"  withdrawn   {release.withdrawn}"] if release.withdrawn else []
        lines += [f"  {line}" for line in _vex_lines(release, vulnerability)]
        lines += [f"  units       {release.units}"]
    lines += [
        f"{unit.serial}  {unit.slot}  {unit.release or unit.image_hash[:16]}{'' if unit.certain else '  (perhaps)'}"
        for unit in islice(found.units(), UNITS_SHOWN_MAX)
    ]
    if (more := sum(release.units for release in found.releases) - UNITS_SHOWN_MAX) > 0:
        lines.append(f"and {more} more; --json has all")
    if not found.releases:
        lines.append(_none(component, found))
    releases = sum(bool(release.reference) for release in found.releases)
    held = f"{count(releases, 'release')}, {count(found.unit_count, 'unit')}"
    lines.append(f"{held}; log of {found.log.size} entries")
    lines += [f"NOT VERIFIED, and not counted: {what}: {why}" for what, why in found.faults.items()]
    return "\n".join(lines)


def _named(release: AffectedRelease) -> str:
    """An image that was signed, and whose publication ended before its release was written, has no name."""
    if release.reference:
        return f"{release.reference} for {release.board}"
    return f"image {release.image_hash[:16]}, which no release names"


def _none(component: str, found: Affected) -> str:
    if found.names_known:
        return f"no release holds {component}; other versions of it are held"
    near = f"; near: {', '.join(found.near)}" if found.near else ""
    return f"no bill of materials names {component.partition('@')[0]}{near}"


def _vex_lines(release: AffectedRelease, vulnerability: str | None) -> list[str]:
    lines = []
    for note in release.vex:
        if vulnerability in (None, note.vulnerability):
            why = f" ({note.justification})" if note.justification else ""
            lines.append(f"vex         {note.vulnerability} in {note.part}: {note.state}{why} {note.detail}".rstrip())
    if vulnerability is not None and not lines:
        lines.append(f"vex         nothing is said of {vulnerability}")
    return lines


def _data(found: Affected, vulnerability: str | None) -> dict[str, Any]:
    releases = []
    for release in found.releases:
        notes = [note for note in release.vex if vulnerability in (None, note.vulnerability)]
        releases.append(release.model_copy(update={"vex": tuple(notes)}).model_dump(mode="json"))
    return {
        "releases": releases,
        "units": [dict(unit) for unit in found.units()],
        "unit_count": found.unit_count,
        "names_known": found.names_known,
        "near": list(found.near),
        "log": {"origin": found.log.origin, "size": found.log.size},
        "faults": found.faults,
    }
