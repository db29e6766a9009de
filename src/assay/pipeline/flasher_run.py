# SPDX-License-Identifier: Apache-2.0
"""A flash from outside, by a flasher that the board TOML names: files in, memory that was read back and a record out.

Guards: nothing is written before files, plan, policy and unit were checked; a board that also speaks SMP says
afterwards which image it runs.
Leaves to others: files (`flasher_images`), the place (`flasher_place`), the record (`flasher_record`), identity, plan
and order of steps (`stages.flashing.by_flasher`), tools (`drivers.flash`).
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import ExitStatus, Refused, StorageError, UnitFailed
from assay.interfaces.flasher import Flasher, FlashPlan, Identity, ReadBack
from assay.interfaces.step_book import DETAIL, ProgressFor, Say, StepBook, say_nothing
from assay.model.flasher_settings import FlasherSettings, PlainBoard
from assay.model.foreign_board import ForeignBoard
from assay.model.outcome import Outcome
from assay.model.policy import Point
from assay.model.record import RecordRef
from assay.model.trust import TrustFile
from assay.pipeline.flasher_images import ImageFile, check_allowed, read_image
from assay.pipeline.flasher_place import check_named, chosen, expected, held_place, opened, port_of
from assay.pipeline.flasher_record import VERB, FlashJob, Told, record
from assay.pipeline.manifest_files import AnyBoard
from assay.pipeline.place_check import check_place
from assay.pipeline.places import find_place
from assay.pipeline.policy_gate import enforce_unreleased
from assay.pipeline.recovery import keep_skipped
from assay.pipeline.trust_file import load_trust
from assay.pipeline.unit_records import run_header
from assay.stages.flashing import by_flasher

if TYPE_CHECKING:
    from assay.pipeline.site import Site


@dataclass(frozen=True)
class FlasherOrder:
    """What the user asks for: `images` are files by name; `flasher` one of the board's, None where it has one only."""

    images: tuple[tuple[str, Path], ...]
    place: str
    trust: Path
    flasher: str | None = None
    wait_s: float = 0.0
    bench: Path | None = None
    unverified: bool = False
    dry_run: bool = False
    skip_policy: str | None = None


@dataclass(frozen=True)
class FlasherResult:
    """What was done, or would be: `record` is None after a dry run; `found` what was there."""

    outcome: Outcome
    status: ExitStatus
    reason: str
    remedy: str
    flasher: str
    images: tuple[ImageFile, ...]
    plan: FlashPlan
    found: Identity | None = None
    read_back: tuple[ReadBack, ...] = ()
    runs: tuple[str, ...] = ()
    record: RecordRef | None = None


@dataclass(frozen=True)
class StepTellers:
    """Where steps and progress are shown."""

    say: Say
    progress_for: ProgressFor


def goes_by_flasher(site: Site, place: str, flasher: str | None, bench: Path | None) -> bool:
    """True when the place's board can, or is to be, flashed from outside."""
    return flasher is not None or isinstance(find_place(site, place, bench=bench).board, PlainBoard)


def flash_by_flasher(site: Site, order: FlasherOrder, say: Say, progress_for: ProgressFor) -> FlasherResult:
    """Flash the board on the place from outside. Raises `Refused` and its kin before anything is written, errors of
    tool and link, `NotRecorded`; FAIL is an answer, with a record.
    """
    trust = load_trust(order.trust)
    check_place(order.place, flasher=order.flasher, bench=order.bench, say=say)
    address = find_place(site, order.place, bench=order.bench)
    settings = chosen(address.board, order.flasher)
    images = tuple(read_image(settings, trust, address.board, *each) for each in order.images)
    _check_emulated(trust, address.board)
    with ExitStack() as held:
        if not order.dry_run:
            address = held_place(address, settings, held, verb=VERB, wait_s=order.wait_s, say=say)
        folder = _folder(site, order, held)
        flasher = held.enter_context(opened(address, settings, folder))
        plan = flasher.plan([part for image in images for part in image.parts])
        by_flasher.check_plan(settings, plan)
        caution = check_allowed(images, say, unverified=order.unverified, dry_run=order.dry_run)
        if order.dry_run:
            return FlasherResult(Outcome.PASS, ExitStatus.PASS, caution, "", settings.called, images, plan)
        policy = enforce_unreleased(site, trust, Point.FLASH, skip=order.skip_policy, say=say)
        check_named(address, settings)
        found = by_flasher.identify(flasher, expected(address, settings))
        say(f"{order.place}: {describe(found)}")
        job = FlashJob(site, address, settings, images, plan, found, folder, policy, order.bench)
        return _run(job, flasher, StepTellers(say, progress_for))


def ask(
    site: Site, place: str, flasher: str | None, *, wait_s: float = 0.0, bench: Path | None = None,
    say: Say = say_nothing,
) -> tuple[FlasherSettings, Identity]:  # fmt: skip
    """Who is on the place, as its flasher tells it; nothing is written or recorded. Raises as a flash does, but not for
    another unit than the bench names: that is what is asked.
    """
    address = find_place(site, place, bench=bench)
    settings = chosen(address.board, flasher)
    with ExitStack() as held:
        address = held_place(address, settings, held, verb="bench ask", wait_s=wait_s, say=say)
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="assay-ask-")))
        return settings, held.enter_context(opened(address, settings, folder)).identify()


def _run(job: FlashJob, flasher: Flasher, tell: StepTellers) -> FlasherResult:
    site, board, checkpoint = job.site, job.board, job.site.recorder.checkpoint()
    hashes = " ".join(each.file_sha256 for each in job.images)
    with site.journals.open_run(
        VERB, f"{job.name} {job.settings.called} {hashes}", serial=None, place=job.name, board=board.name,
        emulated=board.emulated,
    ) as run:  # fmt: skip
        book = StepBook(run, tell.say, tell.progress_for)
        keep_skipped(book, job.policy)
        read: tuple[ReadBack, ...] = ()
        runs: tuple[str, ...] = ()
        failure = None
        try:
            read = by_flasher.flash(flasher, job.plan, book)
            flasher.close()
            runs = _what_runs(job, book)
        except UnitFailed as error:
            failure = error
        outcome, reason = (Outcome.FAIL, failure.message) if failure else (Outcome.PASS, "")
        header = run_header(site, run, job, checkpoint, outcome, reason, job.policy)
        kept = record(job, run, header, book, Told(read, runs))
        status, remedy = (failure.status, failure.remedy) if failure else (ExitStatus.PASS, "")
        return FlasherResult(
            outcome, status, reason, remedy, job.settings.called, job.images, job.plan, job.found, read, runs, kept
        )


def _what_runs(job: FlashJob, book: StepBook) -> tuple[str, ...]:
    """The hash of each MCUboot image as the app quotes it, where the board has an app that does."""
    board = job.board
    wanted = [each for each in job.images if each.mcuboot is not None and each.name.isdecimal()]
    if not isinstance(board, ForeignBoard) or not wanted or (board.recovery is not None and board.recovery.only):
        return ()
    if not port_of(job.address):
        book.say("the place has no port: its app is not asked what it runs")
        return ()
    from assay.pipeline.foreign_place import running_after_flash

    hashes: list[str] = []

    def act() -> dict[str, object]:
        for each in wanted:
            assert each.mcuboot is not None
            row = running_after_flash(job.site, job.address, board, int(each.name), job.bench)
            quoted = row.image_hash if row is not None else None
            if quoted != each.mcuboot.says.image_hash:
                raise UnitFailed(
                    f"it runs {row.version if row is not None else 'nothing that it tells'}, "
                    f"not {each.path.name} {each.mcuboot.says.version}",
                    remedy="see its console: MCUboot says there why it did not start it",
                )
            hashes.append(quoted.hex())
        return {DETAIL: f"hash {', '.join(each[:16] for each in hashes)} quoted by the app, as in the file"}

    book.run("ask", act)
    return tuple(hashes)


def describe(found: Identity) -> str:
    """What is there, in words."""
    words = [found.kind or "something that does not say what it is"]
    words += [f"chip {found.chip}" if found.chip else "", f"probe {found.probe}" if found.probe else ""]
    return ", ".join(word for word in words if word)


def _folder(site: Site, order: FlasherOrder, held: ExitStack) -> Path:
    """Where tools leave what they say: of the last flash of each place, also of one that stopped without a record."""
    if order.dry_run:
        return Path(held.enter_context(tempfile.TemporaryDirectory(prefix="assay-flash-")))
    folder = site.cache_dir / "flash" / order.place
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror}", remedy="make it writable") from error
    return folder


def _check_emulated(trust: TrustFile, board: AnyBoard) -> None:
    if board.emulated and not trust.allow_emulated:
        raise Refused(
            f"{board.name} is emulated, which '{trust.name}' refuses",
            remedy="use a real board, or a trust file that allows emulated boards",
        )
