# SPDX-License-Identifier: Apache-2.0
"""The reports and the record of a suite's run: what is attached, what is signed, and by which role.

Guards: every digest in the record was taken here; the reports lie beside the record before the record names them.
Leaves to others: the run (`test_run`), the statements' shape (`test_subject`, `stages.hil`), durability (`recovery`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from assay import __version__
from assay.model.predicates import RunHeader
from assay.model.record import RecordRef, RecordType
from assay.model.statement import Subject
from assay.model.trust import Role
from assay.model.verdict import SuiteRun, TestedUnit
from assay.pipeline.recovery import conclude, run_digest
from assay.pipeline.run_journal import timestamp
from assay.pipeline.test_reports import reports, write_all
from assay.stages.hil.statement import run_statement, speaks_about_unit

if TYPE_CHECKING:
    from assay.model.foreign_unit import ForeignTestedUnit
    from assay.pipeline.run_journal import Run
    from assay.pipeline.site import Site
    from assay.pipeline.test_sandbox import Sandbox
    from assay.pipeline.test_subject import UnderTest

VERB = "test"
AnyTestedUnit: TypeAlias = "TestedUnit | ForeignTestedUnit"


@dataclass(frozen=True)
class SuiteFacts:
    """What is known of a run before its suite begins. `place` as the user named it."""

    site: Site
    run: Run
    place: str
    tested: UnderTest
    suite: str
    suite_sha256: str
    checkpoint: bytes
    sandbox: Sandbox
    opened: tuple[str, ...] = ()


def record_run(
    facts: SuiteFacts, verdict: SuiteRun, units: tuple[AnyTestedUnit, ...], folder: Path
) -> tuple[RecordRef, dict[str, str]]:
    """Write the reports to `folder`, make the record durable; gives it, and the reports' SHA-256 by name.

    Raises StorageError, NotRecorded.
    """
    texts = reports(verdict, _properties(facts, units))
    write_all(folder, texts)
    digests = {name: facts.site.recorder.attach(data) for name, data in texts.items()}
    serial = _serial_of(units)
    header = _header(facts, verdict)
    if speaks_about_unit(verdict):
        kind, statement = facts.tested.record(facts, header, verdict, units, digests)
    else:
        kind = RecordType.RUN
        subject = Subject(name=f"run/{header.run_id}", digest={"sha256": run_digest(header.run_id)})
        statement = run_statement(header, verdict, subject=subject, serial=serial)
    record = conclude(
        facts.site, facts.run, statement, kind, Role.BENCH, verdict.outcome, serial=serial, reason=verdict.reason
    )
    return record, digests


def _header(facts: SuiteFacts, verdict: SuiteRun) -> RunHeader:
    return RunHeader(
        run_id=facts.run.run_id,
        assay=__version__,
        place=facts.place,
        board=facts.tested.board.name,
        emulated=facts.tested.board.emulated,
        started=facts.run.state.started,
        finished=timestamp(facts.site.clock),
        outcome=verdict.outcome,
        reason=verdict.reason,
        checkpoint=facts.checkpoint.decode(),
    )


def _serial_of(units: tuple[AnyTestedUnit, ...]) -> str | None:
    """Of the one unit that has one and proves it."""
    return units[0].serial if len(units) == 1 and isinstance(units[0], TestedUnit) else None


def _properties(facts: SuiteFacts, units: tuple[AnyTestedUnit, ...]) -> dict[str, str]:
    """What readers of JUnit and OpenHTF look for; the attempt counts the runs of suites on this place."""
    ours = [unit for unit in units if isinstance(unit, TestedUnit)]
    found = {
        "assay.run": facts.run.run_id,
        **facts.tested.properties,
        "assay.suite.sha256": facts.suite_sha256,
        "assay.place": ",".join(unit.place for unit in units) or facts.place,
        "assay.board": facts.tested.board.name,
        "assay.emulated": str(facts.tested.board.emulated).lower(),
        "assay.serial": ",".join(unit.serial for unit in ours if unit.serial),
        "assay.chip": ",".join(unit.chip for unit in ours),
        "assay.attempt": str(len(facts.site.journals.runs(VERB, f"{facts.place}#"))),
        "assay.sandbox": facts.sandbox,
    }
    return {name: value for name, value in found.items() if value}
