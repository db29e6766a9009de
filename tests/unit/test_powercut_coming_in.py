# SPDX-License-Identifier: Apache-2.0
"""When an image that was asked for is in, and what may come up until then."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import UsageFault
from assay.formats.mcuboot_trailer import is_copied, trailer_bytes
from assay.model.campaign import NamedImage
from assay.model.powercut import Episode, Point, Tear
from assay.pipeline.manifest_files import load_board
from assay.pipeline.powercut_recording import check_writes
from assay.simulation.nor_flash import Erase, NorFlash, Operation, Program
from assay.stages.powercut.choice import Recording
from assay.stages.powercut.coming_in import came_in
from assay.stages.powercut.images import CampaignImage

BOARD = load_board(Path(__file__).parents[2] / "boards" / "ast1030-evb.toml")
PRIMARY = BOARD.flash.areas["primary"]
END = PRIMARY.offset + PRIMARY.size
MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
NEW = CampaignImage(
    "new", b"the new image", NamedImage(source="x", name="a", version="1", file_sha256="0" * 64, image_hash="0" * 64)
)
SWAP: tuple[Operation, ...] = (
    Erase(BOARD.flash.areas["status"].offset, 0x1000),
    Erase(PRIMARY.offset, 0x1000),
    Program(PRIMARY.offset, NEW.data),
    Erase(END - 0x1000, 0x1000),
    Program(END - 32, b"\1"),
    Program(END - 16, MAGIC),
    Program(BOARD.flash.areas["status"].offset, b"\0"),
)
IN = 6
"""Operations until the magic is written, which goes last."""


def chip() -> NorFlash:
    made = NorFlash(BOARD.flash.size, BOARD.flash.erase_size)
    made.write(PRIMARY.offset, b"the old image")
    return made


def in_after(operations: tuple[Operation, ...], base: NorFlash | None = None) -> dict[str, int]:
    return came_in(BOARD, base or chip(), operations, {"new": NEW}, ("new",))


def test_an_image_is_in_when_its_trailer_says_so_and_all_of_it_is_there() -> None:
    assert in_after(SWAP) == {"new": IN}
    for left_out in (2, 4, 5):
        assert in_after(SWAP[:left_out] + SWAP[left_out + 1 :]) == {}, SWAP[left_out].words
    assert in_after(SWAP[:5]) == {}
    done = chip()
    for operation in SWAP:
        done.apply(operation)
    assert in_after((), done) == {"new": 0}


@pytest.mark.parametrize(
    ("alignment", "room", "magic"),
    [(1, 32, MAGIC), (8, 32, MAGIC), (16, 48, bytes.fromhex("10002de15d29410b8d77679c110f1f8a")),
     (32, 96, bytes.fromhex("20002de15d29410b8d77679c110f1f8a"))],
    ids=["1", "8", "16", "32"],
)  # fmt: skip
def test_a_trailer_is_where_mcuboot_has_it(alignment: int, room: int, magic: bytes) -> None:
    end = b"\1" + bytes(room - 17) + magic
    assert trailer_bytes(alignment) == room
    assert is_copied(end, alignment)
    assert not is_copied(b"\xff" + end[1:], alignment)
    assert not is_copied(end[:-1] + b"\0", alignment)


def recording(**changes: object) -> Recording:
    made = {"name": "swap", "cut": ("reset",), "may_run": ("old", "new"), "until": {"new": ("new",)}, **changes}
    return Recording(Episode.model_validate(made), chip(), SWAP, (len(SWAP),), in_after(SWAP))


def test_until_an_image_is_in_a_cut_must_not_lose_that_it_was_asked_for() -> None:
    made = recording()
    for number in range(len(SWAP)):
        point = Point(operation=number, tear=Tear.BITS)
        assert made.may_run(point) == (("new",) if number < IN else ("old", "new")), number
        assert made.may_stay(point) == ("old", "new")
    assert made.may_run(Point(operation=IN - 1, tear=Tear.AFTER)) == ("old", "new")
    assert made.may_run(Point(operation=0, tear=Tear.BEFORE), since={"new"}) == ("old", "new")


def test_an_image_that_never_came_in_is_owed_after_each_cut() -> None:
    made = Recording(recording().episode, chip(), SWAP[:5], (5,), in_after(SWAP[:5]))
    assert made.may_run(Point(operation=4, tear=Tear.AFTER)) == ("new",)


def test_an_episode_that_does_not_write_where_its_plan_says_is_usage() -> None:
    check_writes(recording(writes=("status", "primary")), BOARD)
    with pytest.raises(UsageFault, match="writes nothing to 'counters'"):
        check_writes(recording(writes=("counters",)), BOARD)
