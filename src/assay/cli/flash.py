# SPDX-License-Identifier: Apache-2.0
"""`assay flash`: write a release to a unit at the bench, or images to somebody else's board; read the hash back."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assay.cli.many_places import at_places
from assay.cli.place_names import complete_place
from assay.cli.policy_words import skip_policy
from assay.cli.session import Answer, Session, verb
from assay.cli.site_names import complete_release, complete_serial
from assay.cli.upload_progress import upload_progress
from assay.errors import UsageFault

if TYPE_CHECKING:
    from assay.pipeline.flash_run import FlashOrder
    from assay.pipeline.flasher_run import FlasherOrder, FlasherResult
    from assay.pipeline.foreign_flash import ForeignOrder

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="flash", short_help="Write a release to a unit and read its hash back.")
@click.argument("release", metavar="[NAME@VERSION]", required=False, shell_complete=complete_release)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Instead of a release: a file for somebody else's board; NAME is its image number [0], or one of the "
    "flasher's addresses.",
)
@click.option(
    "--place",
    "places",
    required=True,
    multiple=True,
    metavar="NAME",
    shell_complete=complete_place,
    help="The place on the bench, or a twin; several are flashed at a time.",
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
@click.option("--recovery", is_flag=True, help="With --image: by the serial recovery of the board's MCUboot.")
@click.option(
    "--flasher", default=None, metavar="NAME", help="With --image: from outside, by this flasher of the board."
)
@click.option("--dry-run", is_flag=True, help="With --flasher: say what would be written where, and touch nothing.")
@click.option(
    "--accept-unverified-image",
    "unverified",
    is_flag=True,
    help="With --image: use an image that nobody signed, or with a key that the trust file does not name.",
)
@skip_policy
@verb
def command(
    session: Session,
    release: str | None,
    images: tuple[str, ...],
    places: tuple[str, ...],
    serial: str | None,
    trust: Path,
    bench: Path | None,
    wait_s: float,
    recovery: bool,
    flasher: str | None,
    dry_run: bool,
    unverified: bool,
    unsafe_skip_policy: str | None,
) -> Answer:
    """Write a release to a unit at the bench, read its hash back, and record it.

    The version may be older than the one there; `assay update` is for units in the field. --place may be given several
    times: all are flashed at a time, each with a run and a record of its own.

    With --image: write an MCUboot image to a board that only has a board TOML here (docs: how-to); with --flasher any
    file, from outside, by a tool that the board TOML names (docs: reference/flashers).
    """
    from assay.pipeline.flash_run import FlashOrder, load_ahead

    if (release is None) == (not images):
        raise UsageFault(
            "expected either a release or --image",
            remedy="assay flash NAME@VERSION ..., or assay flash --image FILE ...",
        )
    if serial is not None and len(places) > 1:
        raise UsageFault("--serial says which unit is at one place", remedy="flash that place alone")
    if len(places) > 1:
        from assay.pipeline.places import check_names

        check_names(session.site, places, bench=bench)  # a misspelt one is found before another one is written to
    if release is not None:
        if recovery or unverified or flasher or dry_run:
            only = "--recovery, --flasher, --dry-run and --accept-unverified-image"
            raise UsageFault(f"{only} go with --image", remedy="leave them out")
        orders = {
            place: FlashOrder(release, place, trust, wait_s, bench, serial, unsafe_skip_policy) for place in places
        }
        if len(orders) > 1:
            load_ahead(session.site, orders[places[0]])
        return at_places(session, places, lambda each, place: _release(each, orders[place]))
    if serial is not None:
        raise UsageFault("somebody else's board cannot prove a serial number", remedy="leave --serial out")
    _check_files(images)
    wanted = _Images(images, trust, flasher, wait_s, bench, recovery, unverified, dry_run, unsafe_skip_policy)
    return at_places(session, places, wanted.flash)


def _check_files(images: tuple[str, ...]) -> None:
    """A misspelt file is told before a port is looked for: it is the same mistake whether a board is there or not."""
    for text in images:
        name, _, file = text.partition("=")
        if not Path(text).exists() and not (name and file and Path(file).exists()):
            raise UsageFault(f"{file or text} cannot be read: there is no such file", remedy="name the image")


@dataclass(frozen=True)
class _Images:
    """What is asked of a place with somebody else's board, as the command line has it."""

    images: tuple[str, ...]
    trust: Path
    flasher: str | None
    wait_s: float
    bench: Path | None
    recovery: bool
    unverified: bool
    dry_run: bool
    skip_policy: str | None

    def flash(self, session: Session, place: str) -> Answer:
        """By a flasher from outside or over SMP, as the board says. Raises `UsageFault` for words of the other way."""
        from assay.pipeline import flasher_images, flasher_run
        from assay.pipeline.foreign_flash import ForeignOrder
        from assay.pipeline.foreign_images import parse_images

        if flasher_run.goes_by_flasher(session.site, place, self.flasher, self.bench):
            if self.recovery:
                raise UsageFault("--recovery is for a board that is flashed over SMP", remedy="leave it out")
            given = flasher_images.parse_images(self.images)
            how = (self.flasher, self.wait_s, self.bench, self.unverified, self.dry_run, self.skip_policy)
            return _by_flasher(session, flasher_run.FlasherOrder(given, place, self.trust, *how))
        if self.dry_run:
            raise UsageFault("--dry-run goes with --flasher", remedy="say --flasher, or leave it out")
        over_smp = (self.wait_s, self.bench, self.recovery, self.unverified, self.skip_policy)
        return _foreign(session, ForeignOrder(parse_images(self.images), place, self.trust, *over_smp))


def _release(session: Session, order: FlashOrder) -> Answer:
    from assay.pipeline import flash_run

    place = order.place
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


def _foreign(session: Session, order: ForeignOrder) -> Answer:
    from assay.pipeline import foreign_flash

    with upload_progress(session) as display:
        result = foreign_flash.flash_foreign(session.site, order, display.say, display.progress_for)
    report = result.report
    data = {
        "outcome": result.outcome.value,
        "reason": result.reason,
        "remedy": result.remedy,
        "place": order.place,
        "says": result.says,
        "images": [
            {
                "number": each.number,
                "version": each.image.says.version,
                "file_sha256": each.image.file_sha256,
                "image_hash": each.image_hash.hex(),
                "encrypted": each.image.says.encrypted,
                "signature": each.image.signature.value,
                "key": each.image.key,
            }
            for each in result.images
        ],
        "way": report.way if report else None,
        "read_back": [vars(each) for each in report.read_back] if report else None,
        "how": "quoted" if report else None,
        "bytes_sent": report.bytes_sent if report else None,
        "cannot": list(result.cannot),
        "record": result.record.entry.record,
        "log_index": result.record.index,
    }
    names = ", ".join(each.name for each in result.images)
    text = f"{result.outcome} {names} on {order.place}" + (f": {result.reason}" if result.reason else "")
    for read in report.read_back if report else ():
        text += (
            f"\n  image {read.number}: hash {read.image_hash[:16]} in slot {read.slot}, as the firmware there quotes"
        )
    text += "".join(f"\n  no {line}" for line in result.cannot)
    text += f"\n  next: {result.remedy}" if result.remedy else ""
    text += f"\n  record {result.record.entry.record[:16]}, entry {result.record.index} of the log"
    return Answer(text, data, result.status)


def _by_flasher(session: Session, order: FlasherOrder) -> Answer:
    from assay.pipeline import flasher_run
    from assay.pipeline.flasher_record import CANNOT

    with upload_progress(session) as display:
        result = flasher_run.flash_by_flasher(session.site, order, display.say, display.progress_for)
    actions = [
        {"what": each.what, "where": each.where, "size": each.size, "words": list(each.words)}
        for each in result.plan.actions
    ]
    images = [
        {
            "name": each.name,
            "file": str(each.path),
            "file_sha256": each.file_sha256,
            "signature": each.signature.value,
            "key": each.mcuboot.key if each.mcuboot else None,
        }
        for each in result.images
    ]
    found = result.found
    data = {
        "outcome": None if order.dry_run else result.outcome.value,
        "dry_run": order.dry_run,
        "reason": result.reason,
        "remedy": result.remedy,
        "place": order.place,
        "flasher": result.flasher,
        "images": images,
        "plan": actions,
        "found": {"probe": found.probe, "chip": found.chip, "kind": found.kind, "facts": dict(found.facts)}
        if found
        else None,
        "read_back": [vars(each) for each in result.read_back],
        "runs": list(result.runs),
        "cannot": list(CANNOT),
        "record": result.record.entry.record if result.record else None,
        "log_index": result.record.index if result.record else None,
    }
    return Answer(_flasher_text(order, result), data, result.status)


def _flasher_text(order: FlasherOrder, result: FlasherResult) -> str:
    from assay.pipeline.flasher_record import CANNOT

    if order.dry_run:
        lines = [f"{result.flasher} on {order.place} would:"]
        for each in result.plan.actions:
            size = f" {each.size} bytes" if each.size is not None else ""
            at = f" at {each.where:#x}" if isinstance(each.where, int) else f" at {each.where}" if each.where else ""
            lines.append(f"  {each.what}{size}{at}")
            lines += [f"    {shlex.join(each.words)}"] if each.words else []
        lines += [f"caution: {result.reason}"] if result.reason else []
        return "\n".join([*lines, "nothing was touched"])
    names = ", ".join(each.path.name for each in result.images)
    text = f"{result.outcome} {names} on {order.place}" + (f": {result.reason}" if result.reason else "")
    for read in result.read_back:
        text += f"\n  {read.name}: {read.size} bytes, read back: {read.by}" + (
            f" ({read.detail})" if read.detail else ""
        )
    text += "".join(f"\n  hash {each[:16]} quoted by the app that runs" for each in result.runs)
    text += "".join(f"\n  no {line}" for line in CANNOT)
    text += f"\n  next: {result.remedy}" if result.remedy else ""
    if result.record is not None:
        text += f"\n  record {result.record.entry.record[:16]}, entry {result.record.index} of the log"
    return text
