# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: fixtures `unit`, `units`, `console`, `power`, `smp` and `measure` for tests that run on a board.

Guards: a test counts only when the device has proved, before it and after it, that it runs the image under test; what
the bench did wrong is ERROR and never FAIL; results are on disk before the next test begins.
Leaves to others: places and twins (`pipeline.test_place`), what an exception says (`stages.hil`), signing.
Every pytest of the environment loads this module: it imports nothing of ours before an option or a fixture asks for it.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Collection, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from assay.interfaces.device import Device
    from assay.interfaces.smp_server import SmpServer
    from assay.pipeline.test_attempts import Attempts
    from assay.pipeline.test_place import TestedPlace
    from assay.pipeline.test_places import OpenPlaces, UnitAccess
    from assay.pipeline.test_session import SuiteSession
    from assay.stages.hil.case_watch import CaseWatch
    from assay.stages.hil.foreign_proof import ForeignUnit
    from assay.stages.hil.measuring import DeclaredMeasurement
    from assay.stages.hil.unit_under_test import ConsoleLines, UnitPower, UnitUnderTest

_DRIVER_OPTIONS = (
    ("driver", "NAME", "The driver that assay.conformance is run on: its entry point, or module:function."),
    ("driver-address", "ADDRESS", "Where the driver's device is."),
    ("driver-option", "KEY=VALUE", "An option of the driver, as in bench.toml; may be repeated."),
    ("driver-absent", "ADDRESS", "Where no device is, to see the driver say so."),
    ("driver-port", "ADDRESS", "For a flasher: the serial port of its unit, where it needs one."),
    ("flash-at", "WHERE", "For a flasher: an address, a path, or none, where the suite may write."),
    ("flash-bytes", "N", "For a flasher: how many bytes it writes there."),
)

NO_PLACE = "no place: name one with --assay-place NAME (or ASSAY_PLACE)"
_SESSION: pytest.StashKey[SuiteSession] = pytest.StashKey()
_WATCH: pytest.StashKey[CaseWatch] = pytest.StashKey()
_ATTEMPTS: pytest.StashKey[Attempts] = pytest.StashKey()

_OPTIONS = (
    ("place", "NAME", "A place of the bench, a twin of the site, or twin:BOARD for a fresh twin; may be repeated."),
    ("board", "BOARD", "The board that has to be on the place."),
    ("release", "NAME@VERSION", "The release under test."),
    ("image", "[N=]FILE", "Instead of a release, on somebody else's board: the image file; N is its image number."),
    ("trust", "FILE", "The trust file that the release has to verify with."),
    ("site", "DIR", "The site folder [default: the nearest .assay]."),
    ("bench", "FILE", "The bench.toml with the places."),
    ("wait", "SECONDS", "Wait for a place that somebody uses [default: 0]."),
    ("results", "DIR", "Write events, suite.json, junit.xml and openhtf.json to this new folder."),
    ("events", "DIR", "Write only the events."),
)
_FLAGS = ("quarantined", "accept-unverified-image")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Every option has a variable: `--assay-place` is `ASSAY_PLACE`, several places with commas."""
    group = parser.getgroup("assay", "tests on a board (assay)")
    for name, metavar, help_text in _OPTIONS:
        action = "append" if name in ("place", "image") else "store"
        group.addoption(f"--assay-{name}", action=action, default=None, metavar=metavar, help=help_text)
    group.addoption(
        "--assay-quarantined", action="store_true", help="Use places that are in quarantine, too (ASSAY_QUARANTINED=1)."
    )
    group.addoption(
        "--assay-accept-unverified-image",
        action="store_true",
        help="Test an image that nobody signed, or with a key that the trust file does not name.",
    )
    for name, metavar, help_text in _DRIVER_OPTIONS:
        action = "append" if name == "driver-option" else "store"
        group.addoption(f"--assay-{name}", action=action, default=None, metavar=metavar, help=help_text)


def pytest_configure(config: pytest.Config) -> None:
    """One session object for each process: the main one, and each worker of xdist."""
    config.addinivalue_line(
        "markers", "unit(name, board=NAME, feature=NAME): what a test needs of a unit; skipped where no place has it"
    )
    config.addinivalue_line(
        "markers",
        "retry(attempts=2, on='error', from_power='as-is', off_s=0.05, counts='every', group=None): try a test again",
    )
    from assay.errors import AssayError
    from assay.pipeline.test_session import SuiteSession, wish_of

    try:
        wish = wish_of({name: config.getoption(f"--assay-{name}") for name in (*(row[0] for row in _OPTIONS), *_FLAGS)})
    except AssayError as error:
        raise pytest.UsageError(str(error)) from error
    if fault := wish.incomplete():
        raise pytest.UsageError(fault)
    try:
        session = SuiteSession(wish, _worker_of(config), config.rootpath.name)
    except AssayError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_SESSION] = session
    config.pluginmanager.register(_Interruptions(session), "assay-interruptions")
    session.watch_signals()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Release what this process held."""
    if _SESSION in config.stash:
        config.stash[_SESSION].close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is tested, before it is."""
    wish = config.stash[_SESSION].wish
    return [f"assay: {wish.release or ', '.join(wish.images)} on {', '.join(wish.places)}"] if wish.places else []


# What happens in the session


def pytest_sessionstart(session: pytest.Session) -> None:
    """The first event."""
    session.config.stash[_SESSION].began()


def pytest_collection_finish(session: pytest.Session) -> None:
    """The tests that this process knows of, and which of them may be tried again."""
    config, retries = session.config, {}
    if any(item.get_closest_marker("retry") for item in session.items):
        from assay.pipeline.test_attempts import Attempts

        attempts = Attempts(config.stash[_SESSION], _WATCH)
        retries = attempts.declare(session.items, shared_out=hasattr(config, "workerinput"))
        config.stash[_ATTEMPTS] = attempts
        config.pluginmanager.register(attempts, "assay-attempts")
    config.stash[_SESSION].collected((item.nodeid for item in session.items), retries)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A file that cannot be loaded is a fault of the suite."""
    report = yield
    if report.failed:
        collector.config.stash[_SESSION].collect_failed(report.nodeid, report.longreprtext)
    return report


class _Interruptions:
    """A plug-in of its own, since pytest tells this hook nothing but the exception."""

    def __init__(self, session: SuiteSession) -> None:
        self._session = session

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """SIGINT, SIGTERM (see `watch_signals`) and `pytest.exit`; not what pytest and xdist raise for themselves."""
        if type(excinfo.value) in (KeyboardInterrupt, pytest.exit.Exception):
            self._session.aborted(str(excinfo.value) or excinfo.typename)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
    """The last event, and the reports: after every other plugin, so after the workers of xdist."""
    yield
    session.config.stash[_SESSION].finished(int(session.exitstatus if session.exitstatus else exitstatus))


# What happens in a test


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Watch the test from its beginning; an interrupted one gets no end, and so never looks like one that passed."""
    session = item.config.stash[_SESSION]
    if _ATTEMPTS in item.config.stash and item.config.stash[_ATTEMPTS].leads(item):
        return (yield)  # each attempt comes by here again
    if session.active or "measure" in getattr(item, "fixturenames", ()):
        item.stash[_WATCH] = session.begin_case(item.nodeid)
    answer = yield
    if _WATCH in item.stash:
        session.end_case(item.stash[_WATCH])
    return answer


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge each phase; a call whose measurements are out of limits failed, whatever it asserted."""
    report = yield
    session = item.config.stash[_SESSION]
    if _WATCH not in item.stash:
        return report
    if report.when == "setup" and item.stash[_WATCH].phases:  # somebody's plugin tries the test again
        session.end_case(item.stash[_WATCH])
        item.stash[_WATCH] = session.begin_case(item.nodeid)
    fault = session.judge(item.stash[_WATCH], report, _raised(call))
    if _ATTEMPTS in item.config.stash and item.config.stash[_ATTEMPTS].will_try_again(item.stash[_WATCH], fault):
        report.outcome = "rerun"  # type: ignore[assignment]  # the word that pytest-rerunfailures made known
    return report


def pytest_report_teststatus(report: Any) -> tuple[str, str, str] | None:
    """ERROR, TIMEOUT and their layer in pytest's own words; an attempt that does not count is no failure."""
    if report.outcome == "rerun":
        return "rerun", "R", "TRIED AGAIN"
    word: str | None = getattr(report, "assay_outcome", None)
    return ("error", "E", word) if word and report.when == "call" else None


def _raised(call: pytest.CallInfo[None]) -> BaseException | None:
    """What was raised, in words that `stages.hil.faults` knows: pytest's own failures are failed checks."""
    if call.excinfo is None:
        return None
    error = call.excinfo.value
    if isinstance(error, pytest.fail.Exception):
        # pytest-timeout ends a test by pytest.fail, and says so in these words only.
        from assay.errors import DeviceTimeout

        if str(error).startswith("Timeout (>"):
            return DeviceTimeout(str(error), remedy="")
        return AssertionError(str(error))
    return error


def _worker_of(config: pytest.Config) -> str:
    worker: dict[str, str] = getattr(config, "workerinput", {})
    return worker.get("workerid", "main")


# Fixtures


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Callable[..., DeclaredMeasurement]:
    """`measure("boot_time", unit="ms", high=400).take(value)`: limits first, then the value."""
    return request.node.stash[_WATCH].book.declare  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def _assay_places(request: pytest.FixtureRequest) -> Iterator[OpenPlaces]:
    """The places of this process: opened when a test needs them, ours until the last one is done."""
    session = request.config.stash[_SESSION]
    if not session.wish.places:
        pytest.skip(NO_PLACE)
    with session.open_places(functools.partial(_say, request.config)) as places:
        yield places


def _say(config: pytest.Config, line: str) -> None:
    """A line for the person, now: past what captures the output of tests, and past xdist."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        print(f"assay: {line}", file=sys.stderr, flush=True)


@pytest.fixture
def _assay_place(request: pytest.FixtureRequest, _assay_places: OpenPlaces) -> TestedPlace:
    """A place with what the test needs."""
    markers = [marker for marker in request.node.iter_markers("unit") if not marker.args]
    return _place_for(_assay_places, markers[0].kwargs if markers else {}, ())


def _place_for(places: OpenPlaces, words: dict[str, Any], besides: Collection[str]) -> TestedPlace:
    from assay.pipeline.test_places import Needs, NothingFits

    try:
        return places.place_for(Needs.of_marker(words), besides)
    except NothingFits as reason:
        pytest.skip(str(reason))


@pytest.fixture
def _assay_unit(request: pytest.FixtureRequest, _assay_place: TestedPlace) -> Iterator[UnitUnderTest | ForeignUnit]:
    """The unit, proved before the test and after it; stale console lines are dropped."""
    session = request.config.stash[_SESSION]
    yield session.ready(_assay_place, request.node.stash[_WATCH])
    session.prove_again(_assay_place, request.node.stash[_WATCH])


@pytest.fixture
def units(request: pytest.FixtureRequest, _assay_places: OpenPlaces) -> Iterator[dict[str, UnitAccess]]:
    """Several units by the names in the test's markers, `@pytest.mark.unit("left", feature="radio")`: each has `unit`,
    `console`, `power` and `smp`.
    """
    from assay.pipeline.test_places import UnitAccess

    session, watch = request.config.stash[_SESSION], request.node.stash[_WATCH]
    taken = {request.getfixturevalue("_assay_place").name} if "_assay_place" in request.fixturenames else set()
    places: dict[str, TestedPlace] = {}
    for marker in request.node.iter_markers("unit"):
        if marker.args and marker.args[0] not in places:
            places[marker.args[0]] = _place_for(_assay_places, marker.kwargs, taken)
            taken.add(places[marker.args[0]].name)
    if not places:
        raise pytest.UsageError('the fixture `units` takes names from the markers: @pytest.mark.unit("left")')
    yield {
        name: UnitAccess(session.ready(place, watch), place.console, place.power, place.device)
        for name, place in places.items()
    }
    for place in places.values():
        session.prove_again(place, watch)


@pytest.fixture
def unit(_assay_unit: UnitUnderTest | ForeignUnit) -> UnitUnderTest | ForeignUnit:
    """The unit: `info`, `serial`, `board`, `emulated`, `release`, `place`; somebody else's: `board`, `emulated`,
    `images`, `says`, `slots`, `place`.
    """
    return _assay_unit


@pytest.fixture
def console(_assay_unit: UnitUnderTest | ForeignUnit, _assay_place: TestedPlace) -> ConsoleLines:
    """The unit's console: `wait_for(pattern, timeout_s)`, `send(text)`, `lines()`."""
    if _assay_place.console is None:
        pytest.skip(f"place {_assay_place.name} has no console: its unit is reached over SSH alone")
    return _assay_place.console


@pytest.fixture
def power(_assay_unit: UnitUnderTest | ForeignUnit, _assay_place: TestedPlace) -> UnitPower:
    """The unit's power: `on()`, `off()`, `cut()`, `cycle(off_s)`, `is_on()`."""
    if _assay_place.power is None:
        pytest.skip(f"place {_assay_place.name} has no power switch")
    return _assay_place.power


@pytest.fixture
def smp(_assay_unit: UnitUnderTest | ForeignUnit, _assay_place: TestedPlace) -> Device | SmpServer:
    """The unit as SMP sees it (`assay.interfaces.device.Device`; somebody else's: `...smp_server.SmpServer`)."""
    return _assay_place.device
