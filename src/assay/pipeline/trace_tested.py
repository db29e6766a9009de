# SPDX-License-Identifier: Apache-2.0
"""Tests of a unit: which image it ran while it was tested, what was measured, and the reports that were signed with it.

Guards: a test counts for the image only when the unit ran that very image before and after, booted and in flash; what
the unit signed of that is verified again; every report that the record names is there and unchanged. Leaves to others:
whether the record is genuine (`trace_record`).
"""

from __future__ import annotations

import hashlib

from assay.model.attempts import flaky
from assay.model.outcome import Outcome
from assay.model.predicates import ImageReference
from assay.model.verdict import SuiteVerdict, TestedUnit
from assay.pipeline.trace_life import Life, number_of
from assay.pipeline.trace_link import Link
from assay.pipeline.trace_measured import measured_words
from assay.pipeline.trace_quote import check_quote


def tell_test(link: Link, said: SuiteVerdict, life: Life) -> None:
    """Check on `link` what a suite found, on which image, and that its reports are there."""
    bench = said.bench
    passed = sum(case.outcome is Outcome.PASS for case in bench.cases)
    link.title = f"{number_of(link)} Tested {bench.image.release} with {bench.suite}: {bench.run.outcome}"
    life.meet(bench.image)
    link.tell("tests", f"{passed} of {len(bench.cases)} passed, {len(bench.skipped)} skipped")
    for item in (item for case in bench.cases for item in case.measurements):
        link.tell("measured", measured_words(item))
    if bench.sandbox == "none":
        link.tell("sandbox", "none: the tests could have read the keys of the bench")
    elif bench.sandbox_opened:
        link.tell("sandbox", f"opened for {', '.join(bench.sandbox_opened)}")
    for name in said.warned_tests:
        tries = max(case.attempt for case in bench.cases if case.name == name)
        link.tell("warned", f"{name} passed only at attempt {tries}, by a rule declared before the run")
    agree = (said.result != "FAILED") is (bench.run.outcome is Outcome.PASS)
    agree = agree and (said.result == "WARNED") is bool(flaky(bench.cases, bench.retries or {}))
    link.expect(
        agree and (said.result == "FAILED" or not said.failed_tests),
        "result and outcome agree",
        f"the record says {said.result} and {bench.run.outcome}, with {len(said.failed_tests)} failed tests",
    )
    for unit in bench.units:
        if unit.serial == life.serial:
            _check_tested(link, unit, bench.image, life, passed=bench.run.outcome is Outcome.PASS)
            _check_evidence(link, unit, bench.run.checkpoint, life)
    for name, sha256 in sorted(bench.files.items()):
        _check_attachment(link, name, sha256, life)


def _check_tested(link: Link, unit: TestedUnit, image: ImageReference, life: Life, *, passed: bool) -> None:
    life.running.must_run(link, unit.before.image_hash, "it was tested while running")
    after = {unit.after.image_hash if unit.after is not None else None, unit.after_in_flash}
    gone = after == {None} and not passed
    link.expect(
        {unit.before.image_hash, unit.before_in_flash} == {image.image_hash} and (gone or after == {image.image_hash}),
        "the unit ran the tested image, booted and in flash, before "
        + ("the tests" if gone else "and after the tests"),
        "the unit did not run the tested image before and after the tests",
    )
    life.must_be_chip(link, unit.chip)
    if life.certificate is not None:
        link.expect(
            unit.certificate_sha256 == life.certificate.sha256,
            "the unit had the certificate that it was provisioned with",
            f"the unit had the certificate {unit.certificate_sha256}, not {life.certificate.sha256}",
        )


def _check_evidence(link: Link, unit: TestedUnit, checkpoint: str, life: Life) -> None:
    """What the unit itself signed: without it only the bench says which image was tested."""
    for quote, said, when in (
        (unit.evidence_before, unit.before, "before the tests"),
        (unit.evidence_after, unit.after, "after the tests"),
    ):
        if quote is None or said is None:
            link.tell("evidence", f"none of what it ran {when}: the bench alone says it")
        else:
            check_quote(link, quote, said, checkpoint, life, when)


def _check_attachment(link: Link, name: str, sha256: str, life: Life) -> None:
    data = life.files.get(sha256)
    if data is None:
        link.lost(f"the attachment {name} ({sha256}) is not there")
    else:
        link.expect(
            hashlib.sha256(data).hexdigest() == sha256,
            f"attachment {name}: {len(data)} bytes with the signed SHA-256",
            f"the attachment {name} was changed: it does not have the SHA-256 {sha256}",
        )
