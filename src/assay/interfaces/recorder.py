# SPDX-License-Identifier: Apache-2.0
"""What a verb may ask of the record keeper. Nothing is shown as PASS before `record` has returned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from assay.model.record import LogEntry, RecordRef, RecordType
from assay.model.statement import Statement
from assay.model.trust import Role, TrustedLog


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

    def recover(self) -> int:
        """Finish what earlier processes left unfinished; answers how many records that were. Raises `NotRecorded`."""
        ...

    def trusted_log(self) -> TrustedLog:
        """This site's log, for a trust file: its origin and its verifier key."""
        ...


class LogReader(Protocol):
    """A log as files (C2SP tlog-tiles). Nothing that comes out is verified; raises `NotVerified`, `StorageError`."""

    def note(self) -> bytes:
        """The newest checkpoint, as a signed note."""
        ...

    def file(self, path: str) -> bytes:
        """The bytes of a file, by its path in the log (`tile/0/000`)."""
        ...

    def files(self) -> list[str]:
        """The paths of all tiles and entry bundles that are there, sorted."""
        ...


class RecordReader(Protocol):
    """The records of a site. Bytes have the digest that was asked for; raises `NotVerified`, `StorageError`."""

    @property
    def log(self) -> LogReader:
        """The log that names the records."""
        ...

    def entries(self, size: int | None = None, start: int = 0) -> Iterator[tuple[int, LogEntry]]:
        """Index and entry, from `start` to before `size` (by default all that the newest checkpoint covers)."""
        ...

    def record(self, sha256: str) -> bytes:
        """The record file (a Sigstore bundle) with that digest."""
        ...

    def attachment(self, sha256: str) -> bytes:
        """The attachment with that digest."""
        ...

    def record_names(self) -> set[str]:
        """The names of all record files, without their suffix: each should be a digest."""
        ...

    def attachment_names(self) -> set[str]:
        """The names of all attachments: each should be a digest."""
        ...
