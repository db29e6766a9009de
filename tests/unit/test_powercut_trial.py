# SPDX-License-Identifier: Apache-2.0
"""When a trial looks at a unit's flash: a unit on its way back is looked at once it is at rest.

The unit is a mock here: which moment a real one is looked at in is chance.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from assay.model.powercut import Cut, Point, Tear
from assay.pipeline import powercut_trial
from assay.pipeline.powercut_trial import Trier
from assay.stages.powercut.coming_up import CameUp

CUT = Cut(episode="bad-image", first=Point(operation=99, tear=Tear.LAST))


class UnitOnItsWay:
    """Holds the old image whole as often as `whole` says, one word for each time that it is looked at; its radio is the
    old one.
    """

    def __init__(self, whole: tuple[bool, ...], ups: tuple[CameUp, ...]) -> None:
        self.looks, self.ups, self.starts = list(whole), list(ups), 0
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

    end = power_off

    def holds(self, _data: bytes) -> bool:
        return self.looks.pop(0)

    def radio_is(self, data: bytes) -> bool:
        return data == b"radio-old"


def trial_of(unit: UnitOnItsWay, monkeypatch: pytest.MonkeyPatch) -> Any:
    episode = SimpleNamespace(keeps=("old",), together={"old": "radio-old", "new": "radio-new"})
    recording = SimpleNamespace(episode=episode, may_run=lambda _point: ("bad", "old", "new"))
    radios = {word: SimpleNamespace(data=word.encode()) for word in ("radio-old", "radio-new")}
    images = SimpleNamespace(apps={"old": SimpleNamespace(data=b"old")}, radios=radios)
    monkeypatch.setattr(powercut_trial, "TwinUnit", lambda *_, **__: unit)
    monkeypatch.setattr(powercut_trial, "wait_up", lambda *_, **__: unit.ups.pop(0))
    trier = Trier(None, images, {"bad-image": recording}, 1, (), "new")  # type: ignore[arg-type]
    return trier._boot(CUT, None, 1.0)  # type: ignore[arg-type]


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


def test_a_unit_that_never_comes_to_rest_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = UnitOnItsWay((False,), (TESTED, CameUp("silent", "nothing for 1 s")))
    assert "does not come up" in trial_of(unit, monkeypatch).fault
