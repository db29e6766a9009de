# SPDX-License-Identifier: Apache-2.0
"""Flash images onto somebody else's board: the sequence that its mode of MCUboot asks for, and what it says afterwards.

Guards: what does not fit the board, or would not be started, is refused before the first byte; the hash that the server
names for the slot that runs (or, where only a bootloader answers, that was written) is that of the file, else FAIL.
Leaves to others: whether the images are to be trusted (`formats.foreign_image`), and the record.

The hash is quoted: the server reads it from the image's TLV. That the bytes are right is MCUboot's own check at boot.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from assay.errors import Refused, UnitFailed, WrongBoard
from assay.formats.foreign_image import CheckedForeignImage, Flag
from assay.interfaces.clock import Clock
from assay.interfaces.device import DeviceRefusal
from assay.interfaces.smp_server import ServerSlot, Slots, SmpServer
from assay.interfaces.step_book import DETAIL, StepBook
from assay.model.foreign_board import ForeignBoard

RESET_SETTLES_S = 1.5
"""Seconds after which an answer that shows the old state is taken for one of after the reset: Zephyr waits 250 ms."""
ASK_AGAIN_S = 0.3
HASH_DIGITS = 16
NOT_SUPPORTED = "not-supported"
Way = Literal["app", "recovery", "none"]

_MODES = {1: "swap", 2: "overwrite-only", 3: "swap", 4: "direct-xip", 5: "direct-xip", 6: "ram-load", 9: "swap"}
"""MCUboot's modes as Zephyr's OS group tells them (`enum mcuboot_mode`); others are of no use here."""


@dataclass(frozen=True)
class Numbered:
    """An image file for MCUmgr's image number `number`."""

    number: int
    image: CheckedForeignImage

    @property
    def image_hash(self) -> bytes:
        """As the image has it."""
        return self.image.says.image_hash

    @property
    def name(self) -> str:
        """For people."""
        return f"image {self.number} {self.image.says.version}"


@dataclass(frozen=True)
class Answering:
    """What answered: the app's server, or a bootloader's, its image state, and what it says that it is."""

    app: bool
    slots: Slots
    info: str | None = None
    mode: int | None = None


class ForeignUnit(Protocol):
    """What the flow needs: the servers of the app and of recovery on one link, the board, and time."""

    @property
    def board(self) -> ForeignBoard:
        """The board that the bench says is there."""
        ...

    @property
    def app(self) -> SmpServer:
        """The app's server."""
        ...

    @property
    def recovery(self) -> SmpServer:
        """MCUboot's; the same link in another framing, perhaps."""
        ...

    @property
    def clock(self) -> Clock:
        """For waiting."""
        ...


@dataclass(frozen=True)
class ReadBack:
    """Where an image is now, and by whom that was said."""

    number: int
    slot: int
    image_hash: str


@dataclass(frozen=True)
class ForeignReport:
    """How it was written, what was read back, and how many bytes travelled."""

    way: Way
    read_back: tuple[ReadBack, ...]
    bytes_sent: int


def check_board(board: ForeignBoard, found: Answering) -> None:
    """It is the board that the bench says, as far as such a board tells. Raises `WrongBoard`."""
    wanted = board.smp.info
    if found.app and wanted is not None and wanted not in (found.info or ""):
        says = f"says {found.info!r}" if found.info else "does not say what it is"
        raise WrongBoard(
            f"what answers {says}; the board TOML of {board.name} expects {wanted!r} in it",
            remedy="connect the right board, or correct smp.info; nothing was written",
        )
    told = _MODES.get(found.mode) if found.mode is not None else None
    if told is not None and told != board.mcuboot.mode:
        raise WrongBoard(
            f"its MCUboot was built for {told}, the board TOML of {board.name} says {board.mcuboot.mode}",
            remedy="correct mcuboot.mode; nothing was written",
        )


def check_images(board: ForeignBoard, images: Sequence[Numbered]) -> None:
    """What can be told without the board. Raises `Refused`."""
    for each in images:
        if each.number >= board.mcuboot.images:
            raise Refused(
                f"{each.name}: {board.name} has {board.mcuboot.images} image(s), numbered from 0",
                remedy="correct the number, or mcuboot.images in the board TOML",
            )
        size = board.mcuboot.slot_size
        if size is not None and len(each.image.data) > size:
            raise Refused(
                f"{each.name} has {len(each.image.data)} bytes, a slot of {board.name} {size}", remedy="make it smaller"
            )
        _check_kind(board, each)


def _check_kind(board: ForeignBoard, each: Numbered) -> None:
    says = each.image.says
    if says.flags & Flag.NON_BOOTABLE:
        raise Refused(f"{each.name} is marked as not bootable", remedy="give the image of the app")
    if (board.mcuboot.mode == "ram-load") != bool(says.flags & Flag.RAM_LOAD):
        has = "has" if says.flags & Flag.RAM_LOAD else "has no"
        raise Refused(
            f"{each.name} {has} load address, and {board.name} is a board with mode {board.mcuboot.mode}",
            remedy="sign it for this board (imgtool --load-addr for ram-load, and for no other mode)",
        )


def flash(unit: ForeignUnit, found: Answering, images: Sequence[Numbered], book: StepBook) -> ForeignReport:
    """Make the unit hold and run `images`. Raises `UnitFailed`, `Refused`, link errors."""
    if not found.app:
        return _Recovery(unit, book).flash(images)
    work = _ByApp(unit, found, book)
    rest = [each for each in images if not work.runs_already(each)]
    if not rest:
        book.run("find", lambda: {DETAIL: "it runs that already"})
        return ForeignReport("none", work.read_back(found.slots, images), 0)
    for each in rest:
        work.check_starts(each)
    return work.flash(images, rest)


@dataclass
class _ByApp:
    """By the app: into the free slot, marked, reset, confirmed, as the mode has it."""

    unit: ForeignUnit
    found: Answering
    book: StepBook

    def runs_already(self, each: Numbered) -> bool:
        row = _active(self.found.slots, each.number)
        sequence = self.unit.board.mcuboot.sequence
        return row is not None and row.image_hash == each.image_hash and (row.confirmed or not sequence.confirms)

    def check_starts(self, each: Numbered) -> None:
        """It would be started from the slot that it goes to. Raises `Refused`."""
        board, running = self.unit.board.mcuboot, _active(self.found.slots, each.number)
        if running is None:
            return
        if board.sequence.confirms and not running.confirmed and running.image_hash != each.image_hash:
            raise Refused(
                f"the unit tests {running.version} and did not confirm it: another image would be lost",
                remedy="switch its power off and on: it goes back to its confirmed version",
            )
        if board.sequence.highest_version_boots and _number(each.image.says.version) <= _number(running.version):
            raise Refused(
                f"{each.name} is not higher than {running.version}, which runs: with mode {board.mode} MCUboot starts "
                "the highest version",
                remedy="sign it with a higher version, or flash it by the bootloader's recovery (--recovery)",
            )
        if board.mode == "direct-xip" and board.slots:
            self._check_link_address(each, running)

    def _check_link_address(self, each: Numbered, running: ServerSlot) -> None:
        """An image that runs in place is linked for one slot: the one that is free. As its header says, else as the
        reset vector of a Cortex-M tells.
        """
        free = 1 - running.slot
        slots, says = self.unit.board.mcuboot.slots, each.image.says
        address = says.load_address if says.flags & Flag.ROM_FIXED else _reset_vector(each)
        linked = [slot for slot, place in enumerate(slots) if place.base <= address < place.base + place.size]
        if linked and linked != [free]:
            raise Refused(
                f"{each.name} is linked for slot {linked[0]} ({address:#x}), which runs {running.version}: slot {free} "
                "is free",
                remedy=f"give the image that is linked for slot {free}",
            )

    def flash(self, images: Sequence[Numbered], rest: Sequence[Numbered]) -> ForeignReport:
        sent = sum(self._upload(each) for each in rest)
        sequence, app = self.unit.board.mcuboot.sequence, self.unit.app
        before = app.slots()
        for each in rest:
            if sequence.marks and not _is_active(before, each):
                self.book.run(_step("mark", each), lambda each=each: self._mark(each))  # type: ignore[misc]
        after = before
        if not all(_is_active(before, each) for each in rest):
            after = self._reset(rest)
        read_back = self.read_back(after, images)
        if sequence.confirms:
            for each in rest:
                self.book.run(_step("confirm", each), lambda each=each: self._confirm(each))  # type: ignore[misc]
        return ForeignReport("app", read_back, sent)

    def _mark(self, each: Numbered) -> None:
        try:
            self.unit.app.set_pending(each.image_hash)
        except DeviceRefusal as no:
            if no.word != NOT_SUPPORTED:
                raise
            raise Refused(
                f"the server marks no image for the next reset: its MCUboot is not one with mode "
                f"{self.unit.board.mcuboot.mode}",
                remedy="correct mcuboot.mode, or revert, in the board TOML: direct-xip and ram-load mark nothing",
            ) from no

    def _upload(self, each: Numbered) -> int:
        app = self.unit.app
        there = next((row for row in app.slots() if _holds(row, each)), None)
        if there is not None:
            self.book.run(_step("upload", each), lambda: {"bytes_sent": 0, DETAIL: f"slot {there.slot} has it already"})
            return 0
        sent = _upload(app, each, self.book)
        held = [row for row in app.slots() if _holds(row, each)]
        if not held:
            raise UnitFailed(
                f"after the upload no slot holds {each.name} ({each.image_hash.hex()[:HASH_DIGITS]})",
                remedy="flash it again; when it stays so, see the device's console",
            )
        return sent

    def _reset(self, rest: Sequence[Numbered]) -> Slots:
        after: Slots = ()

        def act() -> dict[str, object]:
            nonlocal after
            before = self.unit.app.slots()
            self.unit.app.ask_reset()
            after = _state_after_reset(self.unit, before, rest)
            running = ", ".join(f"{row.version} in slot {row.slot}" for row in after if row.active)
            return {DETAIL: f"runs {running}" if running else "it answers"}

        self.book.run("reset", act)
        return after

    def read_back(self, slots: Slots, images: Sequence[Numbered]) -> tuple[ReadBack, ...]:
        read: list[ReadBack] = []

        def act() -> dict[str, object]:
            for each in images:
                row = _active(slots, each.number)
                if row is None or row.image_hash != each.image_hash:
                    raise _not_started(self.unit.board, each, slots)
                read.append(ReadBack(each.number, row.slot, each.image_hash.hex()))
            quoted = ", ".join(each.image_hash[:HASH_DIGITS] for each in read)
            return {DETAIL: f"hash {quoted} quoted by the app, as in the file"}

        self.book.run("read-back", act)
        return tuple(read)

    def _confirm(self, each: Numbered) -> dict[str, object]:
        app = self.unit.app
        row = _active(app.slots(), each.number)
        if row is None or not row.confirmed:
            app.confirm_image(each.image_hash)
            row = _active(app.slots(), each.number)
        if row is None or not row.confirmed or row.image_hash != each.image_hash:
            raise UnitFailed(
                f"{each.name} was confirmed, and is not shown as such", remedy="see its console, try again"
            )
        return {DETAIL: f"{each.name} stays"}


@dataclass
class _Recovery:
    """By MCUboot's serial recovery: into slot 0, and started."""

    unit: ForeignUnit
    book: StepBook

    def flash(self, images: Sequence[Numbered]) -> ForeignReport:
        if len(images) != 1 or images[0].number != 0:
            raise Refused("the bootloader's recovery takes image 0 alone", remedy="flash the others by the app")
        each = images[0]
        server = self.unit.recovery
        sent = _upload(server, each, self.book)
        row = next((row for row in server.slots() if (row.image, row.slot) == (0, 0)), None)
        told = row.image_hash if row is not None else None
        if told is not None and told != each.image_hash:
            raise UnitFailed(
                f"slot 0 holds {told.hex()}, the file has {each.image_hash.hex()}", remedy="flash it again"
            )
        self.book.run("reset", server.ask_reset)
        settings = self.unit.board.recovery
        if settings is not None and settings.only:
            return ForeignReport("recovery", (self._only_written(each, told),), sent)
        slots = self._app_after_reset()
        running = _active(slots, 0)
        if running is None or running.image_hash != each.image_hash:
            raise _not_started(self.unit.board, each, slots)
        quoted = each.image_hash.hex()
        self.book.run("read-back", lambda: {DETAIL: f"hash {quoted[:HASH_DIGITS]} quoted by the app, as in the file"})
        return ForeignReport("recovery", (ReadBack(0, running.slot, quoted),), sent)

    def _only_written(self, each: Numbered, told: bytes | None) -> ReadBack:
        if told is None:
            raise UnitFailed(
                "the image was taken, and nothing reads its hash back: the bootloader tells none, the app is mute",
                remedy="build MCUboot with BOOT_SERIAL_IMG_GRP_HASH, or look at the board itself",
            )
        quoted = told.hex()
        self.book.run("read-back", lambda: {DETAIL: f"hash {quoted[:HASH_DIGITS]} of slot 0 quoted by the bootloader"})
        return ReadBack(each.number, 0, quoted)

    def _app_after_reset(self) -> Slots:
        timeout_s = self.unit.board.smp.reset_timeout_s
        what = "the app after the reset (a board whose app has no server says only = true in [recovery])"
        self.unit.app.listen(self.unit.board.smp.reset_quiet_s, timeout_s)
        slots = self.unit.app.wait_for_slots(timeout_s, what)
        deadline_s = self.unit.clock.monotonic_s() + timeout_s
        while not any(row.active for row in slots) and self.unit.clock.monotonic_s() < deadline_s:
            self.unit.clock.sleep(ASK_AGAIN_S)  # the bootloader answered: it has not been reset yet
            slots = self.unit.app.wait_for_slots(timeout_s, what)
        return slots


def _upload(server: SmpServer, each: Numbered, book: StepBook) -> int:
    sent = 0

    def act() -> dict[str, object]:
        nonlocal sent
        data = each.image.data
        report = server.upload(data, hashlib.sha256(data).digest(), book.progress_for(each.name), each.number)
        sent = report.size - report.resumed_from
        return {"bytes_sent": sent, "resumed_from": report.resumed_from, DETAIL: f"{sent} bytes sent"}

    book.run(_step("upload", each), act)
    return sent


def _state_after_reset(unit: ForeignUnit, before: Slots, rest: Sequence[Numbered]) -> Slots:
    """The image state once the reset was done. An app that was told to reset answers a little longer."""
    timeout_s, clock = unit.board.smp.reset_timeout_s, unit.clock
    begun_s = clock.monotonic_s()
    unit.app.listen(unit.board.smp.reset_quiet_s, timeout_s)
    while True:
        waited_s = clock.monotonic_s() - begun_s
        slots = unit.app.wait_for_slots(max(round(timeout_s - waited_s, 1), ASK_AGAIN_S), "the app after the reset")
        waited_s = clock.monotonic_s() - begun_s
        if all(_is_active(slots, each) for each in rest):
            return slots
        by_app = any(row.active for row in slots)
        if by_app and slots != before:
            return slots
        not_yet = any(row.pending for row in slots) or not by_app
        if waited_s > (timeout_s if not_yet else RESET_SETTLES_S):
            return slots
        clock.sleep(ASK_AGAIN_S)


def _not_started(board: ForeignBoard, each: Numbered, slots: Slots) -> UnitFailed:
    running = _active(slots, each.number)
    if running is None and any(row.active for row in slots):
        return UnitFailed(
            f"the app names no slot of image {each.number} as active: whether {each.name} runs cannot be said",
            remedy="see its console; some firmware does not tell the state of another core's image",
        )
    if running is None:
        return UnitFailed(
            f"after the reset the bootloader answers, and no app: whether {each.name} runs cannot be said",
            remedy="see its console; a bootloader that listens for a moment stays when it is asked: set "
            "smp.reset_quiet_s to that time",
        )
    why = {
        "swap": "MCUboot refused its signature, or went back since it did not come up",
        "overwrite-only": "MCUboot refused its signature, or the copy was not done",
        "direct-xip": "MCUboot refused its signature, or another slot holds a higher version",
        "ram-load": "MCUboot refused its signature or its load address, or another slot holds a higher version",
    }[board.mcuboot.mode]
    if running.pending:
        why = "it is still marked for the next reset: the reset was not done"
    return UnitFailed(
        f"after the reset slot {running.slot} runs {running.version}, not {each.name}: {why}",
        remedy="see the bootloader's lines on the console, and the key that signed the image",
    )


def _active(slots: Slots, number: int) -> ServerSlot | None:
    return next((row for row in slots if row.active and row.image == number), None)


def _is_active(slots: Slots, each: Numbered) -> bool:
    row = _active(slots, each.number)
    return row is not None and row.image_hash == each.image_hash


def _holds(row: ServerSlot, each: Numbered) -> bool:
    return row.image == each.number and row.image_hash == each.image_hash


def _step(name: str, each: Numbered) -> str:
    return name if each.number == 0 else f"{name}-{each.number}"


def _number(version: str) -> tuple[int, ...]:
    """As MCUboot compares versions: without the build number. Servers write `1.2.3`, `1.2.3.4` or `1.2.3+4`."""
    parts = version.replace("+", ".").split(".")
    return tuple(int(part) if part.isdecimal() else 0 for part in parts[:3])


def _reset_vector(each: Numbered) -> int:
    """The second word of a Cortex-M vector table, which is where a program begins."""
    says = each.image.says
    start = says.payload_start
    if says.encrypted or len(each.image.data) < start + 8:
        return 0
    return int(struct.unpack_from("<I", each.image.data, start + 4)[0])
