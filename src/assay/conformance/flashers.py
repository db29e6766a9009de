# SPDX-License-Identifier: Apache-2.0
"""What a flasher has to do (`interfaces.flasher.Flasher`), with its board connected: it is written some four times.

`--assay-flash-at` is where may be written: an address, a path, or `none` for a flasher with one place;
`--assay-flash-bytes` how many bytes [3000]. `--assay-driver-port` is the unit's serial port, for drivers that need one;
`--assay-driver-absent=ADDRESS` names a board that is not there, to see the driver say so. What was there is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from assay.conformance.driver_choice import DriverChoice, choice_of, told_as_ours
from assay.errors import UsageFault
from assay.interfaces.flasher import Flasher, Identity, Part, Where
from assay.pipeline.driver_doors import open_flasher

BYTES = 3000
BY = ("bytes", "tool", "device", "accepted")


@dataclass(frozen=True)
class Chosen:
    """The driver under test, where it may write, and how much."""

    driver: DriverChoice
    where: Where | None
    size: int
    port: str
    folder: Path

    def open(self, address: str | None = None) -> Flasher:
        """The flasher, as a verb opens it."""
        driver, where = self.driver, self.driver.address if address is None else address
        return open_flasher(driver.function or driver.name, where, driver.options, folder=self.folder, port=self.port)

    def part(self, seed: int) -> Part:
        """Bytes that no memory has by chance."""
        blocks = [hashlib.sha256(f"{seed} {number}".encode()).digest() for number in range(self.size // 32 + 1)]
        return Part("conformance", self.where, b"".join(blocks)[: self.size])


@pytest.fixture
def chosen(request: pytest.FixtureRequest, tmp_path: Path) -> Chosen:
    """From the command line."""
    driver, told = choice_of(request.config), request.config.getoption("--assay-flash-at")
    if told is None:
        pytest.fail("say where may be written: --assay-flash-at=ADDRESS, a path, or none", pytrace=False)
    where: Where | None = None if told == "none" else int(told, 0) if told[0].isdigit() else told
    size = int(request.config.getoption("--assay-flash-bytes") or BYTES)
    return Chosen(driver, where, size, request.config.getoption("--assay-driver-port") or "", tmp_path)


@pytest.fixture
def flasher(chosen: Chosen) -> Iterator[Flasher]:
    """Open until the test is over."""
    with closing(chosen.open()) as opened:
        yield opened


class Heard:
    """What a driver told its progress."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.told.append((done, total))


def test_it_says_who_is_there_twice_the_same(flasher: Flasher) -> None:
    """Something of the board is known before anything is written, and asking changes nothing."""
    first, second = flasher.identify(), flasher.identify()
    assert isinstance(first, Identity) and first == second
    assert any((first.probe, first.chip, first.kind, first.facts))
    assert flasher.name


def test_a_plan_needs_no_board_and_says_what_is_written(chosen: Chosen, flasher: Flasher) -> None:
    """The actions called `write` are all that is written: their sizes add up to the part."""
    part = chosen.part(1)
    plan = flasher.plan([part])
    writes = [action for action in plan.actions if action.what == "write"]
    assert plan.parts == (part,)
    assert sum(action.size or 0 for action in writes) == part.size
    assert writes[0].where == part.where
    assert flasher.plan([part]) == plan


def test_what_is_written_is_read_back(chosen: Chosen, flasher: Flasher) -> None:
    """Twice, with other bytes: the second proves that the first was not there by chance."""
    for seed in (1, 2):
        part, progress = chosen.part(seed), Heard()
        flasher.identify()
        plan = flasher.plan([part])
        flasher.write(plan, progress)
        assert progress.told and progress.told[-1][0] == progress.told[-1][1]
        assert all(0 <= done <= total for done, total in progress.told)
        read = flasher.read_back(plan, Heard())
        assert [(each.name, each.where, each.size, each.sha256) for each in read] == [
            (part.name, part.where, part.size, part.sha256)
        ]
        assert read[0].by in BY
        flasher.reset()


def test_a_driver_that_reads_back_finds_what_is_not_there(chosen: Chosen, flasher: Flasher) -> None:
    """Another part than the one that was written is no match: else nothing was compared."""
    from assay.errors import UnitFailed

    flasher.identify()
    plan = flasher.plan([chosen.part(3)])
    flasher.write(plan, Heard())
    if flasher.read_back(plan, Heard())[0].by == "accepted":
        pytest.skip("this driver reads nothing back, and says so")
    try:
        flasher.read_back(flasher.plan([chosen.part(4)]), Heard())
    except UnitFailed as told:
        assert told.remedy, "say what a person can do (remedy)"
    else:
        pytest.fail("read_back took other bytes than were written for the same: nothing was compared")
    flasher.reset()


def test_closing_twice_does_no_harm(chosen: Chosen) -> None:
    """A second call does nothing."""
    opened = chosen.open()
    opened.close()
    opened.close()


def test_an_option_that_it_does_not_have_is_told(chosen: Chosen) -> None:
    """A mistyped option is status 2, and never ignored."""
    driver = chosen.driver
    options = {**driver.options, "no-such-option": 1}
    with pytest.raises(UsageFault):
        open_flasher(driver.function or driver.name, driver.address, options, folder=chosen.folder, port=chosen.port)


def test_a_board_that_is_not_there_is_an_error_of_ours(chosen: Chosen) -> None:
    """No OSError, no exception of a library: an error of ours, with something that a person can do."""
    if chosen.driver.absent is None:
        pytest.skip("name an address without a board with --assay-driver-absent")
    opening: Callable[[], Flasher] = lambda: chosen.open(chosen.driver.absent)  # noqa: E731
    with told_as_ours():
        opening().identify()
