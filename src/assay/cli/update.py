# SPDX-License-Identifier: Apache-2.0
"""`assay update`: bring a unit to another release by a plan; a bad release goes back by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.place_names import complete_place
from assay.cli.policy_words import judged_data, judged_lines, judged_status, skip_policy
from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_release, complete_serial
from assay.cli.upload_progress import upload_progress

if TYPE_CHECKING:
    from assay.model.predicates import RadioReport
    from assay.pipeline.update_run import PlannedUpdate, UpdateResult
    from assay.stages.field.travel import Travel

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="update", short_help="Bring a unit to another release, with rollback.")
@click.argument("release", metavar="NAME@VERSION", shell_complete=complete_release)
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
@click.option("--plan", "--dry-run", "plan_only", is_flag=True, help="Ask the unit, show the plan, change nothing.")
@click.option(
    "--unsafe-allow-older-version",
    metavar="REASON",
    default=None,
    help="Also go to an older version, never below the unit's security counter. REASON is recorded and shown for ever.",
)
@click.option("--radio", default=None, metavar="NAME@VERSION", help="The radio that goes in with it, or not at all.")
@click.option("--full", is_flag=True, help="Send the whole image, also where there is a patch.")
@click.option("--bench", type=FILE, default=None, help="The bench file [default: bench.toml of the project].")
@click.option("--wait", "wait_s", type=float, default=0.0, help="Seconds to wait for a place that is taken.")
@skip_policy
@verb
def command(
    session: Session,
    release: str,
    place: str,
    serial: str | None,
    trust: Path,
    plan_only: bool,
    unsafe_allow_older_version: str | None,
    radio: str | None,
    full: bool,
    bench: Path | None,
    wait_s: float,
    unsafe_skip_policy: str | None,
) -> Answer:
    """Bring the unit to another release: upload, test, health check, confirm; and record it.

    FAIL (1) means that the unit went back to the version that it had; ERROR (3), that the link or the power was lost:
    run it again. Run it again after any interruption.
    """
    from assay.pipeline import update_run
    from assay.pipeline.policy_adoption import parse_reason

    older = parse_reason(unsafe_allow_older_version) if unsafe_allow_older_version is not None else None
    order = update_run.UpdateOrder(release, place, trust, older, wait_s, bench, serial, full, radio, unsafe_skip_policy)
    if older is not None:
        session.say(f"UNSAFE: an older version may bring back faults that were corrected ({older})")
    if plan_only:
        planned = update_run.plan_only(session.site, order)
        text = "\n".join([_plan_text(planned), *judged_lines(planned.judged)])
        data = {"dry_run": True, **_plan_data(planned), "policy": judged_data(planned.judged)}
        return Answer(text, data, judged_status(planned.judged))
    with upload_progress(session) as display:
        result = update_run.update(session.site, order, display.say, display.progress_for)
    return _done(place, result)


def _plan_text(planned: PlannedUpdate) -> str:
    from assay.stages.field.plan import upload_estimate_s

    plan, unit = planned.plan, planned.plan.unit
    lines = [
        f"unit {unit.serial} ({unit.board}) runs {unit.name} {unit.version}, {unit.state}",
        f"plan {planned.sha256[:16]} to {plan.release}: {len(plan.steps)} steps",
    ]
    if plan.patch is not None:
        lines.append(f"by a patch from {plan.patch.base}; the whole image if the unit does not take it")
    if plan.radio is not None:
        lines.append(f"together with {plan.radio.release}: both or none")
    sizes = {
        "upload": plan.size,
        "upload-patch": plan.patch.size if plan.patch else 0,
        "upload-radio": plan.radio.size if plan.radio else 0,
    }
    for number, step in enumerate(plan.steps, start=1):
        size = sizes.get(step.action, 0)
        detail = f"{size / 1000:.1f} kB, about {upload_estimate_s(size, planned.baud):.0f} s; " if size else ""
        lines.append(f"  {number}. {step.action}: {detail}at most {step.timeout_s:g} s; then {step.after}")
    return "\n".join(lines)


def _plan_data(planned: PlannedUpdate) -> dict[str, object]:
    return {
        "plan": planned.plan.model_dump(mode="json", by_alias=True),
        "plan_sha256": planned.sha256,
        "before": planned.before.model_dump(mode="json"),
    }


def _travelled(travel: Travel) -> str:
    why = f" ({travel.patch_refused})" if travel.patch_refused else ""
    ways = {
        "none": "nothing had to travel",
        "patch": "a patch travelled",
        "full": "the whole image travelled",
        "patch-then-full": f"the unit did not take the patch{why}: the whole image travelled",
    }
    return f"{ways[travel.way]}, {travel.bytes_sent} bytes"


def _radio_text(radio: RadioReport) -> str:
    """What the radio's slot holds."""
    if radio.after == radio.image.image_hash:
        return f"its radio is {radio.image.release}, hash {radio.after[:16]} (read back)"
    same = "the one that it had" if radio.after == radio.before else "another one"
    return f"its radio is {same}: " + (f"hash {radio.after[:16]} (read back)" if radio.after else "no image")


def _done(place: str, result: UpdateResult) -> Answer:
    unit, after = result.planned.plan.unit, result.after
    data = {
        "outcome": result.outcome.value,
        "reason": result.reason,
        "device_reason": result.device_reason,
        "remedy": result.remedy,
        "place": place,
        "serial": unit.serial,
        "release": result.planned.plan.release,
        **_plan_data(result.planned),
        "after": after.model_dump(mode="json") if after else None,
        "radio": result.radio.model_dump(mode="json") if result.radio else None,
        "way": result.travel.way,
        "bytes_sent": result.travel.bytes_sent,
        "patch_refused": result.travel.patch_refused,
        "record": result.record.entry.record,
        "log_index": result.record.index,
    }
    text = f"{result.outcome} update of unit {unit.serial} to {result.planned.plan.release}"
    text += f": {result.reason}" if result.reason else ""
    runs = (
        f"{after.version}, {after.state_text}, hash {after.image_hash[:16]} (its own evidence)" if after else "unknown"
    )
    text += f"\n  it runs {runs}"
    text += f"\n  {_radio_text(result.radio)}" if result.radio else ""
    text += f"\n  {_travelled(result.travel)}"
    text += f"\n  next: {result.remedy}" if result.remedy else ""
    text += f"\n  record {result.record.entry.record[:16]}, entry {result.record.index} of the log"
    return Answer(text, data, result.status)
