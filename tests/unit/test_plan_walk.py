# SPDX-License-Identifier: Apache-2.0
"""The walk over a plan, broken off at every single question: the next walk finishes, and blames nobody wrongly."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from simulated_unit import (
    NEW,
    NEW_FILE,
    OLD,
    PATCH,
    PATCH_FILE,
    BrokenLink,
    MemoryJournal,
    SimulatedClock,
    SimulatedUnit,
    place_of,
)

from assay.errors import AssayError, DeviceTimeout, InfrastructureError, LinkError, UnitFailed
from assay.interfaces import lasting_upload
from assay.interfaces.device import DeviceRefusal, NoteKind
from assay.interfaces.step_book import StepBook
from assay.model.outcome import Outcome
from assay.model.plan import Plan, PlanPatch, PlanStep, UnitState
from assay.stages.field.execute import UpdateWalk, WentBack
from assay.stages.field.travel import KEPT_EACH_BYTES, SentBytes, Travel, travel_of

ACTIONS = ("upload", "mark-for-test", "reset", "health-check", "confirm")
PLAN = Plan(
    unit=UnitState(
        serial="S1",
        board="b",
        revision=1,
        name="demo-sensor",
        version="1.0.0",
        image_hash=OLD.hex(),
        state="confirmed",
    ),
    release="demo-sensor@1.1.0",
    file_sha256="0" * 64,
    image_hash=NEW.hex(),
    policy="test-then-confirm",
    steps=tuple(PlanStep(action=action, image_hash=NEW.hex(), timeout_s=10.0, after="") for action in ACTIONS),
)
CALLS_MAX = 40
PATCH_ACTIONS = ("upload-patch", "apply-patch", *ACTIONS)
PATCH_PLAN = PLAN.model_copy(
    update={
        "patch": PlanPatch(
            base="demo-sensor@1.0.0", file_sha256="1" * 64, image_hash=PATCH.hex(), size=len(PATCH_FILE)
        ),
        "steps": (
            PlanStep(action="upload-patch", image_hash=PATCH.hex(), timeout_s=10.0, after=""),
            PlanStep(action="apply-patch", image_hash=NEW.hex(), timeout_s=10.0, after=""),
            *PLAN.steps,
        ),
    }
)


def make(behaviour: str = "good", **more: Any) -> SimulatedUnit:
    return SimulatedUnit(SimulatedClock(), behaviour, **more)


def walk(
    unit: SimulatedUnit,
    journal: MemoryJournal | None = None,
    *,
    switch: bool = True,
    boots_from: int | None = 1,
    plan: Plan = PLAN,
) -> StepBook:
    book = StepBook(journal or MemoryJournal(), lambda _line: None, lambda _what: lambda _done, _total: None)
    image: Any = SimpleNamespace(data=NEW_FILE, travels=NEW_FILE)
    place = place_of(unit, switch=switch)
    UpdateWalk(place, plan, image, book, unit.clock, 0, boots_from, PATCH_FILE).run()  # type: ignore[arg-type]
    return book


def test_a_good_image_is_kept() -> None:
    unit = make()
    book = walk(unit)
    assert (unit.primary, unit.testing) == (NEW, False)
    assert [(one.name, one.attempts, one.outcome) for one in book.records] == [
        (action, 1, Outcome.PASS) for action in ACTIONS
    ]


def test_a_bad_image_goes_back_with_the_units_reason() -> None:
    unit = make("bad")
    with pytest.raises(WentBack, match="sensor out of range") as caught:
        walk(unit)
    assert caught.value.reason == "selftest-failed (code 7): sensor out of range"
    assert (unit.primary, unit.testing) == (OLD, False)


def test_an_image_that_hangs_is_sent_back_by_the_power_switch() -> None:
    unit = make("hangs")
    with pytest.raises(WentBack, match="never answered"):
        walk(unit)
    assert unit.primary == OLD


def test_an_image_that_hangs_without_a_switch_is_an_error_and_no_verdict() -> None:
    with pytest.raises(DeviceTimeout):
        walk(make("hangs"), switch=False)


def test_a_self_test_that_never_ends_is_sent_back_by_a_reset() -> None:
    unit = make("never-ready")
    with pytest.raises(WentBack, match="did not pass its health check in 10 s"):
        walk(unit)
    assert (unit.primary, unit.testing) == (OLD, False)


def test_power_lost_under_test_is_an_error_and_not_the_images_fault() -> None:
    unit = make("never-ready")
    unit.fault_at, unit.fault = 14, "cut"
    with pytest.raises(InfrastructureError, match="lost its power while"):
        walk(unit)
    assert (unit.primary, unit.testing) == (OLD, False)


@pytest.mark.parametrize("at", [10, 11, 12])
def test_a_bad_image_is_blamed_also_when_the_power_is_cut_afterwards(at: int) -> None:
    with pytest.raises(WentBack, match="sensor out of range"):
        walk(make_broken(make("bad"), at=at, fault="cut"))


def test_a_unit_that_restarts_by_itself_under_test_failed() -> None:
    """It boots once more than we asked for, and its count goes on: a watchdog, and not the power."""
    unit = make("never-ready")
    unit.fault_at, unit.fault = 14, "restart"
    with pytest.raises(WentBack, match=r"gave no reason|reverted"):
        walk(unit)


def make_broken(unit: SimulatedUnit, *, at: int, fault: str) -> SimulatedUnit:
    unit.fault_at, unit.fault = at, fault
    return unit


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("at", range(1, CALLS_MAX))
def test_killed_at_any_question_the_next_walk_finishes(at: int, fault: str) -> None:
    unit, journal = make_broken(make(), at=at, fault=fault), MemoryJournal()
    try:
        walk(unit, journal)
    except BrokenLink:
        journal.resumed = True
        walk(unit, journal)
    assert (unit.primary, unit.testing, unit.uploads) == (NEW, False, 1)


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("at", range(1, CALLS_MAX))
def test_killed_at_any_question_and_then_without_power_the_next_walk_finishes(at: int, fault: str) -> None:
    unit, journal = make_broken(make(), at=at, fault=fault), MemoryJournal()
    try:
        walk(unit, journal)
    except BrokenLink:
        unit.power_cut()
        journal.resumed = True
        walk(unit, journal)
    assert (unit.primary, unit.testing) == (NEW, False)


@pytest.mark.parametrize("at", range(1, CALLS_MAX))
def test_power_cut_at_any_question_is_pass_or_error_and_the_next_run_passes(at: int) -> None:
    unit = make_broken(make(), at=at, fault="cut")
    try:
        walk(unit)
    except (UnitFailed, InfrastructureError) as error:
        assert not isinstance(error, UnitFailed), "a power cut is not the unit's fault"
        walk(unit)
    assert (unit.primary, unit.testing) == (NEW, False)


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("at", range(1, CALLS_MAX))
def test_a_bad_image_is_blamed_wherever_the_walk_is_killed_and_tried_once(at: int, fault: str) -> None:
    unit, journal = make_broken(make("bad"), at=at, fault=fault), MemoryJournal()
    with pytest.raises(WentBack, match="sensor out of range"):
        try:
            walk(unit, journal)
        except BrokenLink:
            journal.resumed = True
            walk(unit, journal)
    assert unit.primary == OLD
    assert sum(note.reason != "" for note in unit.notes_kept) == 1, "a bad image is not tried again"


@pytest.mark.parametrize("patches", ["applied", "refused", "not-taken"])
def test_a_patch_is_tried_first_and_the_whole_image_is_the_way_back(patches: str) -> None:
    unit, journal = make(patches=patches), MemoryJournal()
    book = walk(unit, journal, plan=PATCH_PLAN)
    assert (unit.primary, unit.testing) == (NEW, False)
    assert [one.name for one in book.records] == list(PATCH_ACTIONS)
    taken = {"applied": len(PATCH_FILE), "refused": len(PATCH_FILE) + len(NEW_FILE), "not-taken": len(NEW_FILE)}
    assert unit.bytes_taken == taken[patches]
    apply = journal.steps["apply-patch"] or {}
    assert apply.get("refused") == {"refused": "wrong-base", "not-taken": "bad-header"}.get(patches)


def test_an_image_that_is_there_costs_one_question_and_no_byte() -> None:
    unit = make(secondary=NEW)
    walk(unit)
    assert (unit.primary, unit.testing, unit.uploads) == (NEW, False, 0)
    unit = make(secondary=NEW)
    walk(unit, plan=PATCH_PLAN)
    assert (unit.primary, unit.testing, unit.uploads) == (NEW, False, 0)


@pytest.mark.parametrize("patches", ["applied", "refused"])
def test_a_bad_image_out_of_a_patch_is_blamed_and_tried_once(patches: str) -> None:
    unit = make("bad", patches=patches)
    with pytest.raises(WentBack, match="sensor out of range"):
        walk(unit, plan=PATCH_PLAN)
    assert unit.primary == OLD
    assert sum(note.kind is NoteKind.SELFTEST_FAILED for note in unit.notes_kept) == 1


def test_a_unit_that_restarts_by_itself_with_what_a_patch_gave_failed() -> None:
    unit = make_broken(make("never-ready"), at=17, fault="restart")
    with pytest.raises(WentBack, match=r"gave no reason|reverted"):
        walk(unit, plan=PATCH_PLAN)
    assert unit.primary == OLD


@pytest.mark.parametrize("patches", ["applied", "refused", "not-taken"])
@pytest.mark.parametrize("fault", ["before", "after", "cut"])
@pytest.mark.parametrize("at", range(1, CALLS_MAX))
def test_a_walk_with_a_patch_is_finished_after_a_fault_at_any_question(at: int, fault: str, patches: str) -> None:
    unit, journal = make_broken(make(patches=patches), at=at, fault=fault), MemoryJournal()
    try:
        walk(unit, journal, plan=PATCH_PLAN)
    except BrokenLink:
        journal.resumed = True
        walk(unit, journal, plan=PATCH_PLAN)
    except (UnitFailed, InfrastructureError) as error:
        assert not isinstance(error, UnitFailed), "a power cut is not the unit's fault"
        walk(unit, plan=PATCH_PLAN)
    assert (unit.primary, unit.testing) == (NEW, False)


@pytest.mark.parametrize("at", range(1, CALLS_MAX))
def test_what_a_patch_gave_is_started_once_whenever_the_unit_restarts_by_itself(at: int) -> None:
    """It went back without a reason between two questions: neither is it marked again, nor the whole image sent."""
    unit = make_broken(make(), at=at, fault="restart")
    try:
        walk(unit, plan=PATCH_PLAN)
    except WentBack:
        assert unit.primary == OLD
    assert sum(note.kind is NoteKind.SWAPPED and note.image_hash_start == NEW[:8] for note in unit.notes_kept) == 1
    assert unit.bytes_taken == len(PATCH_FILE)


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("at", range(1, CALLS_MAX))
def test_a_refused_patch_is_not_sent_again_wherever_the_walk_is_killed(at: int, fault: str) -> None:
    unit, journal = make_broken(make(patches="refused"), at=at, fault=fault), MemoryJournal()
    try:
        walk(unit, journal, plan=PATCH_PLAN)
    except BrokenLink:
        journal.resumed = True
        walk(unit, journal, plan=PATCH_PLAN)
    assert (unit.primary, unit.testing, unit.patch_uploads) == (NEW, False, 1)


TRAVELLED = {
    "applied": ("patch", len(PATCH_FILE)),
    "refused": ("patch-then-full", len(PATCH_FILE) + len(NEW_FILE)),
    "not-taken": ("patch-then-full", len(NEW_FILE)),
}


@pytest.mark.parametrize("patches", TRAVELLED)
@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("at", range(1, CALLS_MAX))
def test_what_travelled_is_counted_over_all_attempts(at: int, fault: str, patches: str) -> None:
    """An upload that was done, or under way, when the process died is not forgotten by the next attempt."""
    unit, journal = make_broken(make(patches=patches), at=at, fault=fault), MemoryJournal()
    try:
        walk(unit, journal, plan=PATCH_PLAN)
    except BrokenLink:
        journal.resumed = True
        walk(unit, journal, plan=PATCH_PLAN)
    travel = travel_of(journal, PATCH_PLAN)
    assert (travel.way, travel.bytes_sent) == TRAVELLED[patches]
    assert travel.bytes_sent == unit.bytes_taken


def test_what_was_planned_and_did_not_travel_is_not_said_to_have() -> None:
    unit, journal = make(secondary=NEW), MemoryJournal()
    walk(unit, journal, plan=PATCH_PLAN)
    assert travel_of(journal, PATCH_PLAN) == Travel("none", 0)


def test_an_attempt_counts_what_it_sent_from_where_it_began_and_what_it_sent_twice() -> None:
    journal = MemoryJournal()
    with pytest.raises(BrokenLink), SentBytes(journal, "upload").kept() as sent:
        for done in (100, 300, 500):
            sent.reached(done)
        raise BrokenLink
    assert journal.moved("upload") == 400
    with SentBytes(journal, "upload").kept() as sent:
        for done in (500, 700, 0, 600):  # the device restarted in the middle
            sent.reached(done)
        sent.at_least(600)
    assert journal.moved("upload") == 1200


def test_a_killed_upload_forgets_less_than_one_portion() -> None:
    journal = MemoryJournal()
    sent = SentBytes(journal, "upload")
    for done in range(0, 100_000, 1000):
        sent.reached(done)
    assert 99_000 - KEPT_EACH_BYTES < journal.moved("upload") <= 99_000


class ForgetfulDevice:
    """Loses its power `cuts` times in the middle of an upload."""

    address = "/dev/forgetful"

    def __init__(self, cuts: int, word: str = "bad-request") -> None:
        self.cuts, self.word, self.uploads = cuts, word, 0

    def upload(self, data: bytes, _sha256: bytes, progress: Any, _image: int) -> str:
        self.uploads += 1
        progress(len(data) // 2, len(data))
        if self.cuts:
            self.cuts -= 1
            raise DeviceRefusal("the upload", group=0x4153, rc=2, word=self.word)
        return "done"


def test_an_upload_outlives_two_restarts_and_not_three() -> None:
    device: Any = ForgetfulDevice(2)
    assert lasting_upload.upload(device, b"12345678", lambda _done, _total: None) == "done"  # type: ignore[comparison-overlap]
    device = ForgetfulDevice(3)
    with pytest.raises(LinkError, match="3 times"):
        lasting_upload.upload(device, b"12345678", lambda _done, _total: None)


@pytest.mark.parametrize("word", ["bad-hash", "bad-signature", "board-mismatch"])
def test_a_verdict_on_the_image_is_not_asked_for_again(word: str) -> None:
    device: Any = ForgetfulDevice(1, word)
    with pytest.raises(DeviceRefusal):
        lasting_upload.upload(device, b"12345678", lambda _done, _total: None)
    assert device.uploads == 1


def test_an_upload_that_takes_longer_than_planned_is_an_error() -> None:
    unit = make()
    slow = SimulatedClock()
    slow.monotonic_s = lambda: setattr(slow, "now_s", slow.now_s + 20) or slow.now_s  # type: ignore[method-assign,func-returns-value]
    unit.clock = slow
    with pytest.raises(AssayError, match="planned 10 s"):
        walk(unit)


def test_a_unit_that_restarts_between_the_mark_and_its_answer_is_not_bad() -> None:
    """Found by the soak: the driver asks again, and the new image, under test already, answers `busy`."""
    unit = make()
    mark = unit.set_pending

    def mark_and_lose_power(image_hash: bytes) -> None:
        mark(image_hash)
        unit.power_cut()
        raise DeviceRefusal("to test the image", group=0x4153, rc=16, word="busy")

    unit.set_pending = mark_and_lose_power  # type: ignore[method-assign]
    book = walk(unit)
    assert unit.primary == NEW and not unit.testing
    assert [record.outcome for record in book.records] == [Outcome.PASS] * len(ACTIONS)
    assert "restarted" in book.records[1].detail


def test_a_mark_that_is_refused_is_a_refusal() -> None:
    unit = make()

    def refuse(_image_hash: bytes) -> None:
        raise DeviceRefusal("to test the image", group=0x4153, rc=16, word="busy")

    unit.set_pending = refuse  # type: ignore[method-assign]
    with pytest.raises(DeviceRefusal, match="busy"):
        walk(unit)
