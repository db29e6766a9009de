# SPDX-License-Identifier: Apache-2.0
"""`assay sbom`: bills of materials: of a release, of a board, what differs, and what a vulnerability means (VEX)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from assay.cli.near_commands import NearCommands
from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_board, complete_release
from assay.cli.working import working
from assay.errors import ExitStatus

FILE = click.Path(path_type=Path, dir_okay=False)
STATES = ("resolved", "resolved_with_pedigree", "exploitable", "in_triage", "false_positive", "not_affected")
JUSTIFICATIONS = (
    "code_not_present", "code_not_reachable", "requires_configuration", "requires_dependency", "requires_environment",
    "protected_by_compiler", "protected_at_runtime", "protected_at_perimeter", "protected_by_mitigating_control",
)  # fmt: skip
RESPONSES = ("can_not_fix", "will_not_fix", "update", "rollback", "workaround_available")
"""CycloneDX's words (`model.parts`), written out so that `--help` needs no model; a test holds them together."""

board_option = click.option(
    "--board", metavar="NAME", shell_complete=complete_board, help="The board of a release, when there are several."
)


@click.group(cls=NearCommands)
def command() -> None:
    """Bills of materials (CycloneDX): of releases and of boards, and what a vulnerability means for a release."""


@command.command()
@click.argument("release", metavar="NAME@VERSION", shell_complete=complete_release)
@click.argument("component")
@click.option("--vulnerability", required=True, metavar="ID", help="Which one: CVE-2026-12345.")
@click.option("--state", required=True, type=click.Choice(STATES), help="What it means for this release.")
@click.option("--justification", type=click.Choice(JUSTIFICATIONS), help="Why not, for not_affected.")
@click.option("--response", "responses", multiple=True, type=click.Choice(RESPONSES), help="What is done about it.")
@click.option("--detail", default="", help="In your own words.")
@board_option
@verb
def vex(
    session: Session,
    release: str,
    component: str,
    vulnerability: str,
    state: str,
    justification: str | None,
    responses: tuple[str, ...],
    detail: str,
    board: str | None,
) -> Answer:
    """Say what a vulnerability of COMPONENT means for NAME@VERSION: signed, in the log, and beside the release.

    What was said last counts. `assay affected COMPONENT` shows it, and it travels in bundles and registries.
    """
    from assay.formats.cyclonedx_vex import VexSaid
    from assay.pipeline.bill_of import one_release
    from assay.pipeline.vex_statement import say_vex

    found = one_release(session.site, release, board)
    with working(session, f"stating {vulnerability}"):
        said = VexSaid(vulnerability, state, justification, responses, detail)
        done = say_vex(session.site, found, component, said)
    parts = [part.words for part in done.parts]
    lines = [f"{vulnerability} in {', '.join(parts)} of {found.reference} for {found.board}: {state}"]
    lines += [f"  log       entry {done.record.index} of {done.record.origin}"]
    data = {"vulnerability": vulnerability, "state": state, "parts": parts}
    return Answer("\n".join(lines), data | {"record": done.record.model_dump(mode="json")})


@command.command()
@click.argument("old", metavar="OLD", shell_complete=complete_release)
@click.argument("new", metavar="NEW", shell_complete=complete_release)
@board_option
@verb
def diff(session: Session, old: str, new: str, board: str | None) -> Answer:
    """Say which parts are in NEW and not in OLD, which are gone, and which have another version.

    Each is a release of the store (NAME@VERSION) or a file with a CycloneDX document.
    """
    from assay.formats.bill_difference import difference
    from assay.pipeline.bill_of import bill_of

    found = difference(bill_of(session.site, old, board), bill_of(session.site, new, board))
    lines = [f"+ {part.words}" for part in found.added] + [f"- {part.words}" for part in found.removed]
    lines += [f"~ {name}: {before} -> {after}" for name, before, after in found.changed]
    data: dict[str, Any] = {
        "added": [part.words for part in found.added],
        "removed": [part.words for part in found.removed],
        "changed": [{"name": name, "old": before, "new": after} for name, before, after in found.changed],
        "same": found.same,
    }
    return Answer("\n".join([*lines, f"{found.same} parts are the same"]), data)


@command.command()
@click.argument("board", shell_complete=complete_board)
@click.option(
    "--release", "releases", multiple=True, metavar="NAME@VERSION", help="Firmware that it is delivered with."
)
@click.option("--out", type=FILE, help="Write it to this file [default: stdout].")
@verb
def device(session: Session, board: str, releases: tuple[str, ...], out: Path | None) -> Answer:
    """Write the bill of materials of the hardware: the board as a CycloneDX `device`, with its parts and firmware."""
    from assay.pipeline.bill_of import device_bill, write_bill

    data = device_bill(session.site, board, releases)
    if out is not None:
        write_bill(out, data)
        return Answer(f"wrote {out} ({len(data)} bytes)", {"file": str(out), "bytes": len(data)})
    import json

    return Answer(data.decode().rstrip("\n"), {"bill": json.loads(data)})


@command.command()
@click.argument("what", metavar="FILE|NAME@VERSION", shell_complete=complete_release)
@board_option
@verb
def validate(session: Session, what: str, board: str | None) -> Answer:
    """Validate a CycloneDX document against its schema. Status 1 with the place when it is not valid."""
    from assay.pipeline.bill_of import raw_bill
    from assay.pipeline.bill_schema import schema_faults

    version, faults = schema_faults(raw_bill(session.site, what, board))
    text = "\n".join(faults) or f"{what} is valid CycloneDX {version}"
    status = ExitStatus.FAIL if faults else ExitStatus.PASS
    return Answer(text, {"valid": not faults, "version": version, "faults": faults}, status)
