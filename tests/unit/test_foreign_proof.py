# SPDX-License-Identifier: Apache-2.0
"""Somebody else's board under test: what its server has to say before a test counts, and when nothing is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from assay.errors import InfrastructureError
from assay.interfaces.smp_server import ServerSlot, Slots
from assay.model.foreign_board import ForeignBoard
from assay.pipeline.quarantine import _add_run, _Story
from assay.pipeline.test_foreign import ForeignBenchPlace
from assay.stages.hil.foreign_proof import ForeignExpected, ForeignPower, ask, check_runs

HASH = bytes.fromhex("11" * 32)
IMAGE = ForeignExpected(0, HASH, "image 0 1.1.0")
BOARD = ForeignBoard.model_validate(
    {
        "schema": "assay.board/2",
        "firmware": "mcuboot",
        "name": "theirs",
        "revision": 0,
        "serial": {"baud": 115200, "framing": "console"},
        "smp": {"info": "theirs_v2"},
        "mcuboot": {"mode": "swap"},
    },
    strict=False,
)


class Server:
    """What a server says, and in which order it was spoken to."""

    address = "socket://theirs"

    def __init__(self, slots: Slots, info: str | None = "Zephyr theirs_v2", *, app: bool = True) -> None:
        self.rows, self.info, self.app = slots, info, app
        self.reset_asked = False
        self.did: list[str] = []

    def wait_for_slots(self, timeout_s: float, what: str) -> Slots:
        self.did.append("ask")
        return self.rows

    def listen(self, at_least_s: float, at_most_s: float) -> None:
        self.did.append(f"silent {at_least_s:g}")
        self.reset_asked = False

    def is_app(self) -> bool:
        return self.app

    def application_info(self) -> str | None:
        return self.info

    def drop_console(self) -> None:
        self.did.append("drop")


def slot(image_hash: bytes | None, *, active: bool = True, number: int = 0) -> ServerSlot:
    return ServerSlot(number, 0, "1.1.0", image_hash, active=active)


def proved(server: Any) -> Any:
    place = ForeignBenchPlace("desk", BOARD, server, None, None, (IMAGE,))  # type: ignore[arg-type]
    return place, place.ready


def test_the_active_slot_with_the_hash_is_what_counts() -> None:
    place, ready = proved(Server((slot(None, active=False), slot(HASH))))
    unit = ready()
    assert (unit.serial, unit.says, [row.image_hash for row in place.seen().slots]) == (
        None,
        "Zephyr theirs_v2",
        [None, HASH.hex()],
    )


@pytest.mark.parametrize(
    ("server", "says"),
    [
        (Server((slot(b"\x22" * 32),)), "says that it runs 2222222222222222, under test is image 0 1.1.0"),
        (Server((slot(HASH, active=False),)), "runs no image of that number"),
        (Server((slot(HASH, number=1),)), "runs no image of that number"),
        (Server((slot(None),)), "runs no image of that number"),
        (Server((slot(HASH),), app=False), "the bootloader answers, no app runs"),
    ],
)
def test_anything_else_is_a_fault_of_the_bench(server: Server, says: str) -> None:
    with pytest.raises(InfrastructureError, match=says) as told:
        check_runs(ask(server, BOARD), (IMAGE,))  # type: ignore[arg-type]
    assert told.value.layer == "flasher"


def test_another_board_is_told_before_its_image_is_looked_at() -> None:
    with pytest.raises(Exception, match="expects 'theirs_v2' in it") as told:
        proved(Server((slot(b"\x22" * 32),), info="Zephyr another"))[1]()
    assert type(told.value).__name__ == "WrongBoard"


def test_nothing_is_asked_after_a_reset_until_it_has_started() -> None:
    server = Server((slot(HASH),))
    server.reset_asked = True
    ask(server, BOARD)  # type: ignore[arg-type]
    ask(server, BOARD)  # type: ignore[arg-type]
    assert server.did == ["silent 1.5", "ask", "ask"]


class Switch:
    """A power switch that notes when it is switched."""

    def __init__(self, did: list[str]) -> None:
        self._did = did

    def __getattr__(self, name: str) -> Callable[[], None]:
        return lambda: self._did.append(name)


def test_nothing_is_asked_after_power_on_either() -> None:
    server = Server((slot(HASH),))
    power = ForeignPower(Switch(server.did), server, lambda _: None, server, BOARD)  # type: ignore[arg-type]
    power.cycle(0.0)
    assert server.did == ["off", "drop", "on", "silent 1.5"]


def test_the_statistics_of_a_place_count_such_a_run() -> None:
    stories: dict[str, _Story] = {}
    run = {"place": "desk", "outcome": "PASS", "finished": "2026-01-01T00:00:00Z"}
    _add_run(
        stories,
        {"run": run, "suite_sha256": "ab", "images": [{"image_hash": "11"}], "units": [{}], "warned": ["one"]},
    )
    _add_run(stories, {"run": run, "verb": "flash", "images": {"image": "11"}})
    ((seen,),) = [story.runs for story in stories.values()]
    assert (seen.what, seen.warned, seen.serial) == ("ab 11", 1, None)
