# SPDX-License-Identifier: Apache-2.0
"""Somebody else's board under test: its place in a test process, the units as the process that signs sees them, and
what the record says of images that no release of this project is about.

Guards: the images are verified as far as anybody can before a test begins, and the server names them as active before
and after each test; the record says what such a board cannot prove, and is no test result of a release.
Leaves to others: opening the place (`foreign_place`), image files (`foreign_images`), the question (`foreign_proof`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import AssayError, UsageFault, at_layer
from assay.model.attempts import flaky
from assay.model.foreign_unit import ForeignTestedUnit, ForeignUnitSeen
from assay.model.foreign_verdict import ForeignTest
from assay.model.outcome import Outcome
from assay.model.record import RecordType
from assay.model.statement import PredicateType, Statement, Subject
from assay.pipeline.foreign_images import CANNOT, ImageChoice, check_emulated, reference_of
from assay.pipeline.foreign_place import ForeignPlace, open_foreign_place
from assay.pipeline.unit_records import statement_of
from assay.stages.flashing.foreign_checks import check_board
from assay.stages.flashing.foreign_unit import Answering
from assay.stages.hil.foreign_proof import ForeignExpected, ForeignPower, ForeignUnit, ask, check_runs
from assay.stages.hil.unit_under_test import ConsoleLines, UnitPower, restart

if TYPE_CHECKING:
    from assay.interfaces.smp_server import SmpServer
    from assay.interfaces.step_book import Say
    from assay.model.foreign_board import ForeignBoard
    from assay.model.predicates import RunHeader
    from assay.model.trust import TrustFile
    from assay.model.verdict import SuiteRun
    from assay.pipeline.site import Site
    from assay.pipeline.test_record import SuiteFacts
    from assay.stages.flashing.foreign_unit import Numbered

VERB = "test"


@dataclass
class ForeignBenchPlace:
    """A place with somebody else's board, for one test process (see `test_place.BenchPlace`)."""

    name: str
    board: ForeignBoard
    device: SmpServer
    console: ConsoleLines
    power: UnitPower | None
    images: tuple[ForeignExpected, ...]
    features: tuple[str, ...] = ()
    _last: ForeignUnit | None = None

    def ready(self) -> ForeignUnit:
        """Power on, the app's server up, the images named as active.

        Raises InfrastructureError, or WrongBoard, with the layer that is to blame.
        """
        if self.power is not None and not self.power.is_on():
            self.power.on()
        answer = ask(self.device, self.board)
        check_board(self.board, Answering(answer.app, answer.slots, answer.says))
        check_runs(answer, self.images)
        self._last = ForeignUnit(self.name, self.board, self.images, answer.says, answer.slots)
        return self._last

    def restart(self, how: str, off_s: float) -> None:
        """The known power state before another attempt. Raises InfrastructureError of layer power."""
        restart(self.name, self.power, how, off_s)

    def answers(self) -> bool:
        """True when the device answers anything."""
        try:
            self.device.slots()
        except AssayError:
            return False
        return True

    def seen(self) -> ForeignUnitSeen:
        """The unit at the last proof, for an event."""
        assert self._last is not None
        return _seen(self._last)


def foreign_bench_place(place: ForeignPlace, images: tuple[Numbered, ...]) -> ForeignBenchPlace:
    """`place`, with the images under test."""
    power = None
    if place.power is not None:
        power = ForeignPower(place.power, place.app, place.clock.sleep, place.app, place.board)
    expected = tuple(ForeignExpected(each.number, each.image_hash, each.name) for each in images)
    lines = ConsoleLines(place.app)
    return ForeignBenchPlace(place.name, place.board, place.app, lines, power, expected, place.features)


@dataclass(frozen=True)
class ImagesUnderTest:
    """Image files on somebody else's board (`test_run.UnderTest`)."""

    choice: ImageChoice
    board: ForeignBoard
    images: tuple[Numbered, ...]

    @property
    def reference(self) -> str:
        """For people."""
        return ", ".join(
            f"{path.name} ({each.name})" for (_, path), each in zip(self.choice.files, self.images, strict=True)
        )

    @property
    def words(self) -> tuple[str, ...]:
        """How the test process is told of it."""
        words = [f"--assay-image={number}={path.absolute()}" for number, path in self.choice.files]
        return (*words, *(["--assay-accept-unverified-image"] if self.choice.unverified else []))

    @property
    def shown(self) -> tuple[Path, ...]:
        """Files that the test process has to see."""
        return tuple(path.absolute() for _, path in self.choice.files)

    @property
    def properties(self) -> dict[str, str]:
        """What readers of JUnit and OpenHTF look for."""
        return {
            "assay.image.sha256": ",".join(each.image.file_sha256 for each in self.images),
            "assay.image.hash": ",".join(each.image_hash.hex() for each in self.images),
            "assay.image.version": ",".join(each.image.says.version for each in self.images),
            "assay.image.how": "quoted",
        }

    @property
    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        images = [reference_of(each).model_dump(mode="json") for each in self.images]
        return {"images": images, "how": "quoted", "cannot": list(CANNOT)}

    @property
    def cautions(self) -> tuple[str, ...]:
        """What no record about it can say."""
        return CANNOT

    def record(
        self,
        facts: SuiteFacts,
        header: RunHeader,
        verdict: SuiteRun,
        units: tuple[ForeignTestedUnit, ...],
        files: dict[str, str],
    ) -> tuple[RecordType, Statement]:
        """The record's type and statement: the subjects are the image files."""
        warned = flaky(verdict.cases, verdict.retries)
        passed = verdict.outcome is Outcome.PASS
        predicate = ForeignTest(
            run=header,
            result="FAILED" if not passed else "WARNED" if warned else "PASSED",
            images=tuple(reference_of(each) for each in self.images),
            mode=self.board.mcuboot.mode,
            how="quoted",
            cannot=CANNOT,
            suite=facts.suite,
            suite_sha256=facts.suite_sha256,
            units=units,
            sandbox=facts.sandbox,
            sandbox_opened=facts.opened or None,
            cases=verdict.cases,
            warned=warned,
            skipped=verdict.skipped,
            retries=verdict.retries or None,
            files=files,
        )
        subjects = [Subject(name=each.name, digest={"sha256": each.image.file_sha256}) for each in self.images]
        return RecordType.FOREIGN_TEST, statement_of(PredicateType.FOREIGN_TEST, predicate, *subjects)


def images_under_test(choice: ImageChoice, board: ForeignBoard, trust: TrustFile, say: Say) -> ImagesUnderTest:
    """The images, verified as far as they can be. Raises UsageFault, NotVerified, Refused."""
    if not choice.files:
        raise UsageFault(
            f"{board.name} is somebody else's board: no release of this project runs there",
            remedy="name the image file that it runs: assay test SUITE --image FILE",
        )
    check_emulated(trust, board)
    return ImagesUnderTest(choice, board, choice.verified(trust, board, say))


@dataclass(frozen=True)
class ForeignExaminer:
    """Asks units which image their server names, for the process that signs."""

    site: Site
    images: tuple[Numbered, ...]
    bench: Path | None = None

    def before(self, place_name: str) -> ForeignTestedUnit:
        """The unit on the place. Raises InfrastructureError, WrongBoard."""
        return ForeignTestedUnit(**dict(_seen(self._ask(place_name))))

    def after(self, unit: ForeignTestedUnit) -> ForeignTestedUnit:
        """What is on the place now: the same unit or another one, which nobody can tell."""
        return unit.model_copy(update={"slots_after": self._ask(unit.place).seen()})

    def _ask(self, place_name: str) -> ForeignUnit:
        with at_layer("port"):
            place = open_foreign_place(self.site, place_name, verb=VERB, bench=self.bench)
        with place:
            return foreign_bench_place(place, self.images).ready()


def _seen(unit: ForeignUnit) -> ForeignUnitSeen:
    board = unit.board
    return ForeignUnitSeen(
        place=unit.place,
        board=board.name,
        revision=board.revision,
        emulated=board.emulated,
        says=unit.says,
        slots=unit.seen(),
    )
