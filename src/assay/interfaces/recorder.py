# SPDX-License-Identifier: Apache-2.0
"""What a verb may ask of the record keeper. Nothing is shown as PASS before `record` has returned."""

from __future__ import annotations

from typing import Protocol

from assay.model.record import RecordRef, RecordType
from assay.model.statement import Statement
from assay.model.trust import Role


class Recorder(Protocol):
    """Signs statements (in another process), keeps them, and logs them."""

    def record(self, statement: Statement, kind: RecordType, role: Role, serial: str | None = None) -> RecordRef:
        """Make the record of `statement` durable: journal, sign, file, log, checkpoint, each fsynced.

        Returns when a signed checkpoint covers it; the same statement again gives the same record.
        Raises `NotRecorded`.
        """
        ...

    def attach(self, data: bytes) -> str:
        """Keep a file that a statement names by digest (JUnit, console log); answers its SHA-256."""
        ...

    def bundle(self, ref: RecordRef) -> bytes:
        """The record's file: a Sigstore bundle."""
        ...

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint of this site's log (C2SP tlog-checkpoint); empty log: tree size 0."""
        ...
