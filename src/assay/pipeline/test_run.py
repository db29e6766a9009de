# SPDX-License-Identifier: Apache-2.0
"""`assay test`: a suite on a unit, judged, reported and signed by a process that no test ever was in.

Guards: the digests of suite, image and unit are taken here, before and after; PASS only when events, exit status and
the unit itself agree, and when the record is durable. A run without a test result leaves a record that says where it
stopped.
Leaves to others: pytest (`test_process`), the units (`test_units`), the verdict (`stages.hil`), the record
(`test_record`).
"""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from assay.drivers.console_tap import make_tap_folder
from assay.drivers.labgrid.client import folders_of
from assay.errors import AssayError, ExitStatus, InfrastructureError, Interrupted, Layer, StorageError, UsageFault
from assay.model.board import Board
from assay.model.outcome import Outcome, exit_status
from assay.model.trust import Role
from assay.model.verdict import SuiteRun
from assay.pipeline import linux_places, quarantine, test_sandbox
from assay.pipeline.manifest_files import BOARDS
from assay.pipeline.proved_unit import parse_wanted
from assay.pipeline.test_place import FRESH_TWIN
from assay.pipeline.test_process import TestCommand, running
from assay.pipeline.test_record import VERB, SuiteFacts, record_run
from assay.pipeline.test_suite import Suite, read_suite

if TYPE_CHECKING:
    from assay.model.record import RecordRef
    from assay.model.trust import TrustFile
    from assay.pipeline.manifest_files import AnyBoard
    from assay.pipeline.places import PlaceAddress
    from assay.pipeline.site import Site
    from assay.pipeline.test_record import AnyTestedUnit
    from assay.pipeline.test_subject import Examiner, UnderTest

WORKERS_MAX = 32
"""Twins at once: 32 boot in 2.4 s on two cores, and hold 40 MB each."""
_NOT_DONE = "not done after "

Say = Callable[[str], None]
Tell = Callable[[bytes], None] | None
"""Gets the lines of pytest as they come."""


@dataclass(frozen=True)
class TestOrder:
    """What the user asks for. `place` is a place's name, or `twin:BOARD`; `serial` the unit that has to be there; times
    in seconds. `images` (`FILE`, `N=FILE`) stand for a release on somebody else's board, `unverified` takes them if
    nobody could verify who signed them, too. `sandbox_*` open the sandbox: paths, with `:rw` to write, and the network.
    """

    __test__ = False

    suite: Path
    place: str
    release: str | None
    trust: Path
    results: Path
    workers: int = 1
    timeout_s: float = 600.0
    wait_s: float = 0.0
    bench: Path | None = None
    serial: str | None = None
    sandbox_bind: tuple[str, ...] = ()
    sandbox_net: bool = False
    quarantined: bool = False
    images: tuple[str, ...] = ()
    unverified: bool = False

    @property
    def opened(self) -> tuple[str, ...]:
        """What the user opened in the sandbox, for the record."""
        return (*self.sandbox_bind, *(["network"] if self.sandbox_net else []))


@dataclass(frozen=True)
class TestAnswer:
    """What came of it: the run, the units as we saw them, the record, and the SHA-256 of the reports by name."""

    __test__ = False

    run: SuiteRun
    units: tuple[AnyTestedUnit, ...]
    tested: UnderTest
    record: RecordRef
    files: dict[str, str]
    sandbox: test_sandbox.Sandbox

    @property
    def status(self) -> ExitStatus:
        """The exit status of the verb."""
        return exit_status(self.run.outcome, device_answers=self.run.device_answers)


def run_suite(site: Site, order: TestOrder, *, warn: Say, say: Say, tell: Tell = None) -> TestAnswer:
    """Test the unit on the place. FAIL and ERROR of the suite are answers; `say` gets progress, `warn` what matters.

    Raises what keeps a run from beginning: UsageFault, Refused and its kin, InfrastructureError; NotRecorded.
    """
    from assay.pipeline.foreign_images import ImageChoice, parse_images
    from assay.pipeline.test_subject import under_test
    from assay.pipeline.trust_file import load_trust

    _check(order)
    if not order.quarantined and not order.place.startswith(FRESH_TWIN):
        quarantine.check(site, order.place)
    test_sandbox.check_opened(order.sandbox_bind, site.keys_dir)
    suite, trust, sandbox = read_suite(order.suite), load_trust(order.trust), test_sandbox.choose()
    if sandbox == "none":
        warn(f"no sandbox, the tests could read this site's keys: {test_sandbox.why_not()}")
    choice = ImageChoice(parse_images(order.images), order.trust, order.unverified)
    # What a unit runs may be tested for ever; a twin that is made for the run is not given what was withdrawn.
    there = not order.place.startswith(FRESH_TWIN)
    tested = under_test(site, _board(site, order), order.release, choice, trust, say, withdrawn=there)
    site.signers.public_key(Role.BENCH)  # a bench that cannot sign finds out before the suite runs
    key = f"{order.place}#{secrets.token_hex(8)}"  # a suite is never taken up in its middle
    with contextlib.ExitStack() as stack:
        places, ports = _hold_places(site, order, tested, trust, stack, say)
        board = tested.board
        run = stack.enter_context(
            site.journals.open_run(VERB, key, place=order.place, board=board.name, emulated=board.emulated)
        )
        checkpoint = site.recorder.checkpoint()
        facts = SuiteFacts(site, run, order.place, tested, suite.name, suite.sha256, checkpoint, sandbox, order.opened)
        return _SuiteRunner(order, facts, suite, trust, say, ports).carry_out(places, tell)


def _check(order: TestOrder) -> None:
    if not 1 <= order.workers <= WORKERS_MAX:
        raise UsageFault(f"{order.workers} workers", remedy=f"give 1 to {WORKERS_MAX}")
    if order.workers > 1 and not order.place.startswith(FRESH_TWIN):
        raise UsageFault(
            "the verdict on a unit needs the whole suite on that unit, not shared out to workers",
            remedy="leave -n out, and run `assay test` once for each place; -n is for --place twin:BOARD",
        )
    if parse_wanted(order.serial) is not None and order.place.startswith(FRESH_TWIN):
        raise UsageFault("a fresh twin has no serial number", remedy="leave --serial out, or name the unit's place")
    if (order.release is None) == (not order.images):
        raise UsageFault(
            "expected either --release or --image",
            remedy="name the release under test, or, for somebody else's board, the image file that it runs",
        )
    if order.images and order.serial is not None:
        raise UsageFault("somebody else's board cannot prove a serial number", remedy="leave --serial out")
    if order.unverified and not order.images:
        raise UsageFault("--accept-unverified-image goes with --image", remedy="leave it out")


def _board(site: Site, order: TestOrder) -> AnyBoard:
    from assay.pipeline.manifest_files import board_file, load_board, project_root
    from assay.pipeline.places import find_place

    if order.place.startswith(FRESH_TWIN):
        return load_board(board_file(project_root(Path.cwd()), order.place.removeprefix(FRESH_TWIN)))
    return find_place(site, order.place, bench=order.bench).board


def _hold_places(
    site: Site,
    order: TestOrder,
    tested: UnderTest,
    trust: TrustFile,
    stack: contextlib.ExitStack,
    say: Say,
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The names of the places, ours until the stack ends: the children share what we hold, others wait. With them the
    ports of those that labgrid told.
    """
    from assay.pipeline.fresh_twin import fresh_twin
    from assay.pipeline.place_hold import hold
    from assay.pipeline.places import find_place, twin_power
    from assay.pipeline.test_subject import ReleaseUnderTest

    names, ports = [order.place], dict[str, str]()
    if order.place.startswith(FRESH_TWIN):
        assert isinstance(tested, ReleaseUnderTest)  # a board of ours
        twin = functools.partial(fresh_twin, site, tested.board, tested.image, trust)
        names = [stack.enter_context(twin(str(number))) for number in range(order.workers)]
    for name in names:
        address = find_place(site, name, bench=order.bench)
        port = hold(address, stack, verb=VERB, wait_s=order.wait_s, say=say)
        ports |= {address.port: port} if address.labgrid is not None else {}
        if address.twin is not None:  # the tests run where no twin can be started
            twin_power(site, address, stack, say)
    return tuple(names), ports


@dataclass
class _SuiteRunner:
    """One run, from the first question to the unit to the record."""

    order: TestOrder
    facts: SuiteFacts
    suite: Suite
    trust: TrustFile
    say: Say
    labgrid_ports: dict[str, str] = field(default_factory=dict)
    units: list[AnyTestedUnit] = field(default_factory=list)

    def carry_out(self, places: tuple[str, ...], tell: Tell) -> TestAnswer:
        """Ask, test, ask again, judge, record."""
        facts, examiner = self.facts, self._examiner()
        try:
            self._find(examiner, places)
        except AssayError as error:
            self._record_fault(error)
            raise
        command = self._command(places)
        verdict = self._ask_again(examiner, self._test(command, tell))
        if _changed(command.suite, facts.suite_sha256):
            verdict = _error(verdict, "the suite's files changed while it ran", "suite")
        facts.run.begin("record")
        record, files = record_run(facts, verdict, tuple(self.units), self.order.results)
        return TestAnswer(verdict, tuple(self.units), facts.tested, record, files, facts.sandbox)

    def _examiner(self) -> Examiner:
        from assay.pipeline.test_foreign import ForeignExaminer, ImagesUnderTest
        from assay.pipeline.test_subject import ReleaseUnderTest
        from assay.pipeline.test_units import UnitExaminer

        facts, order = self.facts, self.order
        if isinstance(facts.tested, ImagesUnderTest):
            return ForeignExaminer(facts.site, facts.tested.images, order.bench)
        assert isinstance(facts.tested, ReleaseUnderTest)
        return UnitExaminer(facts.site, facts.tested.image, self.trust, facts.checkpoint, order.bench, order.serial)

    def _find(self, examiner: Examiner, places: tuple[str, ...]) -> None:
        run = self.facts.run
        run.begin("find")
        self.units = [examiner.before(place) for place in places]
        run.identify(serial=self.units[0].serial if len(self.units) == 1 else None)
        run.done("find", {"units": [unit.known_as for unit in self.units]})
        for unit in self.units:
            self.say(f"{unit.place}: {unit.known_as} runs {self.facts.tested.reference}")

    def _record_fault(self, error: AssayError) -> None:
        """A unit that cannot be tested leaves a record and reports, too; the error stays the answer."""
        from assay.pipeline.run_journal import timestamp

        verdict = SuiteRun(
            suite=self.facts.suite,
            started=self.facts.run.state.started,
            finished=timestamp(self.facts.site.clock),
            outcome=Outcome.ERROR,
            reason=error.message,
            layer=_layer_of(error),
        )
        record_run(self.facts, verdict, tuple(self.units), self.order.results)

    def _test(self, command: TestCommand, tell: Tell) -> SuiteRun:
        from assay.pipeline.run_journal import timestamp
        from assay.pipeline.test_events import read_events
        from assay.stages.hil.verdict import judge_run

        site, run = self.facts.site, self.facts.run
        run.begin("suite")
        started = timestamp(site.clock)
        status, stopped = self._run_child(command, tell)
        try:
            events, fault = read_events(command.events), ""
        except InfrastructureError as error:  # somebody wrote into the results: they prove nothing
            events, fault = [], error.message
        verdict = judge_run(
            self.facts.suite, events, exit_status=status, started=started, finished=timestamp(site.clock)
        )
        if fault:
            verdict = _error(verdict, fault, "suite")
        if stopped:
            outcome = Outcome.TIMEOUT if stopped.startswith(_NOT_DONE) else Outcome.ABORTED
            verdict = verdict.model_copy(
                update={"outcome": outcome, "reason": stopped, "layer": None, "device_answers": False}
            )
        run.done("suite", {"outcome": verdict.outcome.value, "exit_status": status})
        return verdict

    def _run_child(self, command: TestCommand, tell: Tell) -> tuple[int | None, str]:
        """pytest's exit status, and why it was stopped; empty when it ended by itself."""
        with running(command, self.facts.sandbox, self.order.results / "pytest.log", tell) as child:
            try:
                status = child.wait(self.order.timeout_s)
                if status is not None:
                    return status, ""
                stopped = f"{_NOT_DONE}{self.order.timeout_s:g} s"
            except Interrupted as interrupted:
                stopped = str(interrupted)
            return child.end(), stopped

    def _ask_again(self, examiner: Examiner, verdict: SuiteRun) -> SuiteRun:
        """The units after the suite. One that is silent, or another, or runs another image, makes the run ERROR."""
        run, faults, layer = self.facts.run, [], None
        run.begin("ask-again")
        for index, unit in enumerate(self.units):
            try:
                self.units[index] = examiner.after(unit)
            except AssayError as error:
                faults.append(f"after the suite, {unit.place}: {error.message}")
                layer = layer or _layer_of(error)
        run.done("ask-again", {"faults": faults})
        if faults and verdict.outcome not in (Outcome.ABORTED, Outcome.TIMEOUT):
            return _error(verdict, faults[0], layer)
        return verdict.model_copy(update={"device_answers": not faults})

    def _command(self, places: tuple[str, ...]) -> TestCommand:
        site, order = self.facts.site, self.order
        events = order.results.absolute() / "events" / self.facts.run.run_id
        try:
            for folder in (events, site.twins_dir):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            remedy = "give a results folder that can be written"
            raise StorageError(f"{error.filename}: {error.strerror}", remedy=remedy) from error
        copy = events / "tests" / self.suite.name
        self.suite.copy_to(copy)
        return TestCommand(
            suite=copy,
            places=places,
            tested=self.facts.tested.words,
            trust=order.trust.absolute(),
            site=site.folder.absolute(),
            events=events,
            view=self._view(places, events, copy),
            labgrid_ports=self.labgrid_ports,
            bench=order.bench.absolute() if order.bench else None,
        )

    def _view(self, places: tuple[str, ...], events: Path, copy: Path) -> test_sandbox.SandboxView:
        """The project and the site to read, without keys; its own twins and the events to write; the ports."""
        from assay.pipeline.manifest_files import project_root
        from assay.pipeline.places import find_place

        site, order, root = self.facts.site, self.order, project_root(Path.cwd())
        addresses = [find_place(site, name, bench=order.bench) for name in places]
        programs = [path for address in addresses if address.labgrid for path in folders_of(address.labgrid)]
        named = [path.absolute() for path in (order.trust, order.bench) if path is not None]
        named += [*self.facts.tested.shown, *(path for each in addresses for path in linux_places.key_files(each))]
        keys = site.keys_dir.absolute()
        return test_sandbox.SandboxView(
            shown=(root, *_boards_behind_a_link(root), site.folder.absolute(), make_tap_folder(), *named, *programs),
            writable=(*(address.twin.absolute() for address in addresses if address.twin is not None), events),
            fixed=(copy,),
            hidden=(keys, keys.resolve(), root / ".assay" / "keys"),
            ports=tuple(self.labgrid_ports.get(address.port, address.port) for address in addresses),
            network=order.sandbox_net or any(_by_network(address) for address in addresses),
            opened=order.sandbox_bind,
        )


def _by_network(address: PlaceAddress) -> bool:
    """Its power switch, its console or its unit is reached by one."""
    ssh = isinstance(address.board, Board) and address.board.ssh is not None
    return ssh or bool(address.power or address.labgrid)


def _boards_behind_a_link(root: Path) -> tuple[Path, ...]:
    """The folder with the boards, where the project has only a link to it: the test process reads them, too."""
    boards = root / BOARDS
    return (boards.resolve(),) if boards.is_symlink() else ()


def _changed(suite: Path, sha256: str) -> bool:
    try:
        return read_suite(suite).sha256 != sha256
    except AssayError:  # it is gone, or holds links now
        return True


def _error(verdict: SuiteRun, reason: str, layer: Layer | None) -> SuiteRun:
    return verdict.model_copy(update={"outcome": Outcome.ERROR, "reason": reason, "layer": layer})


def _layer_of(error: AssayError) -> Layer | None:
    """None for what is refused: that is no fault of the infrastructure."""
    return error.layer if isinstance(error, InfrastructureError) else None
