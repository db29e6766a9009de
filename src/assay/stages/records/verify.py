# SPDX-License-Identifier: Apache-2.0
"""The whole log of a site against a trust file: checkpoint, tiles, entries, records, attachments.

Guards: one changed, missing or added byte in any of their files is found and named, and does not hide another.
Leaves to others: how files are read (`interfaces.recorder`), what the records of one unit say together (`trace`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from assay.errors import AssayError, NotVerified
from assay.formats import checkpoint, log_entry, merkle, tlog_tiles
from assay.formats.checkpoint import Checkpoint
from assay.formats.statement_verifier import signers_of, verify_statement, without_thresholds
from assay.interfaces.recorder import RecordReader
from assay.model.campaign import CAMPAIGN
from assay.model.record import PREDICATES, LogEntry
from assay.model.statement import PredicateType
from assay.model.trust import TrustFile, VerifiedStatement
from assay.model.verdict import TEST_RUN
from assay.stages.records.log_report import LogReport
from assay.stages.records.witnessed import Elsewhere, check_elsewhere

_WITH_CHECKPOINT = (PredicateType.PROVISIONING, PredicateType.TEST_RESULT)
"""What every statement about a unit's making and its tests has; who leaves it out has one history less to explain."""


def verify_log(store: RecordReader, trust: TrustFile, elsewhere: Elsewhere | None = None) -> LogReport:
    """Verify everything that the newest checkpoint of `store` covers, and look for what it does not cover.

    `elsewhere`: what others kept of the log, which it has to continue. Only that shows a site that was set back as a
    whole, or a history that the holder of all keys wrote again.
    """
    report = LogReport()
    head = _checkpoint(store, trust, report)
    if head is None:
        return report
    entries = list(_entries(store, head.size, report))
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    if len(entries) == head.size:
        _tiles(store, leaves, head, report)
    _stray_files(store, head.size, report)
    if elsewhere is not None:
        check_elsewhere(elsewhere, trust, head, leaves, report)
    named: dict[str, str] = {}
    logged = {entry.record for entry in _records(store, trust, entries, leaves, report, named)}
    for name in sorted(store.record_names() - logged):
        report.fault(f"record {name}", "is not in the log")
    _attachments(store, named, report)
    return report


def _checkpoint(store: RecordReader, trust: TrustFile, report: LogReport) -> Checkpoint | None:
    """The newest checkpoint; one that does not verify is still used to look for what else is wrong."""
    head: Checkpoint | None = None
    try:
        note = store.log.note()
        head = checkpoint.read(note)
        report.origin, report.size, report.root = head.origin, head.size, head.root.hex()
        _, report.log = checkpoint.verify_with_trust(note, trust)
        if report.log.development:
            report.development.add(f"log {head.origin}")
    except AssayError as error:
        report.fault("log checkpoint", error.message)
    return head


def _entries(store: RecordReader, size: int, report: LogReport) -> Iterator[bytes]:
    for tile in (tile for tile in tlog_tiles.tiles_of(size) if tile.level is None):
        try:
            yield from tlog_tiles.decode_entries(store.log.file(tile.path), tile.width, f"log: {tile.path}")
        except AssayError as error:
            report.fault(f"log {tile.path}", error.message)
            return


def _tiles(store: RecordReader, leaves: list[bytes], head: Checkpoint, report: LogReport) -> None:
    """Every tile holds the hashes of the entries, and all of them give the root."""
    level, hashes = 0, leaves
    while hashes:
        for tile in (tile for tile in tlog_tiles.tiles_of(head.size) if tile.level == level):
            at = tile.index * tlog_tiles.TILE_WIDTH
            _tile(store, tile, hashes[at : at + tile.width], report)
        width = tlog_tiles.TILE_WIDTH
        hashes = [tlog_tiles.next_level(hashes[at : at + width]) for at in range(0, len(hashes) - width + 1, width)]
        level += 1
    if merkle.root_of_leaves(leaves) != head.root:
        report.fault("log checkpoint", f"its root is not the root over the {head.size} entries that are there")


def _tile(store: RecordReader, tile: tlog_tiles.Tile, expected: list[bytes], report: LogReport) -> None:
    try:
        found = tlog_tiles.decode_hashes(store.log.file(tile.path), tile.width, f"log: {tile.path}")
    except AssayError as error:
        report.fault(f"log {tile.path}", error.message)
        return
    different = [place for place, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]]
    if different and tile.level == 0:
        first = tile.index * tlog_tiles.TILE_WIDTH + different[0]
        report.fault(f"log entry {first}", f"is not what {tile.path} says that it was: one of the two was changed")
    elif different:
        report.fault(f"log {tile.path}", "does not follow from the tiles below it")


def _stray_files(store: RecordReader, size: int, report: LogReport) -> None:
    for path in store.log.files():
        tile = tlog_tiles.tile_of(path)
        if tile is not None and tlog_tiles.had_tile(size, tile):
            _narrower(store, tile, size, report)
        elif tile is None or not tlog_tiles.has_tile(size, tile):
            report.fault(f"log {path}", f"is not covered by the checkpoint of size {size}: was the log set back?")


def _narrower(store: RecordReader, tile: tlog_tiles.Tile, size: int, report: LogReport) -> None:
    """A tile from before the log grew, which a copy that deletes nothing keeps: the wider one begins with it."""
    wide = tlog_tiles.tile_at(tile.level, tile.index, size)
    try:
        if store.log.file(tile.path) == tlog_tiles.cut(store.log.file(wide.path), wide, tile.width):
            return
        report.fault(f"log {tile.path}", f"is not what {wide.path} begins with: one of the two was changed")
    except AssayError as error:
        report.fault(f"log {tile.path}", error.message)


def _records(
    store: RecordReader,
    trust: TrustFile,
    entries: list[bytes],
    leaves: list[bytes],
    report: LogReport,
    named: dict[str, str],
) -> Iterator[LogEntry]:
    """The entries, each with its record verified; `named` gets the attachments that records name, and by which."""
    read = merkle.reader_of_leaves(leaves)
    for index, data in enumerate(entries):
        try:
            entry = log_entry.decode(data, f"log: entry {index}")
        except AssayError as error:
            report.fault(f"log entry {index}", error.message)
            continue
        yield entry
        try:
            statement = _record(store, trust, entry)
            report.records += 1
            named |= dict.fromkeys(_attachments_of(statement), f"{entry.type}, entry {index}")
            if statement.signer.development:
                report.development.add(f"{statement.signer.role} {statement.signer.name}")
            report.checkpoints += _checkpoint_inside(statement, trust, report.origin, index, read)
        except AssayError as error:
            report.fault(f"record {entry.record} ({entry.type}, entry {index})", error.message)


def _record(store: RecordReader, trust: TrustFile, entry: LogEntry) -> VerifiedStatement:
    predicate_type = PREDICATES[entry.type]
    alone = without_thresholds(trust)  # a record is one statement; who goes by it counts signers
    statement = verify_statement(
        store.record(entry.record), alone, role=signers_of(predicate_type), predicate_types={predicate_type}
    )
    if hashlib.sha256(statement.payload).hexdigest() != entry.payload:
        raise NotVerified("its statement is not the one that the log names", remedy="restore it from a copy")
    said = _serials(statement)
    if said and said != {entry.serial} and (entry.serial is not None or len(said) == 1):  # a test may be of several
        raise NotVerified(
            f"the log says serial number {entry.serial}, the statement {', '.join(sorted(map(str, said)))}",
            remedy="ask who made it",
        )
    return statement


def _serials(statement: VerifiedStatement) -> set[Any]:
    """The serial numbers that a record names; none for a record of no unit, or of one that has no number."""
    units = _test_run(statement).get("units")
    tables = [statement.statement.predicate, *(units if isinstance(units, list) else [])]
    return {table["serial"] for table in tables if isinstance(table, dict) and isinstance(table.get("serial"), str)}


def _checkpoint_inside(
    statement: VerifiedStatement, trust: TrustFile, origin: str, index: int, read: merkle.HashReader
) -> int:
    """Records carry the checkpoint that they began with: it must be an earlier state of this very log.

    So a holder of the log key who writes another history must also make every later record again.
    """
    predicate = statement.statement.predicate
    run = predicate if _is_policy(statement) else _table(_test_run(statement) or predicate, "run")
    text = run.get("checkpoint")
    if not isinstance(text, str) or not text:
        if statement.statement.predicateType in _WITH_CHECKPOINT:
            raise NotVerified("it carries no checkpoint of the log from before it", remedy="ask who made it")
        return 0
    earlier, _ = checkpoint.verify_with_trust(text.encode("utf-8"), trust)
    if earlier.origin != origin:
        raise NotVerified(f"it names a checkpoint of another log, '{earlier.origin}'", remedy="ask who made it")
    if earlier.size > index:
        raise NotVerified(f"it names a checkpoint of size {earlier.size}, later than itself", remedy="ask who made it")
    if merkle.root(earlier.size, read) != earlier.root:
        raise NotVerified(
            f"it names a checkpoint of size {earlier.size} that is not of this log's history: one was rewritten",
            remedy="compare with a copy of the log",
        )
    return 1


def _attachments_of(statement: VerifiedStatement) -> set[str]:
    """The digests of the attachments that a record names: the reports of a test, what a flash tool said, the pack and
    the facts of a decision.
    """
    predicate = statement.statement.predicate
    if _is_policy(statement):
        decision = _table(predicate, "decision") or predicate
        named = (_table(decision, "pack").get("sha256"), decision.get("facts_sha256"))
        return {value for value in named if isinstance(value, str)}
    if statement.statement.predicateType == PredicateType.SUMMARY:
        parts = (_table(_table(predicate, name), "digest") for name in ("policy", "urn:assay:facts:v1"))
        return {value for part in parts if isinstance(value := part.get("sha256"), str)}
    tools = (PredicateType.TOOL_FLASH, PredicateType.RUN)
    said = predicate if statement.statement.predicateType in tools else _test_run(statement)
    return {value for value in _table(said, "files").values() if isinstance(value, str)}


def _is_policy(statement: VerifiedStatement) -> bool:
    return statement.statement.predicateType in (PredicateType.POLICY, PredicateType.DECISION)


def _test_run(statement: VerifiedStatement) -> Mapping[str, Any]:
    """What the record of a test or a campaign says of its run; empty for a record of another kind."""
    predicate = statement.statement.predicate
    return _table(predicate, TEST_RUN) or _table(predicate, CAMPAIGN)


def _table(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _attachments(store: RecordReader, named: dict[str, str], report: LogReport) -> None:
    there = store.attachment_names()
    for name in sorted(named.keys() - there):
        report.fault(f"attachment {name}", f"is not there, and a record names it ({named[name]})")
    for name in sorted(there):
        try:
            store.attachment(name)
            report.attachments += 1
        except AssayError as error:
            report.fault(f"attachment {name}", error.message)
