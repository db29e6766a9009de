# SPDX-License-Identifier: Apache-2.0
"""One pytest process on the bench: what it was asked, its place, its tests, and the events it leaves.

Guards: an event is on disk before what comes after it; reports are made of the events, so that they cannot say more.
Leaves to others: pytest's hooks (`pytest_plugin`), the place (`test_place`), the verdict (`stages.hil.verdict`).
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from assay.errors import AssayError, UsageFault
from assay.model.outcome import Outcome

if TYPE_CHECKING:
    from assay.interfaces.clock import Clock
    from assay.interfaces.step_book import Say
    from assay.model.attempts import RetryRule
    from assay.model.verdict import Measurement
    from assay.pipeline.test_events import EventFile
    from assay.pipeline.test_place import TestedPlace
    from assay.pipeline.test_places import OpenPlaces
    from assay.stages.hil.case_watch import CaseWatch
    from assay.stages.hil.events import Event
    from assay.stages.hil.faults import Fault
    from assay.stages.hil.foreign_proof import ForeignUnit
    from assay.stages.hil.unit_under_test import UnitUnderTest

VARIABLE_PREFIX = "ASSAY_"
MESSAGE_END_MAX = 2000
"""Characters of the end of a message about a file that cannot be loaded: the error is in its last lines."""


@dataclass(frozen=True)
class Wish:
    """What the options and variables ask for."""

    places: tuple[str, ...] = ()
    board: str | None = None
    release: str | None = None
    trust: Path | None = None
    site: Path | None = None
    bench: Path | None = None
    results: Path | None = None
    events: Path | None = None
    quarantined: bool = False
    images: tuple[str, ...] = ()
    unverified: bool = False
    wait_s: float = 0.0

    def incomplete(self) -> str:
        """What is missing, with what to do; empty when nothing is."""
        if not self.places:
            return ""
        missing = [] if self.release or self.images else ["--assay-release"]
        missing += [] if self.trust is not None else ["--assay-trust"]
        what = "which image is under test (somebody else's board: --assay-image), and who vouches for it"
        needs = f"--assay-place needs {' and '.join(missing)}: {what}"
        return needs if missing else ""


def wish_of(options: Mapping[str, Any]) -> Wish:
    """From `--assay-...`, else from `ASSAY_...`; several places in one variable are parted by commas. Raises
    UsageFault for a time that is none.
    """
    found: dict[str, Any] = {}
    for name in ("board", "release", "trust", "site", "bench", "results", "events"):
        text = options.get(name) or os.environ.get(VARIABLE_PREFIX + name.upper())
        found[name] = text if name in ("board", "release") or not text else Path(text).absolute()
    named = options.get("place") or os.environ.get(VARIABLE_PREFIX + "PLACE", "").split(",")
    places = tuple(place.strip() for place in named if place.strip())
    if found["board"]:
        places = tuple(f"twin:{found['board']}" if place == "twin" else place for place in places)
    images = tuple(options.get("image") or filter(None, os.environ.get(VARIABLE_PREFIX + "IMAGE", "").split(",")))
    quarantined, unverified = _said(options, "quarantined"), _said(options, "accept-unverified-image")
    wait_s = _wait_s(options.get("wait") or os.environ.get(VARIABLE_PREFIX + "WAIT") or "0")
    return Wish(places=places, images=images, quarantined=quarantined, unverified=unverified, wait_s=wait_s, **found)


def _wait_s(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise UsageFault(f"{text!r} is no number of seconds to wait", remedy="write --assay-wait 60")
    return seconds


def _said(options: Mapping[str, Any], word: str) -> bool:
    variable = VARIABLE_PREFIX + word.upper().replace("-", "_")
    return bool(options.get(word)) or os.environ.get(variable) == "1"


class SuiteSession:
    """One process of pytest: `worker` is `main`, or the name that xdist gave it."""

    def __init__(self, wish: Wish, worker: str, suite: str) -> None:
        self.wish = wish
        self.worker = worker
        self.suite = suite
        self._attempts: dict[str, int] = {}
        self._units: set[str] = set()
        self._place: TestedPlace | None = None
        self._file: EventFile | None = None
        self._aborted = False
        self._trying = 1
        self._from: RetryRule | None = None
        self._restarted: set[str] = set()
        self._started = ""
        if self._folder is not None:
            from assay.pipeline.test_events import EventFile

            self._file = EventFile(self._folder, worker)

    @property
    def active(self) -> bool:
        """True when this run is about a place, or leaves results."""
        return bool(self.wish.places) or self._file is not None

    @cached_property
    def clock(self) -> Clock:
        """The host's clock."""
        from assay.backends.clocks.system_clock import SystemClock

        return SystemClock()

    def watch_signals(self) -> None:
        """SIGTERM ends pytest as SIGINT does, so that results are written and the place is given back."""
        if not self.active or self.worker != "main" or threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _interrupt)

    # The session

    def began(self) -> None:
        """The session starts."""
        self._started = self._now()
        if self._file is not None:
            from assay.stages.hil.events import SessionStarted

            self._write(SessionStarted(worker=self.worker, suite=self.suite, at=self._started))

    def collected(self, names: Iterable[str], retries: dict[str, RetryRule]) -> None:
        """The tests that will be run, and the rules of those that may be tried again."""
        if self._file is not None:
            from assay.stages.hil.events import Collected

            self._write(Collected(cases=tuple(names), retries=retries))

    def collect_failed(self, name: str, message: str) -> None:
        """A file of the suite cannot be loaded."""
        if self._file is not None:
            from assay.stages.hil.events import CollectFailed

            self._write(CollectFailed(name=name, message=message[-MESSAGE_END_MAX:]))

    def aborted(self, reason: str) -> None:
        """Somebody stops the run."""
        self._aborted = True
        if self._file is not None:
            from assay.stages.hil.events import Aborted

            self._write(Aborted(reason=f"stopped: {reason}", at=self._now()))

    def finished(self, exit_status: int) -> None:
        """The session ends; the main process writes the reports."""
        if self._file is None:
            return
        from assay.stages.hil.events import SessionFinished

        self._write(SessionFinished(worker=self.worker, exit_status=exit_status, at=self._now()))
        if self.worker == "main" and self.wish.results is not None:
            from assay.pipeline.test_reports import write_reports

            write_reports(self.wish.results, self.suite, started=self._started, finished=self._now())

    def close(self) -> None:
        """Release what is held."""
        if self._file is not None:
            self._file.close()
            self._file = None

    # The tests

    def begin_case(self, name: str) -> CaseWatch:
        """A test, or another attempt at it, begins."""
        from assay.stages.hil.case_watch import CaseWatch

        attempt = self._attempts[name] = max(self._attempts.get(name, 0) + 1, self._trying)
        now = self._now()
        if self._file is not None:
            from assay.stages.hil.events import CaseStarted

            self._write(CaseStarted(name=name, attempt=attempt, at=now))
        return CaseWatch(
            name=name,
            attempt=attempt,
            started=now,
            started_s=self.clock.monotonic_s(),
            on_taken=functools.partial(self._measured, name),
        )

    def trying(self, attempt: int, rule: RetryRule | None) -> None:
        """From now on this is that attempt at a group of tests; with `rule`, its power state comes first."""
        self._trying = attempt
        self._from = rule
        self._restarted.clear()

    def end_case(self, watch: CaseWatch) -> None:
        """A test has ended, its teardown too."""
        if self._file is None:
            return
        from assay.model.verdict import CaseResult
        from assay.stages.hil.events import CaseEnded, CaseSkipped

        result = watch.result(self.clock.monotonic_s())
        self._write(CaseEnded(case=result) if isinstance(result, CaseResult) else CaseSkipped(case=result))

    def judge(self, watch: CaseWatch, report: Any, error: BaseException | None) -> Fault | None:
        """Put one phase's report of pytest into our words, and ours into the report; answers what went wrong."""
        if report.skipped:
            watch.skipped(report.when, _skip_reason(report))
            return None
        fault = self._fault_of(watch, report, error)
        watch.saw(report.when, fault)
        if fault is None:
            return None
        if fault.outcome is Outcome.TIMEOUT and self._place is not None:
            watch.timed_out(self._place.answers)
        if fault.outcome is not Outcome.FAIL:
            report.assay_outcome = f"{fault.outcome} ({fault.layer})" if fault.layer else fault.outcome.value
        if isinstance(error, AssayError) and report.when != "call":
            report.longrepr = f"{error.message}\n  next: {error.remedy}"  # the traceback is ours, and of no help
        return fault

    def _fault_of(self, watch: CaseWatch, report: Any, error: BaseException | None) -> Fault | None:
        from assay.stages.hil.faults import Fault, judge_exception

        if report.failed and error is not None:
            return judge_exception(error, report.when)
        if report.failed:  # a strict xfail that passed
            return Fault(Outcome.FAIL, None, report.longreprtext)
        fault = watch.out_of_limits() if report.when == "call" else None
        if fault is not None:
            report.outcome = "failed"
            report.longrepr = fault.message
        return fault

    # The places

    @contextlib.contextmanager
    def open_places(self, say: Say) -> Iterator[OpenPlaces]:
        """The places of this process, until the block is left; `say` tells the person who is waited for."""
        from assay.pipeline.test_places import OpenPlaces

        with OpenPlaces(self.wish, self.worker, say) as places:
            try:
                yield places
            finally:
                self._place = None

    def ready(self, place: TestedPlace, watch: CaseWatch) -> UnitUnderTest | ForeignUnit:
        """The unit, proved to run the image under test; nothing that its console said before is left."""
        watch.place = f"{watch.place}, {place.name}" if watch.place else place.name
        self._place = place
        if self._from is not None and place.name not in self._restarted:
            place.restart(self._from.from_power, self._from.off_s)
            self._restarted.add(place.name)
        unit = place.ready()
        (place.console or place.device).drop_console()
        if self._file is not None and place.name not in self._units:
            from assay.stages.hil.events import UnitOpened

            self._write(UnitOpened(unit=place.seen()))
            self._units.add(place.name)
        return unit

    def prove_again(self, place: TestedPlace, watch: CaseWatch) -> None:
        """After the test, whatever it did to the power: the same image on the same chip, or the test does not count."""
        silent = any(fault.outcome is Outcome.TIMEOUT for fault in watch.faults) and not watch.device_answers
        if not self._aborted and not silent:
            place.ready()

    def _measured(self, name: str, measurement: Measurement) -> None:
        if self._file is not None:
            from assay.stages.hil.events import Measured

            self._write(Measured(case=name, measurement=measurement))

    @property
    def _folder(self) -> Path | None:
        return self.wish.events or self.wish.results

    def _write(self, event: Event) -> None:
        if self._file is not None:
            self._file.write(event)

    def _now(self) -> str:
        from assay.pipeline.run_journal import timestamp

        return timestamp(self.clock)


def _skip_reason(report: Any) -> str:
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return f"expected to fail: {expected}" if expected else "expected to fail"
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise KeyboardInterrupt(signal.Signals(number).name)
