# SPDX-License-Identifier: Apache-2.0
"""When a trial looks at a unit's flash: a unit on its way back is looked at once it is at rest. And how a recovery that
is recorded is judged.

The unit is a mock here: which moment a real one is looked at in is chance.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assay.model.powercut import Cut, Point, Tear
from assay.pipeline import powercut_trial
from assay.pipeline.manifest_files import load_board
from assay.pipeline.powercut_trial import PATIENCE, Left, Trier, tried
from assay.simulation.nor_flash import Erase, NorFlash, Operation
from assay.stages.powercut.coming_up import CameUp

BOARD = load_board(Path(__file__).parents[2] / "boards" / "ast1030-evb.toml")
CHIP = NorFlash(BOARD.flash.size, BOARD.flash.erase_size)
CUT = Cut(episode="bad-image", first=Point(operation=99, tear=Tear.LAST))


class UnitOnItsWay:
    """Holds the old image whole as often as `whole` says, one word for each time that it is looked at; its radio is the
    old one.
    """

    def __init__(self, whole: tuple[bool, ...], ups: tuple[CameUp, ...], orders: tuple[Operation, ...] = ()) -> None:
        self.looks, self.ups, self.orders, self.starts = list(whole), list(ups), list(orders), 0
        self.device = self
        self.hits: list[str] = []
        self.said = b""

    def __enter__(self) -> UnitOnItsWay:
        self.starts += 1
        return self

    def __exit__(self, *_: object) -> None:
        return

    def power_off(self) -> None:
        return

    end = cut = power_off

    def operations(self) -> list[Operation]:
        return self.orders

    def changed(self) -> bool:
        return bool(self.orders)

    def holds(self, _data: bytes) -> bool:
        return self.looks.pop(0)

    def radio_is(self, data: bytes) -> bool:
        return data == b"radio-old"


MAY_RUN = ("bad", "old", "new")


def trier_of(unit: UnitOnItsWay, monkeypatch: pytest.MonkeyPatch, timeouts_s: list[float] | None = None) -> Trier:
    """Tries `unit`, and nothing else; writes down how patient it is."""
    episode = SimpleNamespace(keeps=("old",), together={"old": "radio-old", "new": "radio-new"}, until={})
    recording: Any = SimpleNamespace(episode=episode)
    radios = {word: SimpleNamespace(data=word.encode()) for word in ("radio-old", "radio-new")}
    images = SimpleNamespace(apps={"old": SimpleNamespace(data=b"old")}, radios=radios)
    monkeypatch.setattr(powercut_trial, "TwinUnit", lambda *_, **__: unit)

    def wait_up(_device: object, _images: object, timeout_s: float, **_: object) -> CameUp:
        if timeouts_s is not None:
            timeouts_s.append(timeout_s)
        return unit.ups.pop(0)

    monkeypatch.setattr(powercut_trial, "wait_up", wait_up)
    bench: Any = SimpleNamespace(board=BOARD)
    return Trier(bench, images, {"bad-image": recording}, 1, (), "new", 1.0)  # type: ignore[arg-type]


def trial_of(unit: UnitOnItsWay, monkeypatch: pytest.MonkeyPatch, may_run: tuple[str, ...] = MAY_RUN) -> Any:
    return trier_of(unit, monkeypatch)._boot(CUT, Left(CHIP, may_run, MAY_RUN), 1.0)


TESTED = CameUp("bad", "testing", settled=False)
BACK = CameUp("old", "confirmed")


def test_a_unit_on_its_way_back_is_looked_at_when_it_is_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = UnitOnItsWay((False, True), (TESTED, BACK))
    trial = trial_of(unit, monkeypatch)
    assert (trial.fault, trial.word, trial.again, unit.starts) == (None, "old", True, 2)


def test_what_is_lost_at_rest_too_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = trial_of(UnitOnItsWay((False, False), (TESTED, BACK)), monkeypatch)
    assert trial.fault == "no slot holds the whole of old any more"


def test_a_unit_that_stays_as_it_came_up_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = UnitOnItsWay((False,), (BACK,))
    assert trial_of(unit, monkeypatch).fault == "no slot holds the whole of old any more"
    assert unit.starts == 1


def test_a_good_image_under_test_beside_the_old_radio_is_no_unit_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first line says that the self-test runs, as that of a bad one does; it stays, and is found."""
    ups = (CameUp("new", "testing", settled=False), CameUp("new", "testing"))
    trial = trial_of(UnitOnItsWay((True, True), ups), monkeypatch)
    assert trial.fault == "the unit runs new, and its radio is not radio-new: updated by halves"


def test_what_has_to_come_up_first_is_not_what_the_unit_may_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bad image that was asked for comes first and goes back; the old one alone is a request that was lost."""
    came = UnitOnItsWay((False, True), (TESTED, TESTED, BACK))
    assert trial_of(came, monkeypatch, ("bad",)).fault is None
    old = CameUp("old", "confirmed", settled=False)
    lost = UnitOnItsWay((True, True), (old, old, BACK))
    fault = "the unit comes up as old (confirmed), and has to come up as bad"
    assert trial_of(lost, monkeypatch, ("bad",)).fault == fault


SILENCE = CameUp("silent", "nothing for 1 s")
GOOD = Erase(BOARD.flash.areas["scratch"].offset, 0x1000)


def recovered(unit: UnitOnItsWay, monkeypatch: pytest.MonkeyPatch, timeouts_s: list[float] | None = None) -> Any:
    """What the first cut's recovery says of `unit`, by the worker's own door."""
    trier = trier_of(unit, monkeypatch, timeouts_s)
    monkeypatch.setattr(trier, "left_by", lambda _cut: Left(CHIP, MAY_RUN, MAY_RUN))
    return tried(trier, "seconds", CUT)


def test_a_recovery_that_ends_silent_is_tried_again_and_is_a_fault_then(monkeypatch: pytest.MonkeyPatch) -> None:
    unit, patience_s = UnitOnItsWay((), (SILENCE, SILENCE)), list[float]()
    (trial,) = recovered(unit, monkeypatch, patience_s)
    assert trial.fault == "in the recovery from the cut: the unit does not come up: nothing for 1 s"
    assert (trial.again, trial.cut, unit.starts, patience_s) == (True, CUT, 2, [1.0, PATIENCE * 1.0])


def test_a_recovery_that_was_silent_once_counts_as_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = UnitOnItsWay((True,) * 9, (SILENCE, BACK, *[BACK] * 9), (GOOD,))
    trier = trier_of(unit, monkeypatch)
    recovery = trier._recovery_from(CUT, Left(CHIP, MAY_RUN, MAY_RUN))
    assert (recovery.trial.fault, recovery.trial.again, recovery.operations) == (None, True, [GOOD])


def test_a_recovery_that_comes_up_as_it_may_not_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    (trial,) = recovered(UnitOnItsWay((), (CameUp("recovery", "no-image"),), (GOOD,)), monkeypatch)
    assert "comes up as recovery (no-image)" in trial.fault


def test_a_recovery_that_writes_to_flash_that_nobody_owns_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    stray = Erase(0xFF000 - 0x1000, 0x2000)  # begins in one area and ends in another
    unit = UnitOnItsWay((), (BACK,), (GOOD, stray))
    (trial,) = recovered(unit, monkeypatch)
    assert trial.fault == "in the recovery from the cut: erase 0xfe000+0x2000 lies in no flash area of the board"
    assert (trial.breach, unit.starts) == (True, 1)


def test_a_unit_that_never_comes_to_rest_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = UnitOnItsWay((False,), (TESTED, SILENCE))
    assert "does not come up" in trial_of(unit, monkeypatch).fault
