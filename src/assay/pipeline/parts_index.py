# SPDX-License-Identifier: Apache-2.0
"""Keeps the index of parts and units in step with the site's log and store, and asks it.

Guards: every record in it was verified with the trust file, and stands in the log that the newest checkpoint covers; a
log that was set back or rewritten, and another trust file, begin the index anew; a record that does not verify is told
with every answer. Leaves to others: what records say (`stages.records.holdings`), SQL (`parts_database`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import ValidationError

from assay.backends.records.parts_database import PartsDatabase
from assay.errors import AssayError, NotVerified
from assay.formats import canonical_json, checkpoint, cyclonedx_parts, log_entry, merkle
from assay.formats.checkpoint import Checkpoint
from assay.formats.component_query import ComponentQuery, names_of
from assay.formats.near_names import near as near_names
from assay.formats.statement_verifier import signers_of, verify_statement, without_thresholds
from assay.model.artifact import Release
from assay.model.parts import AffectedRelease, AffectedUnit, VexNote
from assay.model.record import PREDICATES, LogEntry, RecordType
from assay.model.statement import PredicateType, Statement
from assay.model.trust import TrustFile
from assay.pipeline.site import Site
from assay.pipeline.trace_record import read_predicate
from assay.pipeline.withdrawals import withdrawals
from assay.stages.records.holdings import holdings_of

BATCH = 20_000
"""Entries of one transaction."""

PROOFS_MAX = 5_000
"""New entries that are proved one by one; for more than that the whole log is hashed, which is quicker then."""

_TOLD = (
    *(RecordType.SBOM, RecordType.RELEASE, RecordType.VEX, RecordType.PROVISIONING),
    *(RecordType.FLASH, RecordType.UPDATE, RecordType.EVIDENCE, RecordType.RUN),
    *(RecordType.TOOL_FLASH, RecordType.FOREIGN_FLASH),
)
"""Records that say what is in an image, or which image a unit holds."""

READS = "2"
"""What is read out of records; an index from before is made anew. 2: boards that were flashed from outside."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Affected:
    """The answer. `names_known`: whether any bill of materials names the component, of whatever version.

    `faults`: records that do not verify, so that units or parts may be missing; `near` names that were meant, perhaps.
    """

    releases: tuple[AffectedRelease, ...]
    units: Callable[[], Iterator[AffectedUnit]]
    unit_count: int
    names_known: bool
    near: tuple[str, ...]
    faults: dict[str, str]
    log: Checkpoint


def open_index(
    site: Site, trust: TrustFile, trust_sha256: str, *, rebuild: bool = False, progress: Progress | None = None
) -> tuple[PartsDatabase, Checkpoint]:
    """The index, in step with log and store. Raises `NotVerified` for a log that does not hold, `StorageError`."""
    head, _ = checkpoint.verify_with_trust(site.records.log.note(), trust)
    database = PartsDatabase(site.cache_dir / "parts.sqlite")
    try:
        _refresh(_Reader(site, trust, database), head, trust_sha256, rebuild, progress or (lambda _done, _of: None))
    except BaseException:
        database.close()
        raise
    return database, head


def ask_index(site: Site, database: PartsDatabase, head: Checkpoint, query: ComponentQuery) -> Affected:
    """Who holds what `query` asks for. Raises `UsageFault` for a range that is none."""
    named = [row for row in database.parts(query.search) if query.names(row[1])]
    held: dict[int, list[Any]] = {}
    for image, part in named:
        if query.holds(part):
            held.setdefault(image, []).append(part)
    taken_back = withdrawals(site.store)
    releases = []
    for image, parts in held.items():
        image_hash, file_sha256, reference, board, kind = database.facts(image)
        reason = next(
            (each.says.reason for each in taken_back
             if each.file_sha256 == file_sha256 or (each.says.release, each.says.board) == (reference, board)), None,
        )  # fmt: skip
        refs = {part.ref for part in parts}
        releases.append(
            AffectedRelease(
                reference=reference, board=board, kind=kind, file_sha256=file_sha256, image_hash=image_hash,
                parts=tuple(dict.fromkeys(part.words for part in parts)),
                vex=_newest(note for note in database.vex(image) if note.part in refs),
                withdrawn=reason, units=database.count_units(image),
            )
        )  # fmt: skip
    near = () if named else near_names(query.name, {name for _, part in database.parts() for name in names_of(part)})
    return Affected(
        releases=tuple(sorted(releases, key=lambda each: (each.reference, each.board))),
        units=lambda: (unit for image in held for unit in database.units(image)),
        unit_count=releases[0].units if len(releases) == 1 else database.count_units(*held),
        names_known=bool(named),
        near=tuple(near),
        faults=database.faults(),
        log=head,
    )


def _newest(notes: Iterator[VexNote]) -> tuple[VexNote, ...]:
    """What was said last of each vulnerability in each part."""
    found = {(note.vulnerability, note.part): note for note in notes}
    return tuple(found[key] for key in sorted(found))


def _refresh(reader: _Reader, head: Checkpoint, trust_sha256: str, rebuild: bool, progress: Progress) -> None:
    database, site = reader.database, reader.site
    made_of = database.meta()
    start = int(made_of.get("size", 0))
    by = {"trust": trust_sha256, "reads": READS}
    if rebuild or not by.items() <= made_of.items() or not _goes_on(site, made_of, head):
        with database.batch():
            database.forget()
            database.put_meta(by)
        start, made_of = 0, {}
    store = hashlib.sha256(canonical_json.encode_value(site.store.index())).hexdigest()
    if made_of.get("store") != store:
        with database.batch():
            reader.read_store()
            database.put_meta({"store": store})
    if start == head.size:
        return
    entries = _proved(site, start, head)
    for first in range(start, head.size, BATCH):
        with database.batch():
            for index, entry in islice(entries, BATCH):
                reader.read_entry(index, entry)
            done = min(first + BATCH, head.size)
            so_far = {"origin": head.origin, "size": str(done), "root": site.records.log.root(done).hex()}
            database.put_meta(so_far)
        progress(done, head.size)


def _goes_on(site: Site, made_of: dict[str, str], head: Checkpoint) -> bool:
    """Whether the log is the one that the index was made of, grown or not."""
    size = int(made_of.get("size", 0))
    if size == 0:
        return True
    if made_of.get("origin") != head.origin or size > head.size:
        return False
    root = bytes.fromhex(made_of["root"])
    if size == head.size:
        return root == head.root
    try:
        proof = site.records.log.consistency_proof(size, head.size)
        merkle.verify_consistency(size, head.size, proof, root, head.root)
    except NotVerified:
        return False
    return True


def _proved(site: Site, start: int, head: Checkpoint) -> Iterator[tuple[int, bytes]]:
    """The entries from `start` on, which are in the log that `head` covers."""
    log = site.records.log
    if head.size - start > PROOFS_MAX:
        hashes = [merkle.leaf_hash(data) for _, data in log.entries(head.size)]
        if merkle.root_of_leaves(hashes) != head.root:
            raise NotVerified("the log is not the one that its checkpoint covers", remedy="run `assay log verify`")
    read = log.hashes(head.size)
    for index, data in log.entries(head.size, start):
        if head.size - start <= PROOFS_MAX:
            proof = merkle.inclusion_proof(index, head.size, read)
            merkle.verify_inclusion(merkle.leaf_hash(data), index, head.size, proof, head.root)
        yield index, data


class _Reader:
    """Puts verified records and statements into the index."""

    def __init__(self, site: Site, trust: TrustFile, database: PartsDatabase) -> None:
        self.site = site
        self.database = database
        self._trust = trust

    def read_store(self) -> None:
        """Bills of materials and VEX of all releases in the store, which may have been made elsewhere."""
        for release in self.site.store.releases():
            facts = (release.image.file_sha256, release.reference, release.board, release.kind)
            self.database.image(release.image.image_hash, facts)
            for kind, bundle in self._statements(release):
                self._attempt(f"{kind} of {release.reference} in the store", kind, bundle)

    def read_entry(self, index: int, data: bytes) -> None:
        """A record, if it is of a type that says something here."""
        what = f"entry {index} of the log"
        try:
            entry = log_entry.decode(data, what)
            if entry.type in _TOLD:
                self._record(what, index, entry)
        except AssayError as error:
            self.database.put_fault(what, error.message)

    def _record(self, what: str, index: int, entry: LogEntry) -> None:
        kind = PREDICATES[entry.type]
        statement = self._verified(kind, self.site.records.record(entry.record))
        if statement is None:
            return
        if entry.type in (RecordType.SBOM, RecordType.VEX, RecordType.RELEASE):
            self._about_image(kind, statement)
            return
        try:
            found = holdings_of(entry.type, statement.predicate, index, self.database.image_of_file)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise NotVerified(f"{what} cannot be read: {first['msg']}", remedy="use the assay that wrote it") from error
        self.database.hold(found)

    def _statements(self, release: Release) -> Iterator[tuple[PredicateType, bytes]]:
        if sha256 := release.attestations.get(PredicateType.SBOM):
            yield PredicateType.SBOM, self.site.store.get(sha256)
        for bundle in self.site.store.attached(release, PredicateType.VEX):
            yield PredicateType.VEX, bundle

    def _attempt(self, what: str, kind: PredicateType, bundle: bytes) -> None:
        try:
            statement = self._verified(kind, bundle)
            if statement is not None:
                self._about_image(kind, statement)
        except AssayError as error:
            self.database.put_fault(what, error.message)

    def _verified(self, kind: PredicateType, bundle: bytes) -> Statement | None:
        """The statement; None for one that was read before (in the store and in the log, or written twice)."""
        alone = without_thresholds(self._trust)  # what one signer says is inside may be inside
        found = verify_statement(bundle, alone, role=signers_of(kind), predicate_types={kind})
        return found.statement if self.database.is_new(hashlib.sha256(found.payload).hexdigest()) else None

    def _about_image(self, kind: PredicateType, statement: Statement) -> None:
        subject = statement.subject[0]
        image_hash = str((subject.annotations or {}).get("imageHash", ""))
        if kind is PredicateType.RELEASE:
            said = read_predicate(Release, statement.predicate)
            assert isinstance(said, Release)
            facts = (said.image.file_sha256, said.reference, said.board, said.kind)
            self.database.image(said.image.image_hash, facts)
        elif not image_hash:
            raise NotVerified("the statement names no image", remedy="sign it again")
        elif kind is PredicateType.SBOM:
            image = self.database.image(image_hash)
            self.database.put_parts(image, cyclonedx_parts.parts_of(statement.predicate))
        else:
            image = self.database.image(image_hash)
            self.database.put_vex(image, cyclonedx_parts.vex_of(statement.predicate))
