# SPDX-License-Identifier: Apache-2.0
"""A unit as the device contract says, without firmware: slots, test and revert, notes, and faults at chosen calls.

Guards: every call is counted, and at one of them the link can break (before or after it took effect) or power be cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from assay.errors import DeviceTimeout
from assay.interfaces.device import (
    DeviceInfo,
    DeviceRefusal,
    Health,
    Measured,
    Note,
    NoteKind,
    Progress,
    Stage,
    Stats,
    UploadReport,
)

OLD, NEW = b"\x11" * 32, hashlib.sha256(b"new image").digest()
NEW_FILE = b"new image" * 100
PATCH_FILE = b"patch"
PATCH = hashlib.sha256(PATCH_FILE).digest()
CHIP = b"\x33" * 16


class BrokenLink(Exception):
    """The test's process is killed here."""


class SimulatedClock:
    """Time that passes only when somebody sleeps or waits."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        self.now_s += 0.001
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class SimulatedUnit:
    """`behaviour` of the new image: `good`, `bad` (self-test fails), `hangs`, `never-ready` (the test never ends).

    `patches`: what becomes of a patch: `applied`, `refused` (by the bootloader), `not-taken` (by the app).
    """

    clock: SimulatedClock
    behaviour: str = "good"
    primary: bytes = OLD
    secondary: bytes = b""
    pending: bool = False
    testing: bool = False
    boots: int = 1
    notes_kept: list[Note] = field(default_factory=list)
    calls: int = 0
    fault_at: int | None = None
    fault: str = ""
    address: str = "/dev/simulated"
    uploads: int = 0
    patches: str = "applied"
    bytes_taken: int = 0
    patch_uploads: int = 0

    # What happens to the unit

    def power_cut(self) -> None:
        self.boots = 0
        self._boot()

    def _boot(self) -> None:
        self.boots += 1
        if self.pending and self.secondary == PATCH:
            if self.patches == "applied":
                self._note(NoteKind.PATCHED, PATCH)
                self.secondary = NEW
            else:
                self._note(NoteKind.REFUSED_AT_BOOT, PATCH, 17, "wrong-base")
                self.pending = False
        if self.pending:
            self.primary, self.secondary, self.pending, self.testing = self.secondary, self.primary, False, True
            self._note(NoteKind.SWAPPED, self.primary)
        elif self.testing:
            bad = self.primary
            self.primary, self.secondary, self.testing = self.secondary, self.primary, False
            self._note(NoteKind.REVERTED, bad)
        if self.primary == NEW and self.behaviour == "bad" and self.testing:
            self._note(NoteKind.SELFTEST_FAILED, NEW, 7, "sensor out of range")
            self._boot()

    def _note(self, kind: NoteKind, image: bytes, code: int = 0, reason: str = "") -> None:
        self.notes_kept.append(Note(len(self.notes_kept), kind, code, image[:8], reason))

    def _call(self, act: Callable[[], Any]) -> Any:
        self.calls += 1
        hit = self.calls == self.fault_at
        if hit and self.fault == "before":
            raise BrokenLink
        if hit and self.fault == "cut":
            self.power_cut()
        if hit and self.fault == "restart":
            self._boot()
        if self.primary == NEW and self.behaviour == "hangs" and self.testing:
            self.clock.sleep(0.3)
            raise DeviceTimeout("silence", remedy="")
        result = act()
        if hit and self.fault == "after":
            raise BrokenLink
        return result

    # interfaces.device.Device

    def info(self) -> DeviceInfo:
        state = "testing" if self.testing else "confirmed"
        version = "1.1.0" if self.primary == NEW else "1.0.0"
        return self._call(
            lambda: DeviceInfo(1, Stage.APP, "b", 1, CHIP, "demo-sensor", version, "S1", state, self.primary)
        )

    def wait_ready(self, stage: Stage, timeout_s: float) -> DeviceInfo:
        assert stage is Stage.APP
        return self.info()

    def upload(self, data: bytes, file_sha256: bytes, progress: Progress | None = None, image: int = 0) -> UploadReport:
        def act() -> UploadReport:
            assert hashlib.sha256(data).digest() == file_sha256
            if self.testing:
                raise DeviceRefusal("the upload", group=None, rc=16, word="busy")
            if data == PATCH_FILE and self.patches == "not-taken":
                raise DeviceRefusal("the upload", group=0x4153, rc=14, word="bad-header")
            self.uploads += 1
            self.bytes_taken += len(data)
            self.patch_uploads += data == PATCH_FILE
            self.secondary = NEW if data == NEW_FILE else hashlib.sha256(data).digest()
            for done in (0, len(data)) if progress else ():
                progress(done, len(data))  # type: ignore[misc]
            return UploadReport(len(data), 0, 0.1, 1, 0, 0)

        return self._call(act)

    def measure(self, slot: int) -> Measured:
        def act() -> Measured:
            held = (self.primary, self.secondary)[slot]
            if not held:
                raise DeviceRefusal("to measure", group=0x4153, rc=7, word="no-image")
            return Measured(slot, held, 900, "recomputed")

        return self._call(act)

    def set_pending(self, image_hash: bytes) -> None:
        def act() -> None:
            if self.secondary != image_hash:
                raise DeviceRefusal("to test", group=None, rc=7, word="no-image")
            self.pending = True

        self._call(act)

    def reset(self) -> None:
        self._call(self._boot)

    def confirm(self) -> None:
        def act() -> None:
            self.testing = False
            self._note(NoteKind.CONFIRMED, self.primary)

        self._call(act)

    def health(self) -> Health:
        running = self.primary == NEW and self.behaviour == "never-ready"
        return self._call(lambda: Health("running" if running else "pass", 0, ""))

    def notes(self, from_seq: int = 0) -> tuple[Note, ...]:
        return self._call(lambda: tuple(note for note in self.notes_kept if note.seq >= from_seq))

    def stats(self) -> Stats:
        return self._call(lambda: Stats(1, self.boots, 1, 0))


class SimulatedPower:
    """A switch; a cycle is a power-on."""

    def __init__(self, unit: SimulatedUnit) -> None:
        self._unit = unit

    def cycle(self, off_s: float = 0.05) -> None:
        self._unit.power_cut()


@dataclass
class MemoryJournal:
    """A journal that outlives the walks of one test."""

    run_id: str = "update-1"
    resumed: bool = False
    steps: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    bytes_moved: dict[str, int] = field(default_factory=dict)

    def result(self, step: str) -> dict[str, Any] | None:
        return self.steps.get(step)

    def begin(self, step: str) -> int:
        self.steps[step] = None
        self.attempts[step] = self.attempts.get(step, 0) + 1
        return self.attempts[step]

    def done(self, step: str, result: dict[str, Any]) -> None:
        self.steps[step] = result

    def move(self, step: str, count: int) -> None:
        self.bytes_moved[step] = self.moved(step) + count

    def moved(self, step: str) -> int:
        return self.bytes_moved.get(step, 0)


def place_of(unit: SimulatedUnit, *, switch: bool = True) -> Any:
    """A place with `unit` on it."""
    return SimpleNamespace(device=unit, power=SimulatedPower(unit) if switch else None)
