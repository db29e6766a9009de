# SPDX-License-Identifier: Apache-2.0
"""A flash from outside, by a flasher that the board TOML names: files in, memory that was read back and a record out.

Guards: the place is locked; a file that nobody could verify is written because somebody said so, which is recorded;
what the tool said is kept with the record. A board that also speaks SMP says afterwards which image it runs.
Leaves to others: identity, plan and order of steps (`stages.flashing.by_flasher`), tools (`drivers.flash`).
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from assay.backends.named_file import read_named
from assay.errors import ExitStatus, NotVerified, Refused, StorageError, UnitFailed, UsageFault
from assay.formats.foreign_image import CheckedForeignImage, Signature, verify_foreign_image
from assay.formats.intel_hex import FILE_BYTES_MAX, read_intel_hex
from assay.formats.near_names import did_you_mean
from assay.formats.uf2 import is_uf2
from assay.interfaces.flasher import Flasher, FlashPlan, Identity, Part, ReadBack
from assay.interfaces.step_book import DETAIL, ProgressFor, Say, StepBook, say_nothing
from assay.model.flasher_settings import FlasherSettings, PlainBoard
from assay.model.foreign_board import ForeignBoard
from assay.model.outcome import Outcome
from assay.model.policy import Point, PolicyNote
from assay.model.predicates import FlasherRead, RunHeader, ToolFlash, ToolIdentity, ToolImage
from assay.model.record import RecordRef, RecordType
from assay.model.ssh import SSH_SCHEME
from assay.model.statement import PredicateType, Statement, Subject
from assay.model.trust import Role, TrustFile
from assay.pipeline import driver_doors
from assay.pipeline.manifest_files import AnyBoard
from assay.pipeline.place_hold import hold
from assay.pipeline.places import PlaceAddress, find_place
from assay.pipeline.policy_gate import enforce_unreleased
from assay.pipeline.recovery import conclude, keep_skipped
from assay.pipeline.run_journal import Run
from assay.pipeline.trust_file import load_trust
from assay.pipeline.unit_records import failed_run, run_header, statement_of
from assay.stages.flashing import by_flasher, foreign
from assay.stages.flashing.by_flasher import Expected
from assay.stages.flashing.foreign import Numbered

if TYPE_CHECKING:
    from assay.pipeline.site import Site

VERB = "flash"
NO_NAME = ""
"""The name of an image that was given without one."""

CANNOT = (
    "identity: the board has no serial number or key of ours; which unit this was is known by its probe, chip or place",
    "evidence: what was read back is what the tool says that memory holds, not what the board says that it runs",
)
"""What a record about such a flash never says, in the record itself."""


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
class ImageFile:
    """A file that is to be written, its parts, and what is known of who made it."""

    name: str
    path: Path
    parts: tuple[Part, ...]
    file_sha256: str
    mcuboot: CheckedForeignImage | None

    @property
    def signature(self) -> Signature:
        """Of an MCUboot image; nothing else has one that could be verified here."""
        return self.mcuboot.signature if self.mcuboot else Signature.NONE


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
    address = find_place(site, order.place, bench=order.bench)
    settings = _chosen(address.board, order.flasher)
    images = tuple(_read_image(settings, trust, address.board, *each) for each in order.images)
    _check_emulated(trust, address.board)
    with ExitStack() as held:
        if not order.dry_run:
            address = _held(address, settings, held, verb=VERB, wait_s=order.wait_s, say=say)
        folder = _folder(site, order, held)
        flasher = held.enter_context(_opened(address, settings, folder))
        plan = flasher.plan([part for image in images for part in image.parts])
        by_flasher.check_plan(settings, plan)
        caution = _check_allowed(order, images, say)
        if order.dry_run:
            return FlasherResult(Outcome.PASS, ExitStatus.PASS, caution, "", settings.called, images, plan)
        policy = enforce_unreleased(site, trust, Point.FLASH, skip=order.skip_policy, say=say)
        _check_named(address, settings)
        found = by_flasher.identify(flasher, _expected(address, settings))
        say(f"{order.place}: {describe(found)}")
        job = _Job(site, address, settings, images, plan, found, folder, policy)
        return _run(job, flasher, StepTellers(say, progress_for))


def ask(
    site: Site, place: str, flasher: str | None, *, wait_s: float = 0.0, bench: Path | None = None
) -> tuple[FlasherSettings, Identity]:
    """Who is on the place, as its flasher tells it; nothing is written or recorded. Raises as a flash does, but not for
    another unit than the bench names: that is what is asked.
    """
    address = find_place(site, place, bench=bench)
    settings = _chosen(address.board, flasher)
    with ExitStack() as held:
        address = _held(address, settings, held, verb="bench ask", wait_s=wait_s, say=say_nothing)
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="assay-ask-")))
        return settings, held.enter_context(_opened(address, settings, folder)).identify()


@dataclass(frozen=True)
class _Job:
    """What a run is about."""

    site: Site
    address: PlaceAddress
    settings: FlasherSettings
    images: tuple[ImageFile, ...]
    plan: FlashPlan
    found: Identity
    folder: Path
    policy: PolicyNote

    @property
    def name(self) -> str:
        """The place's."""
        return self.address.name

    @property
    def board(self) -> ForeignBoard | PlainBoard:
        """One that has flashers."""
        return _with_flashers(self.address.board)


def _run(job: _Job, flasher: Flasher, tell: StepTellers) -> FlasherResult:
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
        record = _record(job, run, header, book, _Told(read, runs))
        status, remedy = (failure.status, failure.remedy) if failure else (ExitStatus.PASS, "")
        return FlasherResult(
            outcome, status, reason, remedy, job.settings.called, job.images, job.plan, job.found, read, runs, record
        )


@dataclass(frozen=True)
class _Told:
    """What was read back, and what the board says that it runs."""

    read: tuple[ReadBack, ...]
    runs: tuple[str, ...]


def _what_runs(job: _Job, book: StepBook) -> tuple[str, ...]:
    """The hash of each MCUboot image as the app quotes it, where the board has an app that does."""
    board = job.board
    wanted = [each for each in job.images if each.mcuboot is not None and each.name.isdecimal()]
    if not isinstance(board, ForeignBoard) or not wanted or (board.recovery is not None and board.recovery.only):
        return ()
    if not _port(job.address):
        book.say("the place has no port: its app is not asked what it runs")
        return ()
    from assay.pipeline.foreign_place import running_after_flash

    hashes: list[str] = []

    def act() -> dict[str, object]:
        for each in wanted:
            assert each.mcuboot is not None
            row = running_after_flash(job.site, job.address, board, int(each.name))
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


def _record(job: _Job, run: Run, header: RunHeader, book: StepBook, told: _Told) -> RecordRef:
    files = {file.name: job.site.recorder.attach(file.read_bytes()) for file in sorted(job.folder.glob("*.txt"))}
    if header.outcome is Outcome.PASS:
        kind, statement = RecordType.TOOL_FLASH, _statement(job, header, book, told, files)
    else:
        kind, statement = RecordType.RUN, _failed(job, header, book, files)
    return conclude(job.site, run, statement, kind, Role.STATION, header.outcome, reason=header.reason)


def _failed(job: _Job, header: RunHeader, book: StepBook, files: dict[str, str]) -> Statement:
    images = {each.path.name: each.file_sha256 for each in job.images}
    return failed_run(header, VERB, None, book.stopped_at, book.records, images=images, files=files)


def _statement(job: _Job, header: RunHeader, book: StepBook, told: _Told, files: dict[str, str]) -> Statement:
    predicate = ToolFlash(
        run=header,
        flasher=job.settings.called,
        driver=job.settings.driver,
        found=_identity(job.found),
        images=tuple(_image(each) for each in job.images),
        read_back=tuple(
            FlasherRead(
                name=each.name, where=_where(each.where), size=each.size, sha256=each.sha256, by=each.by,
                detail=each.detail,
            )
            for each in told.read
        ),
        runs=told.runs,
        how="quoted" if told.runs else None,
        cannot=CANNOT,
        files=files,
        steps=book.records,
    )  # fmt: skip
    subjects = [Subject(name=each.path.name, digest={"sha256": each.file_sha256}) for each in job.images]
    return statement_of(PredicateType.TOOL_FLASH, predicate, *subjects)


def _identity(found: Identity) -> ToolIdentity:
    return ToolIdentity(probe=found.probe, chip=found.chip, kind=found.kind, facts=dict(found.facts))


def _image(each: ImageFile) -> ToolImage:
    image = each.mcuboot
    return ToolImage(
        name=each.name,
        file_sha256=each.file_sha256,
        signature=each.signature.value,
        key=image.key if image else None,
        version=image.says.version if image else None,
        image_hash=image.says.image_hash.hex() if image else None,
    )


def _where(where: int | str | None) -> str | None:
    return f"{where:#x}" if isinstance(where, int) else where


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


def _held(
    address: PlaceAddress, settings: FlasherSettings, held: ExitStack, *, verb: str, wait_s: float, say: Say
) -> PlaceAddress:
    """The place, ours until `held` is left, with the port that it has now. Raises as `place_hold.hold` does."""
    console = driver_doors.flasher_takes(settings.driver, "port") or isinstance(address.board, ForeignBoard)
    return replace(address, port=hold(address, held, verb=verb, wait_s=wait_s, say=say, console=console))


def _port(address: PlaceAddress) -> str:
    """Its serial port; empty for a place that has none."""
    other = address.labgrid is not None and address.port == address.labgrid.url
    return "" if other or address.port.startswith((*driver_doors.NO_PORTS, SSH_SCHEME)) else address.port


@contextmanager
def _opened(address: PlaceAddress, settings: FlasherSettings, folder: Path) -> Iterator[Flasher]:
    where = address.flash.get(settings.called, _probe(address, settings) or "")
    port = _port(address)
    flasher = driver_doors.open_flasher(
        settings.driver, where, settings.options, folder=folder, port=port, ssh=address.ssh
    )
    with closing(flasher):
        yield flasher


def _check_named(address: PlaceAddress, settings: FlasherSettings) -> None:
    """A unit that is whatever happens to be there alone is none that anybody named. Raises `UsageFault`."""
    by_port = driver_doors.flasher_takes(settings.driver, "port") and _port(address)
    by_host = driver_doors.flasher_takes(settings.driver, "ssh") and address.ssh
    if by_port or by_host or settings.called in address.flash or _probe(address, settings) or address.chip:
        return
    name, place = settings.called, address.name
    raise UsageFault(
        f"the bench does not say which unit {place} is to the flasher {name}, and the one that is there may be another",
        remedy=f'add flash = {{ {name} = "..." }}, probe or chip to the place (what is there: assay bench ask {place} '
        f"--flasher {name}); nothing was written",
    )


def _probe(address: PlaceAddress, settings: FlasherSettings) -> str | None:
    """The place's probe, for a flasher that may go by one: not one that works over the port, or over the host."""
    own_way = any(driver_doors.flasher_takes(settings.driver, what) for what in driver_doors.OWN_WAYS)
    return None if own_way else address.probe


def _expected(address: PlaceAddress, settings: FlasherSettings) -> Expected:
    probe = None if settings.called in address.flash else _probe(address, settings)
    chip = address.chip.hex() if address.chip else None
    return Expected(address.name, address.board.name, probe, chip, settings.kind)


def _with_flashers(board: AnyBoard) -> ForeignBoard | PlainBoard:
    if isinstance(board, ForeignBoard | PlainBoard) and board.flashers:
        return board
    raise UsageFault(f"the board TOML of {board.name} names no flasher", remedy="add [[flashers]] to it")


def _chosen(board: AnyBoard, name: str | None) -> FlasherSettings:
    flashers = _with_flashers(board).flashers
    known = [each.called for each in flashers]
    if name is None and len(flashers) == 1:
        return flashers[0]
    if name is None:
        raise UsageFault(f"{board.name} has several flashers", remedy=f"say --flasher, one of: {', '.join(known)}")
    found = next((each for each in flashers if each.called == name), None)
    if found is None:
        raise UsageFault(
            f"{board.name} has no flasher '{name}'", remedy=f"{did_you_mean(name, known)}known: {', '.join(known)}"
        )
    return found


def _read_image(settings: FlasherSettings, trust: TrustFile, board: AnyBoard, name: str, path: Path) -> ImageFile:
    """The file at `path`, in parts with addresses. Raises `NotVerified`, `UsageFault`."""
    data = _bytes_of(path)
    name = name or _only_name(settings, board)
    digest = hashlib.sha256(data).hexdigest()
    if path.suffix.lower() in (".hex", ".ihex"):
        parts = [Part(f"{name}@{at:#x}", at, piece) for at, piece in read_intel_hex(data)]
        return ImageFile(name, path, tuple(parts), digest, None)
    checked = None
    if isinstance(board, ForeignBoard) and name.isdecimal():
        try:
            checked = verify_foreign_image(data, trust, board.name)
        except NotVerified as error:
            raise NotVerified(f"{path}: {error.message}", remedy=error.remedy) from error
        foreign.check_images(board, [Numbered(int(name), checked)])
    where = None if is_uf2(data) else settings.addresses.get(name)
    if where is None and not is_uf2(data) and settings.addresses:
        known = ", ".join(settings.addresses)
        raise UsageFault(
            f"the flasher '{settings.called}' of {board.name} knows no address for '{name}'",
            remedy=f"say which it is: --image NAME=FILE, with one of: {known}",
        )
    return ImageFile(name, path, (Part(name, where, data),), digest, checked)


def _only_name(settings: FlasherSettings, board: AnyBoard) -> str:
    if isinstance(board, ForeignBoard) and "0" in settings.addresses:
        return "0"
    return next(iter(settings.addresses)) if len(settings.addresses) == 1 else "image"


def _check_allowed(order: FlasherOrder, images: Sequence[ImageFile], say: Say) -> str:
    """Raises `NotVerified`; for a dry run, why the flash itself will, or nothing."""
    for each in images:
        if each.mcuboot is not None:
            for line in (*each.mcuboot.checks, *each.mcuboot.cautions):
                say(f"{each.path.name}: {line}")
        if each.signature is Signature.VERIFIED or order.unverified:
            continue
        why = each.mcuboot.cautions[-1] if each.mcuboot else "nobody can tell who made it: it is no MCUboot image"
        if order.dry_run:
            return f"{each.path.name}: {why}; without --accept-unverified-image it will be refused"
        raise NotVerified(
            f"{each.path}: {why}", remedy="say --accept-unverified-image to write it, which the record will tell"
        )
    return ""


def _check_emulated(trust: TrustFile, board: AnyBoard) -> None:
    if board.emulated and not trust.allow_emulated:
        raise Refused(
            f"{board.name} is emulated, which '{trust.name}' refuses",
            remedy="use a real board, or a trust file that allows emulated boards",
        )


def _bytes_of(path: Path) -> bytes:
    try:
        data = read_named(path, FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}", remedy="name the file to be written") from error
    if not 0 < len(data) <= FILE_BYTES_MAX:
        raise UsageFault(f"{path} has {len(data)} bytes", remedy="name the file to be written")
    return data


def parse_images(given: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """`FILE` or `NAME=FILE`, each name once. Raises `UsageFault`."""
    images: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition("=")
        at, path = (name, Path(file)) if equals and name and "/" not in name else (NO_NAME, Path(text))
        if at in images:
            raise UsageFault(
                f"image {at or 'without a name'} is given twice", remedy="write --image NAME=FILE for each"
            )
        images[at] = path
    return tuple(images.items())
