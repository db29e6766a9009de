# SPDX-License-Identifier: Apache-2.0
"""The places of one test process: chosen by what a test needs, opened when the first test needs them, kept to the end.

Guards: a test gets a place that has what it needs, or is skipped with the reason; two units of one test are two; a
place that somebody uses is passed over, and when all are, whoever uses them is named. Leaves to others: opening one
(`test_place`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from assay.errors import AssayError, InQuarantine, PlaceBusy, UsageFault
from assay.interfaces.step_book import Say, say_nothing
from assay.pipeline import test_place

if TYPE_CHECKING:
    from assay.interfaces.device import Device
    from assay.interfaces.smp_server import SmpServer
    from assay.pipeline.test_place import TestedPlace
    from assay.pipeline.test_session import Wish
    from assay.stages.hil.foreign_proof import ForeignUnit
    from assay.stages.hil.unit_under_test import ConsoleLines, UnitPower, UnitUnderTest

KNOWN = ("board", "feature")
ASK_AGAIN_S = 0.25


class NothingFits(Exception):
    """No place that was named has what the test needs; the text is the reason of the skip."""


@dataclass(frozen=True)
class Needs:
    """What a test needs of a unit."""

    board: str | None = None
    features: tuple[str, ...] = ()

    @classmethod
    def of_marker(cls, words: dict[str, Any]) -> Needs:
        """From the keywords of `pytest.mark.unit`. Raises UsageFault for one that is unknown."""
        for word in words:
            if word not in KNOWN:
                raise UsageFault(f"pytest.mark.unit has no {word!r}", remedy=f"it has: {', '.join(KNOWN)}")
        feature = words.get("feature", ())
        return cls(words.get("board"), (feature,) if isinstance(feature, str) else tuple(feature))

    def lacks(self, board: str, features: Collection[str]) -> str:
        """What is not there, in words; empty when all is."""
        if self.board not in (None, board):
            return f"needs board {self.board}, the place has {board}"
        missing = [feature for feature in self.features if feature not in features]
        return f"needs {', '.join(missing)}, the place has {', '.join(features) or 'no features'}" if missing else ""

    def spares(self, features: Collection[str]) -> int:
        """How many of a place's features the test does not need."""
        return len(set(features) - set(self.features))


@dataclass(frozen=True)
class UnitAccess:
    """One of several units of a test; `power` is None where the place has no switch, `console` where it has none."""

    unit: UnitUnderTest | ForeignUnit
    console: ConsoleLines | None
    power: UnitPower | None
    smp: Device | SmpServer


class OpenPlaces:
    """The places that this process has, until it is closed."""

    def __init__(self, wish: Wish, worker: str, say: Say = say_nothing) -> None:
        """`say` gets a line for the person when a test has to wait."""
        self._wish, self._worker, self._say = wish, worker, say
        self._stack = contextlib.ExitStack()
        self._open: list[TestedPlace] = []
        self._left = list(wish.places)

    def place_for(self, needs: Needs, besides: Collection[str] = ()) -> TestedPlace:
        """A place with what is needed that is none of `besides`: one that we have, else one that is free, for which is
        waited as long as the wish says, in the order of coming. Of several that with the fewest features that are not
        needed: others may need them.

        Raises NothingFits; PlaceBusy when those that fit are used or in quarantine; and what
        `test_place.open_bench_place` raises.
        """
        found = self._place_now(needs, besides)
        if isinstance(found, dict) and self._wish.wait_s > 0:
            names = [name for name, error in found.items() if isinstance(error, PlaceBusy)]
            found = self._wait(names, _told(found), needs, besides) if names else found
        if not isinstance(found, dict):
            return found
        raise PlaceBusy(
            _told(found),
            remedy="give as many places as there are workers and units (--assay-place, -n), or wait "
            "(--assay-wait SECONDS)",
        )

    def _wait(
        self, names: Collection[str], why: str, needs: Needs, besides: Collection[str]
    ) -> TestedPlace | dict[str, AssayError]:
        """Stand in the lines of the places until one of them is ours, or the time is over."""
        self._say(f"{why}; this waits for it, at most {self._wish.wait_s:g} s")
        deadline_s = time.monotonic() + self._wish.wait_s
        with contextlib.ExitStack() as stack:
            lines = [stack.enter_context(test_place.in_line(self._wish, name)) for name in names]
            while time.monotonic() < deadline_s:
                time.sleep(ASK_AGAIN_S)
                asked = [is_free() for is_free in lines]  # each one: who is silent in a line is passed
                if any(asked):
                    found = self._place_now(needs, besides)
                    if not isinstance(found, dict):
                        return found
        return self._place_now(needs, besides)

    def _place_now(self, needs: Needs, besides: Collection[str]) -> TestedPlace | dict[str, AssayError]:
        """The place, or who is in the way of those that fit, by their name. Raises NothingFits."""
        reasons = []
        for place in sorted(self._open, key=lambda place: needs.spares(place.features)):
            reason = "is taken by this test" if place.name in besides else needs.lacks(place.board.name, place.features)
            if not reason:
                return place
            reasons.append(reason)
        busy: dict[str, AssayError] = {}
        offers = {name: self._offer(name) for name in self._left}
        for name, offer in sorted(offers.items(), key=lambda each: needs.spares(each[1][1]) if each[1] else 0):
            if offer and (reason := needs.lacks(*offer)):
                reasons.append(reason)
                continue
            try:
                opened = self._take(name)
            except (PlaceBusy, InQuarantine) as error:
                busy[name] = error
                continue
            if not (reason := needs.lacks(opened.board.name, opened.features)):
                return opened
            reasons.append(reason)
        if busy:
            return busy
        raise NothingFits("; ".join(dict.fromkeys(reasons)))

    def _offer(self, name: str) -> tuple[str, tuple[str, ...]] | None:
        """Board and features of a place that is not open; None for the only one, which is opened to see."""
        return test_place.offer_of(self._wish, name) if len(self._wish.places) > 1 else None

    def _take(self, name: str) -> TestedPlace:
        if not self._wish.quarantined:
            test_place.check_quarantine(self._wish, name)
        wish = replace(self._wish, places=(name,))
        opened = self._stack.enter_context(test_place.open_bench_place(wish, self._worker))
        self._left.remove(name)
        self._open.append(opened)
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def _told(busy: dict[str, AssayError]) -> str:
    return "; ".join(error.message for error in busy.values())
