# SPDX-License-Identifier: Apache-2.0
"""What a suite is run on: a release of this project on a board of ours, or image files on somebody else's board.

Guards: the two are never mixed; what is said of the second (`test_foreign`) claims nothing that only the first proves.
Leaves to others: the run (`test_run`), the units (`test_units`, `test_foreign`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from assay.errors import UsageFault
from assay.model.board import Board
from assay.model.foreign_board import ForeignBoard
from assay.model.record import RecordType
from assay.model.verdict import BenchRun
from assay.pipeline.manifest_files import not_ours
from assay.pipeline.unit_records import parse_reference, reference_of
from assay.stages.hil.statement import result_statement

if TYPE_CHECKING:
    from assay.interfaces.step_book import Say
    from assay.model.artifact import VerifiedImage
    from assay.model.predicates import RunHeader
    from assay.model.statement import Statement
    from assay.model.trust import TrustFile
    from assay.model.verdict import SuiteRun, TestedUnit
    from assay.pipeline.foreign_images import ImageChoice
    from assay.pipeline.manifest_files import AnyBoard
    from assay.pipeline.site import Site
    from assay.pipeline.test_record import SuiteFacts


class UnderTest(Protocol):
    """What the run, the record and the command need of it."""

    @property
    def board(self) -> Board | ForeignBoard:
        """The board that has to be there."""
        ...

    @property
    def reference(self) -> str:
        """For people."""
        ...

    @property
    def words(self) -> tuple[str, ...]:
        """How the test process is told of it."""
        ...

    @property
    def shown(self) -> tuple[Path, ...]:
        """Files that the test process has to see beside project and site."""
        ...

    @property
    def properties(self) -> dict[str, str]:
        """What readers of JUnit and OpenHTF look for."""
        ...

    @property
    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        ...

    @property
    def cautions(self) -> tuple[str, ...]:
        """What no record about it can say."""
        ...

    def record(
        self, facts: SuiteFacts, header: RunHeader, verdict: SuiteRun, units: tuple[Any, ...], files: dict[str, str]
    ) -> tuple[RecordType, Statement]:
        """The record of a run that speaks about the unit: type and statement."""
        ...


class Examiner(Protocol):
    """Asks the unit on a place, before the suite and after it."""

    def before(self, place_name: str) -> Any:
        """The unit. Raises InfrastructureError, WrongBoard, WrongUnit, NotVerified."""
        ...

    def after(self, unit: Any) -> Any:
        """The same unit again. Raises the same."""
        ...


@dataclass(frozen=True)
class ReleaseUnderTest:
    """A verified release on a board that the firmware here is built for."""

    image: VerifiedImage
    board: Board

    @property
    def reference(self) -> str:
        """`name@version`."""
        return self.image.release.reference

    @property
    def words(self) -> tuple[str, ...]:
        """How the test process is told of it."""
        return ("--assay-release", self.reference)

    @property
    def shown(self) -> tuple[Path, ...]:
        """It lies in the site's store."""
        return ()

    @property
    def properties(self) -> dict[str, str]:
        """What readers of JUnit and OpenHTF look for."""
        image = self.image.release.image
        return {
            "assay.release": self.reference,
            "assay.image.sha256": image.file_sha256,
            "assay.image.hash": image.image_hash,
        }

    @property
    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        image = self.image.release.image
        return {"release": self.reference, "file_sha256": image.file_sha256, "image_hash": image.image_hash}

    @property
    def cautions(self) -> tuple[str, ...]:
        """None: the unit proves what it is and what it runs."""
        return ()

    def record(
        self,
        facts: SuiteFacts,
        header: RunHeader,
        verdict: SuiteRun,
        units: tuple[TestedUnit, ...],
        files: dict[str, str],
    ) -> tuple[RecordType, Statement]:
        """An in-toto test result about the image file."""
        bench = BenchRun(
            run=header,
            image=reference_of(self.image.release),
            suite=facts.suite,
            suite_sha256=facts.suite_sha256,
            units=units,
            sandbox=facts.sandbox,
            sandbox_opened=facts.opened or None,
            cases=verdict.cases,
            skipped=verdict.skipped,
            retries=verdict.retries or None,
            files=files,
        )
        return RecordType.TEST, result_statement(bench)


def under_test(
    site: Site,
    board: AnyBoard,
    release: str | None,
    choice: ImageChoice,
    trust: TrustFile,
    say: Say,
    *,
    withdrawn: bool,
) -> UnderTest:
    """What is asked for, verified; `withdrawn`: also a release that was taken back.

    Raises UsageFault when it does not go with the board; NotVerified, Refused.
    """
    from assay.pipeline.release_gate import verify_release
    from assay.pipeline.test_foreign import images_under_test

    if isinstance(board, ForeignBoard):
        if release is not None:
            raise not_ours(board)
        return images_under_test(choice, board, trust, say)
    if not isinstance(board, Board):
        raise UsageFault(f"nothing on a {board.name} can be asked what it runs", remedy="see docs: reference/flashers")
    if release is None:
        raise UsageFault(
            f"{board.name} is a board for which releases are made here",
            remedy="name the release that it runs: assay test SUITE --release NAME@VERSION",
        )
    image = verify_release(site.store, trust, *parse_reference(release), board, withdrawn=withdrawn)
    return ReleaseUnderTest(image, board)
