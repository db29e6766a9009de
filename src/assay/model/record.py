# SPDX-License-Identifier: Apache-2.0
"""Records of what a run did, and the log entries that make them tamper-evident."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from assay.model.identifiers import FileSha256, SerialNumber
from assay.model.statement import PredicateType
from assay.model.value import Value


class RecordType(StrEnum):
    """What a record is about."""

    PROVENANCE = "provenance"
    SBOM = "sbom"
    RELEASE = "release"
    PATCH = "patch"
    PROVISIONING = "provisioning"
    FLASH = "flash"
    FOREIGN_FLASH = "foreign-flash"
    FOREIGN_TEST = "foreign-test"
    TOOL_FLASH = "tool-flash"
    TEST = "test"
    UPDATE = "update"
    EVIDENCE = "evidence"
    RUN = "run"
    QUARANTINE = "quarantine"
    POLICY = "policy"
    DECISION = "decision"
    SUMMARY = "summary"
    REBUILD = "rebuild"
    VEX = "vex"
    WITHDRAWAL = "withdrawal"


PREDICATES: Mapping[RecordType, PredicateType] = {
    RecordType.PROVENANCE: PredicateType.PROVENANCE,
    RecordType.SBOM: PredicateType.SBOM,
    RecordType.RELEASE: PredicateType.RELEASE,
    RecordType.PATCH: PredicateType.PATCH,
    RecordType.PROVISIONING: PredicateType.PROVISIONING,
    RecordType.FLASH: PredicateType.FLASH,
    RecordType.FOREIGN_FLASH: PredicateType.FOREIGN_FLASH,
    RecordType.FOREIGN_TEST: PredicateType.FOREIGN_TEST,
    RecordType.TOOL_FLASH: PredicateType.TOOL_FLASH,
    RecordType.TEST: PredicateType.TEST_RESULT,
    RecordType.UPDATE: PredicateType.UPDATE,
    RecordType.EVIDENCE: PredicateType.EVIDENCE,
    RecordType.RUN: PredicateType.RUN,
    RecordType.QUARANTINE: PredicateType.QUARANTINE,
    RecordType.POLICY: PredicateType.POLICY,
    RecordType.DECISION: PredicateType.DECISION,
    RecordType.SUMMARY: PredicateType.SUMMARY,
    RecordType.REBUILD: PredicateType.REBUILD,
    RecordType.VEX: PredicateType.VEX,
    RecordType.WITHDRAWAL: PredicateType.WITHDRAWAL,
}
"""The predicate type of the statement in a record of each type."""


class LogEntry(Value):
    """One entry of the log, written as RFC 8785 JSON.

    `record` is the SHA-256 of the record's file (a Sigstore bundle), `payload` that of the statement inside, `serial`
    the unit that it is about, if it is about one.
    """

    v: Literal[1] = 1
    type: RecordType
    record: FileSha256
    payload: FileSha256
    serial: SerialNumber | None = None


class RecordRef(Value):
    """Where a durable record stands: index in the log, tree size of the checkpoint that covers it."""

    entry: LogEntry
    index: int
    tree_size: int
    origin: str
