# SPDX-License-Identifier: Apache-2.0
"""The statements that a bench signs about a suite's run: a test result, or a run that ended without one.

Guards: PASSED is written for PASS only, FAILED for a unit that failed or kept us waiting and still answers; for
anything else there is no test result, only the record of a run.
Leaves to others: signing, logging, and where digests come from (the pipeline takes them itself, never from the tests).
"""

from __future__ import annotations

from assay.model.attempts import counted, flaky
from assay.model.outcome import Outcome
from assay.model.predicates import InterruptedRun, RunHeader, StepRecord
from assay.model.statement import PredicateType, ResourceDescriptor, Statement, Subject
from assay.model.verdict import BenchRun, SuiteRun, SuiteVerdict, TestedUnit

CHIP_URI = "urn:assay:chip:"


def speaks_about_unit(run: SuiteRun) -> bool:
    """True when `run` ends in a test result: PASS, FAIL, or TIMEOUT of a device that still answers."""
    return run.outcome in (Outcome.PASS, Outcome.FAIL) or (run.outcome is Outcome.TIMEOUT and run.device_answers)


def result_statement(bench: BenchRun) -> Statement:
    """in-toto test-result v0.1: the subject is the image file; suite, units and reports are its configuration."""
    rules = bench.retries or {}
    bad = {case.name for case in counted(bench.cases, rules) if case.outcome is not Outcome.PASS}
    warned = flaky(bench.cases, rules)
    passed = bench.run.outcome is Outcome.PASS and not bad
    verdict = SuiteVerdict(
        result="FAILED" if not passed else "WARNED" if warned else "PASSED",
        configuration=(
            ResourceDescriptor(name="suite", uri=bench.suite, digest={"sha256": bench.suite_sha256}),
            ResourceDescriptor(
                name="image",
                digest={"sha256": bench.image.file_sha256},
                annotations={"release": bench.image.release, "image_hash": bench.image.image_hash},
            ),
            *(_unit(unit) for unit in bench.units),
            *(ResourceDescriptor(name=name, digest={"sha256": digest}) for name, digest in sorted(bench.files.items())),
        ),
        passed_tests=tuple(sorted({case.name for case in bench.cases} - bad - set(warned))),
        warned_tests=warned,
        failed_tests=tuple(sorted(bad)),
        bench=bench,
    )
    subject = Subject(name=bench.image.release, digest={"sha256": bench.image.file_sha256})
    predicate = verdict.model_dump(mode="json", by_alias=True, exclude_none=True)
    return Statement(subject=(subject,), predicateType=PredicateType.TEST_RESULT, predicate=predicate)


def run_statement(header: RunHeader, run: SuiteRun, *, subject: Subject, serial: str | None) -> Statement:
    """A run without a test result: what was tried, and why it says nothing about the unit."""
    predicate = InterruptedRun(
        run=header,
        verb="test",
        serial=serial,
        stopped_at=run.reason or run.outcome.value,
        layer=run.layer,
        steps=tuple(
            StepRecord(name=case.name, attempts=case.attempt, outcome=case.outcome, detail=case.message)
            for case in run.cases
        ),
    )
    return Statement(
        subject=(subject,), predicateType=PredicateType.RUN, predicate=predicate.model_dump(mode="json", by_alias=True)
    )


def _unit(unit: TestedUnit) -> ResourceDescriptor:
    """A unit is known by its certificate; one that was never provisioned only by its chip."""
    annotations = {
        "serial": unit.serial,
        "chip": unit.chip,
        "board": unit.board,
        "emulated": unit.emulated,
        "place": unit.place,
    }
    return ResourceDescriptor(
        name="unit",
        uri=CHIP_URI + unit.chip,
        digest={"sha256": unit.certificate_sha256} if unit.certificate_sha256 else None,
        annotations={name: value for name, value in annotations.items() if value is not None},
    )
