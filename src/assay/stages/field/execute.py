# SPDX-License-Identifier: Apache-2.0
"""The walk over an update's plan: each step asks the unit what is done already, so each can be repeated.

Guards: the device is the truth and the journal only remembers: after a crash of either the walk does what is left. An
image that failed its self-test on this unit in this run is not tried again. "The unit went back" (a verdict) and "the
link is gone" (an error) stay apart.
Leaves to others: what may be updated to what (`plan`), and the proof of what runs afterwards (`evidence`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from assay.errors import DeviceTimeout, InfrastructureError, LinkError, UnitFailed
from assay.interfaces import lasting_upload
from assay.interfaces.clock import Clock
from assay.interfaces.device import Device, DeviceInfo, DeviceRefusal, Note, NoteKind, Stage
from assay.interfaces.place import UnitPlace
from assay.interfaces.step_book import DETAIL, StepBook
from assay.model.artifact import VerifiedImage
from assay.model.plan import Plan, PlanStep
from assay.stages.field import radio as radios
from assay.stages.field.travel import REFUSED, SentBytes

SECONDARY_SLOT = 1
POLL_S = 0.05
ANSWER_TRY_S = 0.3
RESETS = "resets"
"""Key of a step's result: the resets that a refused patch cost."""
HASH_START_BYTES = 8
"""Bytes of an image's hash that a note keeps."""


class WentBack(UnitFailed):
    """The unit does not keep the new image: it runs the old one again, or will after its next reset.

    `reason` is what the device said; empty when it said nothing.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, remedy="correct the release; the unit runs its confirmed version")
        self.reason = reason


def boots_of(device: Device) -> int | None:
    """How often the unit has booted since power-on; None when it does not count."""
    try:
        return device.stats().boots
    except DeviceRefusal:
        return None


@dataclass(frozen=True)
class UpdateWalk:
    """One walk. `notes_from` is the number of the first note that the unit writes during this run, `boots_from` how
    often it had booted since power-on when the run began (None: it does not count), `patch` the file of the plan's
    patch, `radio` that of the plan's radio.
    """

    place: UnitPlace
    plan: Plan
    image: VerifiedImage
    book: StepBook
    clock: Clock
    notes_from: int
    boots_from: int | None = None
    patch: bytes = b""
    radio: bytes = b""

    @property
    def device(self) -> Device:
        """The unit."""
        return self.place.device

    @property
    def new_hash(self) -> bytes:
        """Hash of the image that it shall run."""
        return bytes.fromhex(self.plan.image_hash)

    def run(self) -> None:
        """Walk all steps. Raises `WentBack`, `UnitFailed`, link errors."""
        if self.book.journal.resumed:
            self._refuse_second_try()
        acts: dict[str, Callable[[PlanStep], dict[str, Any]]] = {
            "upload-patch": self._upload_patch,
            "apply-patch": self._apply_patch,
            "upload-radio": self._upload_radio,
            "upload": self._upload,
            "mark-for-test": self._mark,
            "reset": self._reset,
            "health-check": self._check_health,
            "confirm": self._confirm,
        }
        for step in self.plan.steps:
            self.book.run(step.action, lambda step=step: acts[step.action](step))  # type: ignore[misc]

    def _nothing_to_do(self) -> dict[str, Any] | None:
        """The unit runs the image already. What a patch gave, and the unit then left, is not started again."""
        if self._runs_new():
            return {DETAIL: "the unit runs the image already"}
        if self._patch_was_taken():
            raise self._went_back(self.device.info())
        return None

    def _upload(self, step: PlanStep) -> dict[str, Any]:
        return self._nothing_to_do() or self._send(step, self.image.travels)

    def _upload_radio(self, step: PlanStep) -> dict[str, Any]:
        return self._nothing_to_do() or self._send(step, self.radio, radios.IMAGE, radios.SECONDARY_SLOT)

    def _upload_patch(self, step: PlanStep) -> dict[str, Any]:
        """The unit may refuse the patch: for what it runs, for its size, or since it knows no patches."""
        if self._runs_new() or self._slot_hash() == self.new_hash:
            return {DETAIL: "the unit has the image already"}
        if word := self._patch_refusal():  # in an earlier walk of this run
            return {REFUSED: word, DETAIL: f"the unit did not take the patch ({word})"}
        try:
            return self._send(step, self.patch)
        except DeviceRefusal as refusal:
            return {REFUSED: refusal.word, DETAIL: f"the unit does not take the patch ({refusal.word})"}

    def _apply_patch(self, step: PlanStep) -> dict[str, Any]:
        """Start the unit with what the patch gives; what the unit did with it is asked afterwards."""
        word = self._result("upload-patch").get(REFUSED) or self._patch_refusal()
        if word:
            return {REFUSED: word, DETAIL: f"not applied ({word}): the whole image follows"}
        if self._runs_new():
            return {DETAIL: "the unit runs the image already"}
        if self._ask_for_test(self._slot_hash()):  # of the patch, or of what an earlier walk made of it
            self._restart(step)
        if self._runs_new():
            return {DETAIL: f"the unit made {self.plan.release} out of {self._patch_base()}"}
        word = self._patch_refusal()
        if not word:
            raise self._went_back(self.device.info())
        return {REFUSED: word, RESETS: 1, DETAIL: f"the bootloader refused the patch ({word}): the whole image follows"}

    def _patch_base(self) -> str:
        return self.plan.patch.base if self.plan.patch else ""

    def _patch_refusal(self) -> str:
        """Why the bootloader did not apply the patch in this run; empty if it did, or was not asked."""
        start = bytes.fromhex(self.plan.patch.image_hash)[:HASH_START_BYTES] if self.plan.patch else b""
        refused = (note for note in self.device.notes(self.notes_from) if note.kind is NoteKind.REFUSED_AT_BOOT)
        return next((note.reason for note in refused if note.image_hash_start == start), "")

    def _patch_was_taken(self) -> bool:
        """True when the unit was started with what the patch gave: then there is no reason to send the whole image."""
        return self.plan.patch is not None and REFUSED not in self._result("apply-patch")

    def _result(self, step: str) -> dict[str, Any]:
        return self.book.journal.result(step) or {}

    def _send(self, step: PlanStep, data: bytes, image: int = 0, slot: int = SECONDARY_SLOT) -> dict[str, Any]:
        wanted = bytes.fromhex(step.image_hash)
        if self._slot_hash(slot) == wanted:
            return {DETAIL: "the unit has it already"}
        second = self.plan.radio if image == radios.IMAGE else None
        show = self.book.progress_for(second.release if second else self.plan.release)
        begun_s = self.clock.monotonic_s()

        counted = SentBytes(self.book.journal, step.action)

        def progress(done: int, total: int) -> None:
            counted.reached(done)
            if self.clock.monotonic_s() - begun_s > step.timeout_s:
                raise DeviceTimeout(
                    f"the upload reached byte {done} of {total} in the planned {step.timeout_s:g} s",
                    remedy="check the line (baud rate, noise), then update again: it goes on where it stopped",
                )
            show(done, total)

        with counted.kept():
            report = lasting_upload.upload(self.device, data, progress, image)
            counted.at_least(report.size - report.resumed_from)
        if (held := self._slot_hash(slot)) != wanted:
            raise UnitFailed(
                f"the unit holds an image with hash {held.hex() or 'none'}, the verified file has {step.image_hash}",
                remedy="update again; when it stays so, the unit's flash is bad",
            )
        sent, seconds = report.size - report.resumed_from, self.clock.monotonic_s() - begun_s
        detail = f"{sent} bytes in {seconds:.1f} s" + (
            f", from byte {report.resumed_from}" if report.resumed_from else ""
        )
        return {"bytes_sent": sent, "resumed_from": report.resumed_from, "retries": report.retries, DETAIL: detail}

    def _mark(self, _step: PlanStep) -> dict[str, Any]:
        if done := self._nothing_to_do():
            return done
        if not all(self._ask_for_test(image_hash) for image_hash in self._to_be_asked_for()):
            return {DETAIL: "the unit restarted, and runs the image under test"}
        return {DETAIL: "both will be started once" if self.plan.radio else "it will be started once"}

    def _to_be_asked_for(self) -> list[bytes]:
        """Hashes of the images that are not in their places yet. Until the last is asked for, the first moves nothing:
        the bootloader swaps both or none (ADR 0091).
        """
        radio = [] if self.plan.radio is None or self._radio_is_there() else [bytes.fromhex(self.plan.radio.image_hash)]
        if self.plan.radio is not None and self.device.info().image_hash == self.new_hash:
            return radio  # the radio alone is new
        return [*radio, self.new_hash]

    def _ask_for_test(self, image_hash: bytes) -> bool:
        """Mark an image; False when a second request is refused since the power went after the first: it runs."""
        try:
            self.device.set_pending(image_hash)
        except DeviceRefusal:
            if not self._runs_new():
                raise
            return False
        return True

    def _reset(self, step: PlanStep) -> dict[str, Any]:
        if done := self._nothing_to_do():
            return done
        info = self._restart(step)
        return {DETAIL: f"{info.name} {info.version} answers"}

    def _restart(self, step: PlanStep) -> DeviceInfo:
        self.device.reset()
        try:
            return self.device.wait_ready(Stage.APP, step.timeout_s)
        except DeviceTimeout as error:
            return self._cycle_power(error, step.timeout_s)

    def _check_health(self, step: PlanStep) -> dict[str, Any]:
        deadline_s = self.clock.monotonic_s() + step.timeout_s
        last = ""
        while self.clock.monotonic_s() < deadline_s:
            try:
                self.device.wait_ready(Stage.APP, ANSWER_TRY_S)
                health = self.device.health()
                info = self.device.info()  # asked last: the health is that of the image that still runs now
                if not self._is_new(info):
                    raise self._went_back(info)
                if health.state == "pass":
                    return {DETAIL: f"{info.name} {info.version} runs and its self-test passed"}
                last = f"its self-test says {health.state} {health.reason}".rstrip()
            except (LinkError, DeviceRefusal) as error:  # it may be resetting itself at this very moment
                last = error.message
            self.clock.sleep(POLL_S)
        return self._give_up(step, last)

    def _give_up(self, step: PlanStep, last: str) -> dict[str, Any]:
        """The time is over: have the unit go back, by a reset or by its power switch."""
        words = f"{self.plan.release} did not pass its health check in {step.timeout_s:g} s ({last})"
        try:
            self.device.reset()
            info = self.device.wait_ready(Stage.APP, step.timeout_s)
        except (LinkError, DeviceRefusal) as error:
            info = self._cycle_power(error, step.timeout_s, words)
        raise WentBack(f"{words}; the unit was reset and runs {info.version}", self._reason())

    def _confirm(self, _step: PlanStep) -> dict[str, Any]:
        self.device.confirm()
        info = self.device.info()
        if not self._is_new(info):
            raise self._went_back(info)
        if info.state != "confirmed":
            raise UnitFailed(f"the unit was asked to keep the image and says {info.state}", remedy="update again")
        return {DETAIL: f"the unit keeps {info.version}"}

    def _refuse_second_try(self) -> None:
        """After a crash of this program: did the unit go back meanwhile, because of the image?"""
        info = self.device.wait_ready(Stage.APP, self.plan.steps[0].timeout_s if self.plan.steps else ANSWER_TRY_S)
        failed = [note for note in self._notes() if note.kind is NoteKind.SELFTEST_FAILED]
        if failed and not self._is_new(info):
            raise self._went_back(info)

    def _went_back(self, info: DeviceInfo) -> UnitFailed | InfrastructureError:
        """The unit runs another image than the one under test: because of the image, or because power was lost."""
        reason = self._reason()
        failed = any(note.kind is NoteKind.SELFTEST_FAILED for note in self._notes())
        if not failed and self._power_was_lost():
            return InfrastructureError(
                f"the unit lost its power while {self.plan.release} was under test, and went back to {info.version}",
                remedy="see to its power, then update again",
            )
        said = f": {reason}" if reason else "; it gave no reason"
        return WentBack(f"the unit went back from {self.plan.release} to {info.version}{said}", reason)

    def _cycle_power(self, error: Exception, timeout_s: float, words: str = "") -> DeviceInfo:
        """Last resort for an image that hangs: the bootloader goes back when it starts the next time."""
        power = self.place.power
        if power is None:
            raise error
        self.book.say(f"{words or 'the unit does not answer after its reset'}: switching its power off and on")
        power.cycle()
        info = self.device.wait_ready(Stage.APP, timeout_s)
        if info.image_hash == self.new_hash:
            raise error
        if not words:
            raise WentBack(
                f"{self.plan.release} never answered; after its power was switched the unit runs {info.version}",
                self._reason(),
            )
        return info

    def _power_was_lost(self) -> bool:
        """True when the unit has booted less often since power-on than a revert takes: its count began anew."""
        boots, our_resets = boots_of(self.device), sum(step.action == "reset" for step in self.plan.steps)
        our_resets += self._result("apply-patch").get(RESETS, 0)
        return boots is not None and self.boots_from is not None and boots <= self.boots_from + our_resets

    def _reason(self) -> str:
        """What the unit wrote down about the new image in this run, the cause first."""
        order = {NoteKind.SELFTEST_FAILED: 0, NoteKind.REFUSED_AT_BOOT: 1, NoteKind.REVERTED: 2}
        notes = sorted((note for note in self._notes() if note.kind in order), key=lambda note: order[note.kind])
        if not notes:
            return ""
        note = notes[0]
        return f"{note.kind} (code {note.code})" + (f": {note.reason}" if note.reason else "")

    def _notes(self) -> tuple[Note, ...]:
        hashes = (self.plan.image_hash, *([self.plan.radio.image_hash] if self.plan.radio else []))
        starts = [bytes.fromhex(each)[:HASH_START_BYTES] for each in hashes]
        return tuple(note for note in self.device.notes(self.notes_from) if note.image_hash_start in starts)

    def _runs_new(self) -> bool:
        return self._is_new(self.device.info())

    def _is_new(self, info: DeviceInfo) -> bool:
        """All that the plan brings in is there: the app, which runs, and its radio."""
        return info.image_hash == self.new_hash and self._radio_is_there()

    def _radio_is_there(self) -> bool:
        radio = self.plan.radio
        return radio is None or radios.held(self.device, radios.PRIMARY_SLOT) == bytes.fromhex(radio.image_hash)

    def _slot_hash(self, slot: int = SECONDARY_SLOT) -> bytes:
        """Hash of a slot, recomputed by the unit; empty when there is no image."""
        return radios.held(self.device, slot)
