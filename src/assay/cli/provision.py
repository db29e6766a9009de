# SPDX-License-Identifier: Apache-2.0
"""`assay provision`: a blank unit gets its firmware, its identity and its serial number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.place_names import complete_place
from assay.cli.policy_words import judged_data, judged_lines, judged_status, skip_policy
from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_release
from assay.cli.upload_progress import upload_progress

if TYPE_CHECKING:
    from assay.pipeline.provision_run import ProvisionPlan, ProvisionResult

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="provision", short_help="Give a blank unit its firmware, its identity and its serial number.")
@click.option(
    "--place", required=True, metavar="NAME", shell_complete=complete_place, help="The place on the bench, or a twin."
)
@click.option("--profile", required=True, type=FILE, help="The factory profile, such as provisioning/demo.toml.")
@click.option(
    "--bootloader",
    required=True,
    metavar="NAME@VERSION",
    shell_complete=complete_release,
    help="The release of the bootloader.",
)
@click.option(
    "--app", required=True, metavar="NAME@VERSION", shell_complete=complete_release, help="The release of the app."
)
@click.option("--trust", required=True, type=FILE, envvar="ASSAY_TRUST", help="The trust file [ASSAY_TRUST].")
@click.option("--serial", default=None, metavar="SERIAL", help="The serial number [default: the profile's next].")
@click.option("--bench", type=FILE, default=None, help="The bench file [default: bench.toml of the project].")
@click.option("--wait", "wait_s", type=float, default=0.0, help="Seconds to wait for a place that is taken.")
@click.option("--dry-run", is_flag=True, help="Check everything and show the steps; change nothing.")
@skip_policy
@verb
def command(
    session: Session,
    place: str,
    profile: Path,
    bootloader: str,
    app: str,
    trust: Path,
    serial: str | None,
    bench: Path | None,
    wait_s: float,
    dry_run: bool,
    unsafe_skip_policy: str | None,
) -> Answer:
    """Give a blank unit its firmware, its identity and its serial number, and record it.

    Run it again after an interruption: it goes on from where the unit is.
    """
    from assay.pipeline import provision_run

    order = provision_run.ProvisionOrder(
        place, profile, bootloader, app, trust, serial, wait_s, bench, unsafe_skip_policy
    )
    if dry_run:
        return _planned(provision_run.plan_only(session.site, order))
    with upload_progress(session) as display:
        result = provision_run.provision(session.site, order, display.say, display.progress_for)
    return _done(place, result)


def _planned(plan: ProvisionPlan) -> Answer:
    steps = [{"name": step.name, "irreversible": step.irreversible, "reason": step.reason} for step in plan.steps]
    lines = [f"{plan.place}: {plan.found}", f"board {plan.board}"]
    lines += [f"bootloader {plan.bootloader.release.reference}, app {plan.app.release.reference}: verified", "steps:"]
    for number, step in enumerate(plan.steps, start=1):
        lines.append(f"  {number}. {step.name}" + (f"  IRREVERSIBLE: {step.reason}" if step.irreversible else ""))
    data = {
        "dry_run": True,
        "place": plan.place,
        "found": plan.found,
        "board": plan.board,
        "bootloader": plan.bootloader.release.reference,
        "app": plan.app.release.reference,
        "steps": steps,
        "policy": judged_data(plan.judged),
    }
    return Answer("\n".join([*lines, *judged_lines(plan.judged)]), data, judged_status(plan.judged))


def _done(place: str, result: ProvisionResult) -> Answer:
    from assay.model.outcome import exit_status

    serial = result.certificate.serial if result.certificate else None
    data = {
        "outcome": result.outcome.value,
        "reason": result.reason,
        "place": place,
        "serial": serial,
        "chip": result.certificate.chip.hex() if result.certificate else None,
        "emulated": result.certificate.emulated if result.certificate else None,
        "certificate_sha256": result.certificate.sha256 if result.certificate else None,
        "issuer": result.certificate.issuer.name if result.certificate else None,
        "measurements": [one.model_dump(mode="json") for one in result.measurements],
        "record": result.record.entry.record,
        "log_index": result.record.index,
    }
    text = f"{result.outcome} unit {serial or 'without serial number'} on {place}"
    text += f": {result.reason}" if result.reason else ""
    if result.certificate is not None:
        text += f"\n  certificate {result.certificate.sha256[:16]} by {result.certificate.issuer.name}"
        text += ", EMULATED unit" if result.certificate.emulated else ""
    text += f"\n  record {result.record.entry.record[:16]}, entry {result.record.index} of the log"
    return Answer(text, data, exit_status(result.outcome))
