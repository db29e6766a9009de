# SPDX-License-Identifier: Apache-2.0
"""Measurements with limits, test cases, the verdict over a suite, and the predicate that says so under a signature.

Guards: what a test process wrote down (`SuiteRun`) and what the bench signs (`BenchRun`) are two types; only the second
carries digests, and those were taken by the process that signs.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from assay.errors import Layer
from assay.model.attempts import RetryRule
from assay.model.foreign_unit import ForeignUnitSeen
from assay.model.identifiers import FileSha256, ImageHash, Name, SerialNumber
from assay.model.outcome import MeasurementOutcome, Outcome
from assay.model.predicates import DeviceReport, EvidenceQuote, ImageReference, RunHeader
from assay.model.statement import ResourceDescriptor
from assay.model.value import Value

MeasurementName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]

TEST_RUN = "urn:assay:test-run:v1"
"""The member of an in-toto test result that holds our `BenchRun`."""


class Measurement(Value):
    """One measured value; limits were declared before the value was taken. `unit` is a UCUM code (`ms`, `V`, `1`).

    `low` and `high` are included in what passes; `expected` is for a text or a truth value.
    """

    name: MeasurementName
    unit: str
    low: float | None = None
    high: float | None = None
    expected: str | bool | None = None
    value: float | str | bool | None = None
    outcome: MeasurementOutcome


class CaseResult(Value):
    """One test: outcome, duration in seconds, attempt counted from 1, measurements, and why it did not pass.

    `device_answers` is asked after a TIMEOUT: a device that answers failed, one that is silent tells nothing.
    """

    name: str
    outcome: Outcome
    started: str
    duration_s: float
    attempt: int = 1
    place: str | None = None
    layer: Layer | None = None
    message: str = ""
    device_answers: bool = False
    measurements: tuple[Measurement, ...] = ()


class SkippedCase(Value):
    """A test that was not run, and why. It says nothing about the unit."""

    name: str
    reason: str


class UnitSeen(Value):
    """A unit as the test process saw it. A claim: who signs asks the unit itself."""

    place: str
    board: Name
    revision: int
    emulated: bool
    chip: str
    serial: SerialNumber | None
    version: str
    image_hash: ImageHash


class SuiteRun(Value):
    """What the test processes of one run wrote down, put together. `outcome` is the gravest of all that counts;
    `layer` is where an ERROR or a TIMEOUT came from; `retries` are the rules of tests that could be tried again, as
    they were declared before the first of them began.
    """

    suite: str
    units: tuple[UnitSeen | ForeignUnitSeen, ...] = ()
    started: str
    finished: str
    cases: tuple[CaseResult, ...] = Field(default=())
    skipped: tuple[SkippedCase, ...] = ()
    outcome: Outcome
    reason: str = ""
    layer: Layer | None = None
    device_answers: bool = False
    retries: dict[str, RetryRule] = Field(default={})


class TestedUnit(Value):
    """A unit as the process that signs saw it, before and after the suite.

    `before` and `after` are what the bootloader measured at the last boot; `*_in_flash` was recomputed by the device
    over flash when it was asked. `after` is missing when the unit did not answer any more.
    `evidence_*` is signed by the key in the unit's certificate, over the run's checkpoint; a unit that was never
    provisioned has neither.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    place: str
    board: Name
    revision: int
    emulated: bool
    chip: str
    serial: SerialNumber | None = None
    certificate_sha256: FileSha256 | None = None
    before: DeviceReport
    before_in_flash: ImageHash
    after: DeviceReport | None = None
    after_in_flash: ImageHash | None = None
    evidence_before: EvidenceQuote | None = None
    evidence_after: EvidenceQuote | None = None

    @property
    def known_as(self) -> str:
        """For people: its serial number, else its chip."""
        return self.serial or f"chip {self.chip}"


class BenchRun(Value):
    """The extension of the in-toto predicate (`urn:assay:test-run:v1`): who was tested, with what, and every case.

    `files` are the SHA-256 of the reports that lie beside the record; `sandbox` says whether the test process could
    have read the site's keys, `sandbox_opened` what the user let it see beyond the usual (paths, `network`).
    `cases` has every attempt; `retries` are the rules by which a test was tried again, declared before the run.
    """

    run: RunHeader
    image: ImageReference
    suite: str
    suite_sha256: FileSha256
    units: tuple[TestedUnit, ...] = Field(min_length=1)
    sandbox: Literal["bubblewrap", "none"]
    sandbox_opened: tuple[str, ...] | None = None
    cases: tuple[CaseResult, ...]
    skipped: tuple[SkippedCase, ...] = ()
    retries: dict[str, RetryRule] | None = None
    files: dict[str, FileSha256]


class SuiteVerdict(Value):
    """Predicate `https://in-toto.io/attestation/test-result/v0.1`, with our extension under its own name.

    WARNED: all passed, and some (`warned_tests`) only when they were tried again, by a rule declared before the run.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    result: Literal["PASSED", "WARNED", "FAILED"]
    configuration: tuple[ResourceDescriptor, ...] = Field(min_length=1)
    passed_tests: tuple[str, ...] = Field(alias="passedTests")
    warned_tests: tuple[str, ...] = Field(default=(), alias="warnedTests")
    failed_tests: tuple[str, ...] = Field(alias="failedTests")
    bench: BenchRun = Field(alias=TEST_RUN)
