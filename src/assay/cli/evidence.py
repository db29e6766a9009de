# SPDX-License-Identifier: Apache-2.0
"""`assay evidence`: ask a unit what it runs, and verify what it signs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.place_names import complete_place
from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_serial

if TYPE_CHECKING:
    from assay.model.trust import Check

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="evidence", short_help="Ask a unit what it runs, and verify its answer.")
@click.option(
    "--place", required=True, metavar="NAME", shell_complete=complete_place, help="The place on the bench, or a twin."
)
@click.option(
    "--serial",
    default=None,
    metavar="SERIAL",
    shell_complete=complete_serial,
    help="The unit that has to be there, and to prove it.",
)
@click.option("--trust", required=True, type=FILE, envvar="ASSAY_TRUST", help="The trust file [ASSAY_TRUST].")
@click.option("--bench", type=FILE, default=None, help="The bench file [default: bench.toml of the project].")
@click.option("--wait", "wait_s", type=float, default=0.0, help="Seconds to wait for a place that is taken.")
@verb
def command(session: Session, place: str, serial: str | None, trust: Path, bench: Path | None, wait_s: float) -> Answer:
    """Ask the unit for signed evidence of what it runs, verify it against its certificate, and record it."""
    from assay.pipeline import evidence_run

    result = evidence_run.ask_evidence(
        session.site, evidence_run.EvidenceOrder(place, trust, wait_s, bench, serial), session.say
    )
    claims, verified = result.evidence.claims, result.evidence
    data = {
        "serial": claims.serial,
        "chip": claims.chip.hex(),
        "board": claims.board,
        "revision": claims.revision,
        "emulated": verified.certificate.emulated,
        "name": claims.name,
        "version": claims.version,
        "image_hash": claims.image_hash.hex(),
        "state": claims.state,
        "confirmed_since": claims.confirmed_since,
        "kept": verified.report.is_kept,
        "how": verified.report.how,
        "bootloader_hash": claims.bootloader_hash.hex(),
        "security_counter": claims.security_counter,
        "reverted_at_boot": claims.reverted,
        "nonce": verified.quote.nonce_hex,
        "certificate_sha256": verified.certificate.sha256,
        "checks": [
            {"what": check.what, "key": check.key.name if check.key else None}
            for check in verified.checks
            if not check.caution
        ],
        "cautions": [check.what for check in verified.checks if check.caution],
        "record": result.record.entry.record,
        "log_index": result.record.index,
    }
    lines = [
        f"PASS unit {claims.serial} ({claims.board} revision {claims.revision}) runs {claims.name} {claims.version}, "
        f"{verified.report.state_text}",
        f"  image {data['image_hash']}, {verified.report.how}",
        f"  bootloader {data['bootloader_hash']}",
        f"  security counter {claims.security_counter}" + ("; this boot reverted an update" if claims.reverted else ""),
    ]
    lines += [_line(check) for check in verified.checks]
    lines.append(f"  record {result.record.entry.record[:16]}, entry {result.record.index} of the log")
    return Answer("\n".join(lines), data)


def _line(check: Check) -> str:
    """What was verified, and by which key; or what keeps it from being worth more."""
    if check.caution:
        return f"  caution:  {check.what}"
    return f"  verified: {check.what}" + (f" [{check.key.name}]" if check.key else "")
