# SPDX-License-Identifier: Apache-2.0
"""The record keeper of a site: outbox, signature, file, log, checkpoint, in this order, each fsynced.

Guards: `record` returns only when a signed checkpoint covers the record; killed anywhere, the next call finishes what
was begun; the same statement is recorded once. Whatever goes wrong is `NotRecorded`, loud and with a status of its
own, and the statement stays in the outbox.
Leaves to others: what a statement says (stages), keys (the signer process), reading (`record_store`).
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from assay.backends.durable_file import exclusive, make_folder, remove_unfinished, sync_folder, write_durably
from assay.backends.logs.tile_log import TileLog
from assay.backends.named_file import LinkInside, read_beneath
from assay.backends.records.outbox import Draft, Outbox
from assay.backends.records.record_store import ATTACHMENTS, RECORD_SUFFIX, RECORDS, RecordStore
from assay.errors import AssayError, NotRecorded, NotVerified, Refused, StorageError
from assay.formats import canonical_json, log_entry
from assay.formats.statement_verifier import signers_of
from assay.interfaces.clock import Clock
from assay.interfaces.signer import SignerService
from assay.model.record import LogEntry, RecordRef, RecordType
from assay.model.statement import Statement
from assay.model.trust import Role, TrustedLog

_REMEDY = "mend what is named, then run any verb that records, or `assay log verify`: it finishes what was left"
_DISK_REMEDY = f"free disk space and make the site folder writable; {_REMEDY.partition(', ')[2]}"


class SiteRecorder:
    """Implements `interfaces.recorder.Recorder` in the site folder `folder`."""

    def __init__(self, folder: Path, signers: SignerService, clock: Clock) -> None:
        self.store = RecordStore(folder)
        self._folder = folder
        self._signers = signers
        self._clock = clock
        self._log = TileLog(folder / "log", signers)

    def record(self, statement: Statement, kind: RecordType, role: Role, serial: str | None = None) -> RecordRef:
        """Make the record of `statement` durable; the same statement again gives the same record."""
        if role not in signers_of(statement.predicateType):
            raise Refused(f"a {role} may not record {statement.predicateType}", remedy="use the role that may")
        payload = canonical_json.encode_value(statement)
        digest = hashlib.sha256(payload).hexdigest()
        since = self._clock.now().isoformat(timespec="seconds")
        with _not_recorded(), self._opened() as outbox:
            interrupted = bool(outbox.pending())
            if outbox.logged(digest) is None:
                outbox.put(Draft(digest, payload, kind, role, serial, since))
            failed = self._drain(outbox, tidy=interrupted)
            if digest in failed:
                raise failed[digest]
            return self._ref(outbox, digest)

    def recover(self) -> int:
        """Finish what earlier processes left in the outbox, and tidy up; answers how many records that were."""
        if not (self._folder / "outbox.sqlite").exists():
            return 0
        with _not_recorded(), self._opened() as outbox:
            left = len(outbox.pending())
            if left:
                failed = self._drain(outbox, tidy=True)
                for error in failed.values():
                    raise error
            return left

    def attach(self, data: bytes) -> str:
        """Keep `data` durably as an attachment; answers its SHA-256."""
        digest = hashlib.sha256(data).hexdigest()
        with _not_recorded():
            make_folder(self._folder)
            with exclusive(self._lock):
                _write_once(self.store.folder, f"{ATTACHMENTS}/{digest}", data)
        return digest

    def bundle(self, ref: RecordRef) -> bytes:
        """The record's file, checked against its digest."""
        return self.store.record(ref.entry.record)

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint; a log that is not there begins.

        Raises `NotVerified` for a log that is damaged: nothing was to be recorded yet. `NotRecorded` for what else
        keeps a log from being begun.
        """
        with _not_recorded(but_for=NotVerified), self._opened() as outbox:
            self._open_log(outbox)
            return self.store.log.note()

    def trusted_log(self) -> TrustedLog:
        """This site's log, as an entry of a trust file."""
        self.checkpoint()
        return self._log.trusted()

    @property
    def _lock(self) -> Path:
        return self._folder / "records.lock"

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Outbox]:
        make_folder(self._folder)
        with Outbox(self._folder / "outbox.sqlite") as outbox:
            yield outbox

    def _open_log(self, outbox: Outbox) -> int:
        """Size of the log, which must be the one that this site wrote; its new entries get into the index."""
        last = outbox.last_logged()
        size = self._log.open(may_create=last is None and not self.store.record_names()).size
        if last is not None:
            index, record = last
            if index >= size:
                raise NotVerified(
                    f"the log has {size} entries, and {index + 1} were recorded", remedy="restore the log from a copy"
                )
            if log_entry.decode(self.store.log.entry(index, size), f"log: entry {index}").record != record:
                raise NotVerified(
                    f"entry {index} of the log is not what was recorded", remedy="restore the log from a copy"
                )
        first_new = 0 if last is None else last[0] + 1
        if first_new < size:
            outbox.settle(self.store.entries(size, first_new))
        return size

    def _drain(self, outbox: Outbox, *, tidy: bool) -> dict[str, AssayError]:
        """Bring what is pending into the log; answers what could not be signed, by payload digest.

        `tidy`: a writer before us was killed, so there may be unfinished files.
        """
        with exclusive(self._lock):
            self._open_log(outbox)
            failed: dict[str, AssayError] = {}
            entries: list[LogEntry] = []
            for draft in outbox.pending():
                if outbox.logged(draft.payload) is not None:
                    continue
                try:
                    entries.append(self._file(outbox, draft))
                except AssayError as error:
                    failed[draft.payload] = error
            if entries:
                appended = self._log.append([log_entry.encode(entry) for entry in entries])
                outbox.settle(enumerate(entries, appended.first))
            else:
                outbox.settle([])
            if tidy:
                self._log.tidy()
                remove_unfinished(self.store.records_dir)
                remove_unfinished(self.store.attachments_dir)
            return failed

    def _file(self, outbox: Outbox, draft: Draft) -> LogEntry:
        bundle = draft.bundle
        if bundle is None:
            bundle = self._signers.sign_statement(draft.role, draft.statement)
            outbox.signed(draft.payload, bundle)
        record = hashlib.sha256(bundle).hexdigest()
        _write_once(self.store.folder, f"{RECORDS}/{record}{RECORD_SUFFIX}", bundle)
        return LogEntry(type=draft.type, record=record, payload=draft.payload, serial=draft.serial)

    def _ref(self, outbox: Outbox, digest: str) -> RecordRef:
        index, checkpoint = outbox.logged(digest), self.store.log.checkpoint()
        if index is None:
            raise NotVerified("the record is not in the log after it was appended", remedy="run `assay log verify`")
        entry = log_entry.decode(self.store.log.entry(index, checkpoint.size), f"log: entry {index}")
        if entry.payload != digest:
            outbox.forget_index()
            raise NotVerified(f"the index over the log was wrong about entry {index}", remedy="run the verb again")
        return RecordRef(entry=entry, index=index, tree_size=checkpoint.size, origin=checkpoint.origin)


@contextlib.contextmanager
def _not_recorded(but_for: type[AssayError] = NotRecorded) -> Iterator[None]:
    """Whatever goes wrong inside is `NotRecorded`, with the cause kept; but for what is `but_for`."""
    try:
        yield
    except (NotRecorded, but_for):
        raise
    except AssayError as error:
        raise NotRecorded(f"not recorded: {error.message}", remedy=error.remedy or _REMEDY) from error
    except OSError as error:
        raise NotRecorded(f"not recorded: {error.strerror} ({error.filename})", remedy=_DISK_REMEDY) from error
    except sqlite3.OperationalError as error:  # its words for a full disk are "disk I/O error" too
        raise NotRecorded(f"not recorded: the outbox cannot be written: {error}", remedy=_DISK_REMEDY) from error
    except sqlite3.Error as error:
        raise NotRecorded(f"not recorded: the outbox says: {error}", remedy=_REMEDY) from error


def _write_once(site: Path, name: str, data: bytes) -> None:
    """A file whose name is its digest; there already is fine: the same attachment again, or whoever wrote it was killed
    between its name and the fsync of the folder. A link to the same bytes is not: they are somebody else's to keep.
    """
    path = site / name
    make_folder(path.parent)
    if _lies_there(site, name, data):
        sync_folder(path.parent)
    else:
        write_durably(path, data)


def _lies_there(site: Path, name: str, data: bytes) -> bool:
    """Whether those bytes are in the site. Raises `StorageError` where they would be written to somewhere else."""
    try:
        return read_beneath(site, name) == data
    except FileNotFoundError:
        return False
    except LinkInside as error:
        if error.filename == str(site / name):
            return False  # it is replaced
        told = f"{error.filename} is a symbolic link; a site has none"
        raise StorageError(told, remedy="put a folder in its place, or mount the other one there") from error
