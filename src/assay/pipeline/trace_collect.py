# SPDX-License-Identifier: Apache-2.0
"""The dossier of one unit, collected from a site folder: its records, those of its images, and every file they name.

Guards: reading changes nothing; a file that is missing or damaged costs itself only, and the rest of the history is
still collected. Nothing that is read here is believed.
Leaves to others: whether any of it verifies (`trace`), files of the site beyond this unit (`trace_site`).
"""

from __future__ import annotations

import difflib
import errno
import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from assay.backends.named_file import LinkInside, read_beneath
from assay.backends.records.record_store import ATTACHMENTS, RECORD_SUFFIX, RECORDS
from assay.errors import AssayError, NotVerified, StorageError, UsageFault
from assay.formats import log_entry
from assay.model.record import LogEntry, RecordType
from assay.model.statement import Statement
from assay.model.trace import Dossier, LoggedRecord
from assay.pipeline.trace_digests import reachable
from assay.pipeline.trace_log import size_of
from assay.pipeline.trace_record import claim_of, payload_of
from assay.pipeline.trace_site_log import UNREADABLE, SiteLog

ABOUT_IMAGES = (
    *(RecordType.PROVENANCE, RecordType.SBOM, RecordType.RELEASE),
    *(RecordType.DECISION, RecordType.WITHDRAWAL),
)
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EINVAL)
NEAR_NAMES_MAX = 5
"""Serial numbers that are offered when one is not known."""


class _Found:
    """A record and what names it. The file is read when somebody asks for it: most records are about other units."""

    def __init__(self, index: int | None, entry: LogEntry | None, site: Path, sha256: str) -> None:
        self.index = index
        self.entry = entry
        self._site = site
        self._name = f"{RECORDS}/{sha256}{RECORD_SUFFIX}"

    @cached_property
    def bundle(self) -> bytes | None:
        """The file's bytes; None when it is not there."""
        return _read(self._site, self._name)

    @cached_property
    def claim(self) -> Statement | None:
        """What the record says, unverified."""
        return claim_of(self.bundle)

    @property
    def predicate(self) -> dict[str, Any]:
        """What the record claims; empty when it cannot be read."""
        return self.claim.predicate if self.claim is not None else {}

    @property
    def is_decision(self) -> bool:
        """Whether it is a decision of a policy."""
        return "decision" in self.predicate

    def is_about(self, serial: str, chips: set[str]) -> bool:
        """Whether the log or the record itself says that it is about this unit."""
        if self.entry is not None and self.entry.serial is not None:
            return self.entry.serial == serial
        said = set(_values(self.predicate, "serial"))
        return serial in said or (not said and bool(chips & set(_values(self.predicate, "chip"))))

    def is_about_image(self, files: set[str]) -> bool:
        """Whether it says how one of `files` was made."""
        if self.entry is not None and self.entry.type not in ABOUT_IMAGES:
            return False
        if self.is_decision and "chip" in self.predicate:
            return False  # about what some unit was to get
        digests = {subject.digest.get("sha256") for subject in self.claim.subject} if self.claim else set()
        return bool(digests & files) and "run" not in self.predicate


class SiteReading:
    """The site in `folder`, read once."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageFault(
                f"there is no site in {folder}", remedy="name it with --site, or run a verb that makes one"
            )
        self.folder = folder
        self.log = SiteLog(folder / "log")
        logged = list(self._logged())
        self._found = [*logged, *sorted(self._not_logged(logged), key=_age)]

    def serials(self) -> list[str]:
        """All serial numbers that the log or a record names."""
        named = {found.entry.serial for found in self._found if found.entry is not None and found.entry.serial}
        return sorted(named | {serial for found in self._found for serial in _values(found.predicate, "serial")})

    def dossier(self, serial: str) -> Dossier:
        """What concerns the unit `serial`. `UsageFault` names near serial numbers when there is none."""
        chosen = self._choose(serial)
        if not chosen:
            self._unknown(serial)
        records = tuple(self._record(found) for found in chosen)
        named = [record.bundle for record in chosen if record.bundle is not None]
        return Dossier(
            serial=serial,
            checkpoint=self.log.note,
            records=records,
            consistency=self._consistency(chosen),
            files=self._files(named),
            leaves=self.log.leaves,
        )

    def read_file(self, sha256: str) -> bytes | None:
        """The attachment or the blob of the store with that name, as it lies there."""
        for folder in (ATTACHMENTS, "store/blobs/sha256"):
            data = _read(self.folder, f"{folder}/{sha256}")
            if data is not None:
                return data
        return None

    def _logged(self) -> Iterable[_Found]:
        for index, leaf in enumerate(self.log.leaves):
            try:
                entry = log_entry.decode(leaf, f"entry {index} of the log")
            except AssayError:
                continue
            yield _Found(index, entry, self.folder, entry.record)

    def _not_logged(self, logged: list[_Found]) -> Iterable[_Found]:
        """Record files that no readable entry names."""
        named = {found.entry.record for found in logged if found.entry is not None}
        folder = self.folder / RECORDS
        for path in folder.glob(f"*{RECORD_SUFFIX}") if folder.is_dir() else ():
            sha256 = path.name.removesuffix(RECORD_SUFFIX)
            if not path.name.startswith(".") and sha256 not in named:
                yield _Found(None, None, self.folder, sha256)

    def _choose(self, serial: str) -> list[_Found]:
        chips = {
            chip
            for found in self._found
            if found.entry is not None and found.entry.type is RecordType.PROVISIONING and found.entry.serial == serial
            for chip in _values(found.predicate, "chip")
        }
        own = [found for found in self._found if found.is_about(serial, chips)]
        met = [found for found in own if not found.is_decision]  # what was decided about was not always given to it
        images = {digest for found in met for digest in _values(found.predicate, "file_sha256")}
        about_images = [found for found in self._found if found not in own and found.is_about_image(images)]
        policies = [found for found in self._found if found.entry and found.entry.type is RecordType.POLICY]
        wanted = (*own, *about_images, *policies)
        return [found for found in self._found if found in wanted] if own else []

    def _unknown(self, serial: str) -> None:
        if self.log.faults or UNREADABLE in self.log.leaves or self.log.head is None:
            raise NotVerified(
                f"the log of {self.folder} is damaged, and nothing readable in it is about {serial}: "
                + "; ".join(self.log.faults or ["its checkpoint cannot be read"]),
                remedy="restore the log from a copy; `assay log verify` says what is wrong",
            )
        known = self.serials()
        near = difflib.get_close_matches(serial, known, NEAR_NAMES_MAX, 0.5) or known[:NEAR_NAMES_MAX]
        raise UsageFault(
            f"no record of this site is about {serial}",
            remedy=f"did you mean {', '.join(near)}?" if near else "the site has no unit yet: provision one",
        )

    def _record(self, found: _Found) -> LoggedRecord:
        if found.index is None:
            return LoggedRecord(None, None, (), found.bundle)
        return LoggedRecord(found.index, self.log.leaves[found.index], self.log.inclusion(found.index), found.bundle)

    def _consistency(self, chosen: list[_Found]) -> dict[int, tuple[bytes, ...]]:
        proofs: dict[int, tuple[bytes, ...]] = {}
        for found in chosen:
            for note in _values(found.predicate, "checkpoint"):
                size = size_of(note)
                if size and (proof := self.log.consistency(size)) is not None:
                    proofs[size] = proof
        return proofs

    def _files(self, bundles: list[bytes]) -> dict[str, bytes]:
        """Files that the records name; a bundle that lies in the store too is not taken twice."""
        files = reachable([payload for bundle in bundles if (payload := payload_of(bundle))], self.read_file)
        return {sha256: data for sha256, data in files.items() if data not in bundles}


def _age(found: _Found) -> tuple[int, str]:
    """Where a record that the log does not place would stand: by the checkpoint that it claims to come after."""
    sizes = [size_of(note) for note in _values(found.predicate, "checkpoint")]
    return max(sizes, default=0), hashlib.sha256(found.bundle or b"").hexdigest()


def _read(site: Path, name: str) -> bytes | None:
    """None for what is not there, or lies elsewhere, or is no plain file: `trace_site` names it."""
    try:
        return read_beneath(site, name)
    except OSError as error:
        if isinstance(error, LinkInside) or error.errno in _NO_FILE:
            return None
        raise StorageError(f"{site / name} cannot be read: {error.strerror}", remedy="make it readable") from error


def _values(value: Any, name: str) -> list[str]:
    """All texts that stand under `name`, anywhere in plain JSON."""
    if isinstance(value, dict):
        here = [value[name]] if isinstance(value.get(name), str) else []
        return here + [text for item in value.values() for text in _values(item, name)]
    if isinstance(value, list):
        return [text for item in value for text in _values(item, name)]
    return []
