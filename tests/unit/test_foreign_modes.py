# SPDX-License-Identifier: Apache-2.0
"""What is done to somebody else's board in each mode of MCUboot, and what is said when it does something else."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any

import pytest
from pseudo_board import BoardClock, BoardLink, PseudoBoard, Slot
from simulated_unit import MemoryJournal

from assay.drivers.mcumgr.foreign_server import ForeignServer
from assay.drivers.mcumgr.session import Session
from assay.errors import DeviceTimeout, LinkError, Refused, UnitFailed, WrongBoard
from assay.formats.foreign_image import CheckedForeignImage, Flag, verify_foreign_image
from assay.interfaces.smp_server import SmpServer
from assay.interfaces.step_book import StepBook
from assay.model.foreign_board import ForeignBoard, Recovery
from assay.model.trust import ImageKey, TrustFile
from assay.pipeline.foreign_place import ForeignPlace, into_recovery, what_answers
from assay.protocols.smp.framing import Framing
from assay.stages.flashing import foreign, foreign_checks
from assay.stages.flashing.foreign_unit import ForeignReport, Numbered

TRUST = TrustFile(
    schema="assay.trust/1", name="t", image_keys=(ImageKey(name="none", boards=("another",), public="no key"),)
)


def image(version: str, *, size: int = 3000, flags: int = 0, load: int = 0, start: int = 0x20) -> bytes:
    """An MCUboot image with a hash alone; `start` is its reset vector."""
    import hashlib

    payload = struct.pack("<II", 0x20001000, start) + bytes((n * 7 + len(version)) & 0xFF for n in range(size))
    major, minor, revision = map(int, version.split("."))
    header = (
        struct.pack("<IIHHIIBBHII", 0x96F3B83D, load, 32, 0, len(payload), flags, major, minor, revision, 0, 0)
        + payload
    )
    return header + struct.pack("<HHHH", 0x6907, 40, 0x10, 32) + hashlib.sha256(header).digest()


def checked(data: bytes) -> CheckedForeignImage:
    return verify_foreign_image(data, TRUST, "theirs")


def board_toml(mode: str = "swap", **more: Any) -> ForeignBoard:
    smp = {"info": "their_board", "reset_timeout_s": 20.0, **more.pop("smp", {})}
    mcuboot = {"mode": mode, **more.pop("mcuboot", {})}
    return ForeignBoard.model_validate(
        {
            "schema": "assay.board/2",
            "firmware": "mcuboot",
            "name": "theirs",
            "revision": 0,
            "serial": {"baud": 115200},
            "smp": smp,
            "mcuboot": mcuboot,
            **more,
        },
        strict=False,
    )


@dataclass
class Bench:
    """A pseudo board on a link, and what its TOML says."""

    board: PseudoBoard
    toml: ForeignBoard

    def server(self, tells: bool, version: int, buffers: Any, framing: str) -> SmpServer:
        clock = BoardClock(self.board)
        session = Session(
            BoardLink(self.board), Framing(framing), version=version, monotonic_s=clock.monotonic_s, sleep=clock.sleep
        )
        smp = self.toml.smp
        return ForeignServer(
            session,
            buffers=buffers,
            tells=tells,
            answer_timeout_s=smp.answer_timeout_s,
            erase_timeout_s=smp.erase_timeout_s,
        )

    @property
    def place(self) -> ForeignPlace:
        smp, recovery = self.toml.smp, self.toml.recovery or Recovery()
        return ForeignPlace(
            "desk",
            self.toml,
            BoardLink(self.board),
            self.server(smp.parameters, smp.version, smp.buffers, self.toml.serial.framing),
            self.server(recovery.parameters, recovery.version, recovery.buffers, recovery.framing),
            BoardClock(self.board),  # type: ignore[arg-type]
        )

    def flash(self, *data: bytes, recovery: bool = False) -> ForeignReport:
        place = self.place
        images = [Numbered(number, checked(each)) for number, each in enumerate(data)]
        foreign_checks.check_images(self.toml, images)
        found = what_answers(place)
        foreign_checks.check_board(self.toml, found)
        if recovery:
            found = into_recovery(place, found, lambda _line: None, 30.0)
        book = StepBook(MemoryJournal(), lambda _line: None, lambda _what: lambda _done, _total: None)
        return foreign.flash(place, found, images, book)


def bench(mode: str = "swap", toml: dict[str, Any] | None = None, **board: Any) -> Bench:
    old = image("1.0.0", flags=Flag.RAM_LOAD if mode == "ram-load" else 0)
    revert = board.get("revert", False)
    settings = {"mcuboot": {"revert": True} if revert else {}} | (toml or {})
    slots = board.pop("slots", {(0, 0): Slot(old)})
    return Bench(PseudoBoard(mode, slots, **board), board_toml(mode, **settings))


NEW = image("1.1.0")
NEW_IN_RAM = image("1.1.0", flags=Flag.RAM_LOAD, load=0x20000000)


@pytest.mark.parametrize(
    ("mode", "revert", "steps", "slot"),
    [
        ("swap", False, ["upload 0 to 1", "mark", "reset", "confirm"], 0),
        ("overwrite-only", False, ["upload 0 to 1", "mark", "reset"], 0),
        ("direct-xip", False, ["upload 0 to 1", "reset"], 1),
        ("direct-xip", True, ["upload 0 to 1", "mark", "reset", "confirm"], 1),
        ("ram-load", False, ["upload 0 to 1", "reset"], 1),
        ("ram-load", True, ["upload 0 to 1", "mark", "reset", "confirm"], 1),
    ],
)
def test_the_sequence_of_each_mode(mode: str, revert: bool, steps: list[str], slot: int) -> None:
    new = NEW_IN_RAM if mode == "ram-load" else NEW
    unit = bench(mode, revert=revert)
    report = unit.flash(new)
    assert unit.board.asked == steps
    assert [(each.slot, each.image_hash) for each in report.read_back] == [(slot, checked(new).says.image_hash.hex())]
    assert report.bytes_sent == len(new)
    again = unit.flash(new)
    assert (again.way, again.bytes_sent) == ("none", 0)
    assert unit.board.asked == steps


def test_it_goes_on_where_it_was() -> None:
    unit = bench()
    unit.board.slots[0, 1] = Slot(NEW)
    unit.flash(NEW)
    assert unit.board.asked == ["mark", "reset", "confirm"]


def test_a_reset_whose_answer_is_lost_is_done_once() -> None:
    unit = bench(drops_reset=True)
    unit.flash(NEW)
    assert unit.board.asked.count("reset") == 1


def test_two_images_are_started_together() -> None:
    slots = {(0, 0): Slot(image("1.0.0")), (1, 0): Slot(image("1.0.0", size=2000))}
    unit = bench(slots=slots, toml={"mcuboot": {"images": 2}})
    report = unit.flash(NEW, image("3.0.0", size=2500))
    assert unit.board.asked == ["upload 0 to 1", "upload 1 to 1", "mark", "mark", "reset", "confirm", "confirm"]
    assert [(each.number, each.slot) for each in report.read_back] == [(0, 0), (1, 0)]
    with pytest.raises(Refused, match=r"has 1 image"):
        bench().flash(NEW, NEW)


@pytest.mark.parametrize("framing", ["console", "raw"])
def test_lines_between_frames_small_buffers_and_no_parameters(framing: str) -> None:
    toml = {"serial": {"baud": 115200, "framing": framing}, "smp": {"buffers": {"size": 96}}}
    unit = bench(toml=toml, framing=Framing(framing), tells=None, log_between=True)
    unit.flash(NEW)
    assert unit.board.longest <= 96
    assert unit.board.versions == {2}


def test_an_old_server_speaks_version_1() -> None:
    unit = bench(toml={"smp": {"version": 1, "parameters": False}}, errors=1, tells=None, info=None)
    unit.toml = board_toml(smp={"version": 1, "parameters": False, "info": None})
    unit.flash(NEW)
    assert unit.board.versions == {1}


@pytest.mark.parametrize(("errors", "words"), [(1, r"bad-state \(rc 6\)"), (2, r"image-.*\(rc 33\)|\(rc 33\)")])
def test_a_no_of_either_version_is_told_in_words(errors: int, words: str) -> None:
    unit = bench(errors=errors)
    place = unit.place
    with pytest.raises(UnitFailed, match=words) as refused:
        place.app.set_pending(bytes(32))
    assert "rc-" not in str(refused.value)


def test_a_slow_erase_is_waited_for_as_long_as_the_toml_says() -> None:
    bench(erase_s=25.0).flash(NEW)
    with pytest.raises(LinkError, match=r"first frame of the upload"):
        bench(erase_s=25.0, toml={"smp": {"erase_timeout_s": 0.5}}).flash(NEW)


@pytest.mark.parametrize(
    ("mode", "why"),
    [("swap", "went back"), ("overwrite-only", "copy was not done"), ("direct-xip", "higher version")],
)
def test_a_bootloader_that_refuses_the_image(mode: str, why: str) -> None:
    unit = bench(mode, signature_is_good=lambda data: data != NEW)
    with pytest.raises(UnitFailed, match=rf"runs 1\.0\.0, not image 0 1\.1\.0: .*{why}"):
        unit.flash(NEW)


def test_an_image_that_does_not_come_up_goes_back() -> None:
    unit = bench(comes_up=lambda data: data != NEW)
    with pytest.raises(UnitFailed, match=r"slot 0 runs 1\.0\.0.*went back"):
        unit.flash(NEW)


def test_the_wrong_board_or_mode_is_refused_before_a_byte() -> None:
    unit = bench(info="Zephyr another_board")
    with pytest.raises(WrongBoard, match=r"another_board.*expects 'their_board'"):
        unit.flash(NEW)
    mute = bench(info=None)
    with pytest.raises(WrongBoard, match=r"does not say what it is"):
        mute.flash(NEW)
    mode = bench(told_mode=2)
    with pytest.raises(WrongBoard, match=r"built for overwrite-only"):
        mode.flash(NEW)
    assert not unit.board.asked and not mute.board.asked and not mode.board.asked


def test_what_would_not_start_is_refused_before_a_byte() -> None:
    unit = bench("direct-xip")
    with pytest.raises(Refused, match=r"not higher than 1\.0\.0"):
        unit.flash(image("1.0.0", size=100))
    with pytest.raises(Refused, match=r"has no load address"):
        bench("ram-load").flash(NEW)
    with pytest.raises(Refused, match=r"has load address"):
        bench("swap").flash(NEW_IN_RAM)
    with pytest.raises(Refused, match=r"a slot of theirs 100"):
        bench(toml={"mcuboot": {"slot_size": 100}}).flash(NEW)
    with pytest.raises(Refused, match=r"not bootable"):
        bench().flash(image("1.1.0", flags=Flag.NON_BOOTABLE))
    assert not unit.board.asked


def test_an_image_that_runs_in_place_is_linked_for_the_free_slot() -> None:
    slots = [{"base": 0x10000, "size": 0x8000}, {"base": 0x18000, "size": 0x8000}]
    unit = bench("direct-xip", toml={"mcuboot": {"slots": slots}})
    for wrong in (image("1.1.0", start=0x10101), image("1.1.0", flags=Flag.ROM_FIXED, load=0x10000)):
        with pytest.raises(Refused, match=r"linked for slot 0 .* slot 1 is free"):
            unit.flash(wrong)
    assert not unit.board.asked
    unit.flash(image("1.1.0", start=0x18101))


def test_recovery_by_a_reset() -> None:
    unit = bench(toml={"recovery": {"enter": "reset"}})
    report = unit.flash(NEW, recovery=True)
    assert (report.way, report.read_back[0].slot) == ("recovery", 0)
    assert unit.board.asked == ["reset into recovery", "upload 0 to 0", "reset"]


def test_a_board_in_recovery_is_flashed_by_it() -> None:
    unit = bench(toml={"recovery": {}}, in_recovery=True, hashes_in_recovery=False)
    assert unit.flash(NEW).way == "recovery"


def test_recovery_alone_needs_a_hash() -> None:
    told = bench(toml={"recovery": {"only": True}}, in_recovery=True)
    assert told.flash(NEW).read_back[0].image_hash == checked(NEW).says.image_hash.hex()
    mute = bench(toml={"recovery": {"only": True}}, in_recovery=True, hashes_in_recovery=False)
    with pytest.raises(UnitFailed, match=r"nothing reads its hash back"):
        mute.flash(NEW)


def test_a_person_who_does_not_press_the_button() -> None:
    unit = bench(toml={"recovery": {"how": "hold SW1 while you reset it"}})
    with pytest.raises(DeviceTimeout, match=r"waited 30 s for the bootloader's recovery on desk") as error:
        unit.flash(NEW, recovery=True)
    assert "hold SW1" in error.value.remedy
    nothing = bench(has_recovery=False, toml={"recovery": {"enter": "reset"}})
    with pytest.raises(DeviceTimeout, match=r"recovery on desk"):
        nothing.flash(NEW, recovery=True)


def test_a_board_that_restarts_for_ever() -> None:
    unit = bench()
    unit.board.slots[0, 1] = Slot(NEW)
    place = unit.place
    place.app.set_pending(checked(NEW).says.image_hash)
    place.app.ask_reset()
    unit.board.restarts_for_ever = True
    with pytest.raises(DeviceTimeout, match=r"for the app after the reset.*restarts again and again"):
        place.app.wait_for_slots(20.0, "the app after the reset")


def test_a_console_that_floods() -> None:
    unit = bench(floods=True)
    with pytest.raises(LinkError, match=r"its console floods") as error:
        unit.flash(NEW)
    assert re.search(r"within 10 s", error.value.message)


def test_silence_names_what_was_waited_for() -> None:
    unit = bench()
    unit.board._up_at_s = 1e9
    with pytest.raises(LinkError, match=r"nothing that speaks SMP answers on desk within 10 s.*nothing came"):
        unit.flash(NEW)


def test_a_mode_that_is_not_the_boards_is_told() -> None:
    unit = bench("direct-xip")
    unit.toml = board_toml("swap")
    with pytest.raises(Refused, match=r"marks no image .* not one with mode swap"):
        unit.flash(NEW)


def test_an_image_whose_state_is_not_told_is_no_pass() -> None:
    slots = {(0, 0): Slot(image("1.0.0")), (1, 0): Slot(image("1.0.0", size=2000))}
    unit = bench(slots=slots, toml={"mcuboot": {"images": 2}}, hidden=frozenset({1}))
    with pytest.raises(UnitFailed, match=r"no slot of image 1 as active: whether image 1 1\.1\.0 runs cannot be said"):
        unit.flash(image("1.1.0"), image("1.1.0", size=2500))


def test_the_numbers_of_the_image_group_have_words_and_remedies() -> None:
    unit = bench()
    unit.board.slots.clear()
    with pytest.raises(UnitFailed, match=r"image-setting-test-to-active-denied") as refused:
        unit.place.app.set_pending(bytes(32))
    assert refused.value.remedy == "it runs already"
