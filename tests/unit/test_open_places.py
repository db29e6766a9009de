# SPDX-License-Identifier: Apache-2.0
"""Which place a test gets when several workers share several places: by what it needs, and by what others may need."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from assay.errors import InQuarantine, PlaceBusy, UsageFault
from assay.pipeline import test_place
from assay.pipeline.test_places import Needs, NothingFits, OpenPlaces
from assay.pipeline.test_session import Wish, wish_of

FEATURES = {"a": ("radio",), "b": (), "c": ("radio", "gps")}
SAID: list[str] = []
PLAIN, RADIO = Needs(), Needs(features=("radio",))


class Bench:
    """Three places that workers share; `busy` are used by somebody else."""

    def __init__(self) -> None:
        self.busy: set[str] = set()
        self.asked: list[str] = []
        self.lines: list[str] = []
        self.behind: set[str] = set()

    @contextlib.contextmanager
    def open(self, wish: Wish, _worker: str) -> Iterator[SimpleNamespace]:
        (name,) = wish.places
        self.asked.append(name)
        if name in self.busy:
            raise PlaceBusy(f"{name} is used by assay flash (pid 7)", remedy="wait")
        self.busy.add(name)
        yield SimpleNamespace(name=name, board=SimpleNamespace(name="board"), features=FEATURES[name])
        self.busy.discard(name)

    @contextlib.contextmanager
    def in_line(self, _wish: Wish, name: str) -> Iterator[Callable[[], bool]]:
        self.lines.append(name)
        yield lambda: name not in self.busy | self.behind
        self.lines.remove(name)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()
    monkeypatch.setattr(test_place, "open_bench_place", made.open)
    monkeypatch.setattr(test_place, "offer_of", lambda _wish, name: ("board", FEATURES[name]))
    monkeypatch.setattr(test_place, "check_quarantine", lambda _wish, _name: None)
    monkeypatch.setattr(test_place, "in_line", made.in_line)
    monkeypatch.setattr("assay.pipeline.test_places.time.sleep", lambda _s: made.busy.discard("a"))
    return made


def worker(*places: str, wait_s: float = 0.0) -> OpenPlaces:
    return OpenPlaces(Wish(places=places, wait_s=wait_s), "gw", SAID.append)


def test_a_plain_test_leaves_the_radio_to_those_that_need_it(bench: Bench) -> None:
    with worker("c", "a", "b") as first, worker("c", "a", "b") as second:
        assert first.place_for(PLAIN).name == "b"
        assert second.place_for(RADIO).name == "a"
        assert first.place_for(RADIO).name == "c"
        assert first.place_for(PLAIN).name == "b"


def test_of_its_own_places_too_a_test_gets_the_plainest(bench: Bench) -> None:
    with worker("a", "b") as mine:
        assert mine.place_for(RADIO).name == "a"
        assert mine.place_for(PLAIN, besides=("a",)).name == "b"
        assert mine.place_for(PLAIN).name == "b"


def test_who_is_in_the_way_is_waited_for(bench: Bench) -> None:
    bench.busy = {"a", "c"}
    with worker("a", "b", "c") as mine, pytest.raises(PlaceBusy, match=r"a is used by .*; c is used by"):
        mine.place_for(RADIO)
    SAID.clear()
    with worker("a", "b", "c", wait_s=60.0) as mine:
        assert mine.place_for(RADIO).name == "a"
    assert "b" not in bench.asked and not bench.lines
    (said,) = SAID
    assert said.startswith("a is used by assay flash (pid 7); c is used by") and said.endswith("at most 60 s")


def test_who_stands_behind_somebody_does_not_ask(bench: Bench) -> None:
    """The place that came free is another one's turn: nothing is tried until the time is over."""
    bench.busy, bench.behind = {"a", "c"}, {"a"}
    with worker("a", "c", wait_s=0.01) as mine:
        bench.asked.clear()
        assert mine.place_for(RADIO).name == "a"
    assert bench.asked == ["a", "c", "a"], "once at first, once at the end"


def test_nobody_waits_for_what_does_not_come(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_wish: Wish, name: str) -> None:
        raise InQuarantine(f"{name} is in quarantine", remedy="mend it")

    with worker("a", "b", wait_s=60.0) as mine:
        with pytest.raises(NothingFits, match="needs gps"):
            mine.place_for(Needs(features=("gps",)))
        monkeypatch.setattr(test_place, "check_quarantine", refused)
        monkeypatch.setattr("assay.pipeline.test_places.time.sleep", lambda _s: pytest.fail("it waited"))
        with pytest.raises(PlaceBusy, match="in quarantine"):
            mine.place_for(RADIO)


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_a_time_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wish_of({"wait": "2.5"}).wait_s == 2.5
    monkeypatch.setenv("ASSAY_WAIT", "7")
    assert wish_of({}).wait_s == 7.0
    with pytest.raises(UsageFault, match="no number of seconds"):
        wish_of({"wait": text})
