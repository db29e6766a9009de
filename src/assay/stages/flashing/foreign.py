# SPDX-License-Identifier: Apache-2.0
"""Flash images onto somebody else's board: the sequence that its mode of MCUboot asks for, and what it says afterwards.

Guards: the hash that the server names for the slot that runs (or, where only a bootloader answers, that was written) is
that of the file, else FAIL. Leaves to others: what is refused before the first byte (`foreign_checks`), whether the
images are to be trusted (`formats.foreign_image`), and the record.

The hash is quoted: the server reads it from the image's TLV. That the bytes are right is MCUboot's own check at boot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from assay.errors import Refused, UnitFailed
from assay.interfaces.device import DeviceRefusal
from assay.interfaces.smp_server import Slots, SmpServer
from assay.interfaces.step_book import DETAIL, StepBook
from assay.stages.flashing import foreign_checks
from assay.stages.flashing.foreign_restart import ASK_AGAIN_S, not_started, state_after_reset
from assay.stages.flashing.foreign_unit import (
    Answering,
    ForeignReport,
    ForeignUnit,
    Numbered,
    ReadBack,
    active,
    holds,
    is_active,
)

HASH_DIGITS = 16
NOT_SUPPORTED = "not-supported"


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
        foreign_checks.check_starts(unit.board, found.slots, each)
    return work.flash(images, rest)


@dataclass
class _ByApp:
    """By the app: into the free slot, marked, reset, confirmed, as the mode has it."""

    unit: ForeignUnit
    found: Answering
    book: StepBook

    def runs_already(self, each: Numbered) -> bool:
        row = active(self.found.slots, each.number)
        sequence = self.unit.board.mcuboot.sequence
        return row is not None and row.image_hash == each.image_hash and (row.confirmed or not sequence.confirms)

    def flash(self, images: Sequence[Numbered], rest: Sequence[Numbered]) -> ForeignReport:
        sent = sum(self._upload(each) for each in rest)
        sequence, app = self.unit.board.mcuboot.sequence, self.unit.app
        before = app.slots()
        for each in rest:
            if sequence.marks and not is_active(before, each):
                self.book.run(_step("mark", each), lambda each=each: self._mark(each))  # type: ignore[misc]
        after = before
        if not all(is_active(before, each) for each in rest):
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
        there = next((row for row in app.slots() if holds(row, each)), None)
        if there is not None:
            self.book.run(_step("upload", each), lambda: {"bytes_sent": 0, DETAIL: f"slot {there.slot} has it already"})
            return 0
        sent = _upload(app, each, self.book)
        held = [row for row in app.slots() if holds(row, each)]
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
            after = state_after_reset(self.unit, before, rest)
            running = ", ".join(f"{row.version} in slot {row.slot}" for row in after if row.active)
            return {DETAIL: f"runs {running}" if running else "it answers"}

        self.book.run("reset", act)
        return after

    def read_back(self, slots: Slots, images: Sequence[Numbered]) -> tuple[ReadBack, ...]:
        read: list[ReadBack] = []

        def act() -> dict[str, object]:
            for each in images:
                row = active(slots, each.number)
                if row is None or row.image_hash != each.image_hash:
                    raise not_started(self.unit.board, each, slots)
                read.append(ReadBack(each.number, row.slot, each.image_hash.hex()))
            quoted = ", ".join(each.image_hash[:HASH_DIGITS] for each in read)
            return {DETAIL: f"hash {quoted} quoted by the app, as in the file"}

        self.book.run("read-back", act)
        return tuple(read)

    def _confirm(self, each: Numbered) -> dict[str, object]:
        app = self.unit.app
        row = active(app.slots(), each.number)
        if row is None or not row.confirmed:
            app.confirm_image(each.image_hash)
            row = active(app.slots(), each.number)
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
        running = active(slots, 0)
        if running is None or running.image_hash != each.image_hash:
            raise not_started(self.unit.board, each, slots)
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


def _step(name: str, each: Numbered) -> str:
    return name if each.number == 0 else f"{name}-{each.number}"
