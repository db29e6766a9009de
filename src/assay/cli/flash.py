# SPDX-License-Identifier: Apache-2.0
"""`assay flash`: write a release to a unit at the bench, and read its hash back."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.place_names import complete_place
from assay.cli.session import Answer, Session, verb
from assay.cli.upload_progress import upload_progress

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="flash", short_help="Write a release to a unit and read its hash back.")
@click.argument("release", metavar="NAME@VERSION")
@click.option(
    "--place", required=True, metavar="NAME", shell_complete=complete_place, help="The place on the bench, or a twin."
)
@click.option("--serial", default=None, metavar="SERIAL", help="The unit that has to be there, and to prove it.")
@click.option("--trust", required=True, type=FILE, envvar="ASSAY_TRUST", help="The trust file [ASSAY_TRUST].")
@click.option("--bench", type=FILE, default=None, help="The bench file [default: bench.toml of the project].")
@click.option("--wait", "wait_s", type=float, default=0.0, help="Seconds to wait for a place that is taken.")
@verb
def command(
    session: Session, release: str, place: str, serial: str | None, trust: Path, bench: Path | None, wait_s: float
) -> Answer:
    """Write a release to a unit at the bench, read its hash back, and record it.

    The version may be older than the one there; `assay update` is for units in the field.
    """
    from assay.pipeline import flash_run

    order = flash_run.FlashOrder(release, place, trust, wait_s, bench, serial)
    with upload_progress(session) as display:
        result = flash_run.flash(session.site, order, display.say, display.progress_for)
    reference, report = result.image.release.reference, result.report
    data = {
        "outcome": result.outcome.value,
        "reason": result.reason,
        "remedy": result.remedy,
        "place": place,
        "serial": result.serial,
        "release": reference,
        "file_sha256": result.image.release.image.file_sha256,
        "image_hash": result.image.release.image.image_hash,
        "read_back": report.read_back if report else None,
        "how": report.how if report else None,
        "bytes_sent": report.bytes_sent if report else None,
        "record": result.record.entry.record,
        "log_index": result.record.index,
    }
    text = f"{result.outcome} {reference} on {place}" + (f": {result.reason}" if result.reason else "")
    if report is not None:
        text += f"\n  hash {report.read_back[:16]} {report.how} by the unit, as in the verified file"
        text += f"; {report.bytes_sent} bytes sent" if report.bytes_sent else "; it was there already"
    text += f"\n  next: {result.remedy}" if result.remedy else ""
    text += f"\n  record {result.record.entry.record[:16]}, entry {result.record.index} of the log"
    return Answer(text, data, result.status)
