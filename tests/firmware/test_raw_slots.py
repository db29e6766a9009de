# SPDX-License-Identifier: Apache-2.0
"""Images as `imgtool sign --pad` makes them, also with `--confirm` and with dependencies, written to the slots raw.

What becomes of them is what MCUboot's documentation says (docs.mcuboot.com/design.html, "Boot swap types" and
"Dependency check"): the bootloader under test has only to do with the bytes that imgtool wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial
from qemu_board import QemuBoard, wait_for
from raw_smp import RawSmp
from signed_build import Workshop

READY = "selftest=(pass|fail).*\n"
NOTES, REFUSED = 6, 3
BAD_SIGNATURE, DEPENDENCY, INCOMPLETE = 11, 23, 24
PAD, CONFIRM = "--pad", "--pad --confirm"

Start = Callable[[dict[str, bytes]], QemuBoard]


@pytest.fixture
def start(workshop: Workshop, tmp_path: Path) -> Iterator[Start]:
    """Programs a chip, beside the bootloader, and powers the board on."""
    board = QemuBoard(workshop.toml, workshop.build("rom") / "part.elf", tmp_path)

    def programmed(parts: dict[str, bytes]) -> QemuBoard:
        board.program({"boot": workshop.bootloader(), **parts})
        board.on()
        return board

    yield programmed
    board.close()


def runs(board: QemuBoard) -> tuple[str, str]:
    """Version and state of the app, once it is up."""
    with serial.Serial(board.port, 115200, timeout=0.05) as link:
        line = next(line for line in wait_for(link, READY).splitlines() if re.search(READY.rstrip("\n"), line))
    words = dict(word.split("=") for word in line.split() if "=" in word)
    assert words["selftest"] == "pass"
    return words["version"], words["state"]


def radio_says(board: QemuBoard) -> str:
    """What the app tells of the radio."""
    with serial.Serial(board.port, 115200, timeout=0.05) as link:
        link.write(b"radio\r\n")
        return wait_for(link, "ASSAY-RADIO 1 .*\n")


def refusals(board: QemuBoard) -> list[int]:
    """The numbers of the notes about refused images."""
    with serial.Serial(board.port, 115200, timeout=0.05) as link:
        notes = RawSmp(link).read(NOTES, {"from": 0})["notes"]
    return [note["code"] for note in notes if note["kind"] == REFUSED]


def test_padded_for_test_goes_back(workshop: Workshop, start: Start) -> None:
    board = start({"primary": workshop.app("1.0.0"), "secondary": workshop.app("1.1.0", extra=PAD)})
    assert runs(board) == ("1.1.0", "testing")
    board.cycle()
    assert runs(board) == ("1.0.0", "confirmed")
    board.cycle()
    assert runs(board) == ("1.0.0", "confirmed")


def test_padded_and_confirmed_stays(workshop: Workshop, start: Start) -> None:
    board = start({"primary": workshop.app("1.0.0"), "secondary": workshop.app("1.1.0", extra=CONFIRM)})
    assert runs(board) == ("1.1.0", "confirmed")
    board.cycle()
    assert runs(board) == ("1.1.0", "confirmed")


@pytest.mark.parametrize(("extra", "state"), [(PAD, "testing"), (CONFIRM, "confirmed")])
def test_padded_in_the_primary_slot_stays(workshop: Workshop, start: Start, extra: str, state: str) -> None:
    """Without `copy_done` there is nothing to go back to."""
    board = start({"primary": workshop.app("1.0.0", extra=extra)})
    assert runs(board) == ("1.0.0", state)
    board.cycle()
    assert runs(board) == ("1.0.0", state)


def test_two_images_go_together(workshop: Workshop, start: Start) -> None:
    """App 1.1.0 needs radio 1.2.0, and the other way round; both are asked for: both go, and both come back."""
    old = {"primary": workshop.app("1.0.0"), "radio_primary": workshop.radio("1.1.0")}
    app = workshop.app("1.1.0", extra=f"{PAD} -d (1,1.2.0)")
    board = start({**old, "secondary": app, "radio_secondary": workshop.radio("1.2.0", extra=f"{PAD} -d (0,1.1.0)")})
    assert runs(board) == ("1.1.0", "testing")
    assert "name=demo-radio version=1.2.0 hash=" in radio_says(board)
    board.cycle()
    assert runs(board) == ("1.0.0", "confirmed")
    assert "version=1.1.0 " in radio_says(board)
    assert refusals(board) == []


def test_dependency_is_not_met(workshop: Workshop, start: Start) -> None:
    old = {"primary": workshop.app("1.0.0"), "radio_primary": workshop.radio("1.1.0")}
    board = start({**old, "secondary": workshop.app("1.1.0", extra=f"{CONFIRM} -d (1,1.2.0)")})
    assert runs(board) == ("1.0.0", "confirmed")
    assert refusals(board) == [DEPENDENCY]


def test_one_of_two_waits(workshop: Workshop, start: Start) -> None:
    """The radio's new image is there and was not asked for: the app's waits for it."""
    old = {"primary": workshop.app("1.0.0"), "radio_primary": workshop.radio("1.1.0")}
    new = {"secondary": workshop.app("1.1.0", extra=PAD), "radio_secondary": workshop.radio("1.2.0")}
    board = start({**old, **new})
    assert runs(board) == ("1.0.0", "confirmed")
    assert refusals(board) == [INCOMPLETE]
    assert "version=1.1.0 " in radio_says(board)


def test_a_radio_by_a_foreign_key_is_not_told(workshop: Workshop, start: Start) -> None:
    """Its hash is right, its signature is nobody's: the app tells what the bootloader verified, not what a TLV says."""
    foreign = workshop.radio("1.1.0", key=str(workshop.key("foreign")))
    board = start({"primary": workshop.app("1.0.0"), "radio_primary": foreign})
    assert runs(board) == ("1.0.0", "confirmed")
    assert "bad image" in radio_says(board)
    assert refusals(board) == [BAD_SIGNATURE]
