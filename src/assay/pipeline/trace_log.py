# SPDX-License-Identifier: Apache-2.0
"""The log under a trace: its checkpoint, that all of it is there, and that a record or older checkpoint belongs to it.

Guards: whatever is said to be in the log is proved against a checkpoint that a trusted log key signed; that no record
of the unit was left out is said only when every entry of the log was read and the root recomputed from them.
Leaves to others: files (`trace_collect`), what a record says (`trace_record`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assay.errors import AssayError, NotVerified
from assay.formats import checkpoint as checkpoints
from assay.formats import log_entry, merkle
from assay.formats.checkpoint import Checkpoint
from assay.model.record import RecordType
from assay.model.trace import Dossier, TraceNode
from assay.model.trust import TrustedLog, TrustFile
from assay.pipeline.trace_link import Link

_REMEDY = "get the log again from the site, or ask who changed it"


@dataclass(frozen=True)
class LogView:
    """The log as far as it could be verified. Without `head` nothing can be proved to be in it."""

    head: Checkpoint | None
    log: TrustedLog | None
    consistency: Mapping[int, tuple[bytes, ...]]
    trust: TrustFile

    def prove_entry(self, link: Link, index: int, entry: bytes, proof: tuple[bytes, ...]) -> None:
        """Check on `link` that `entry` is number `index` of the log."""
        if self.head is None or self.log is None:
            link.fault("the log has no checkpoint that verifies, so nothing can be shown to be in it")
            return
        try:
            merkle.verify_inclusion(merkle.leaf_hash(entry), index, self.head.size, proof, self.head.root)
        except NotVerified as error:
            link.fault(error.message)
            return
        link.checked_by_log(f"entry {index} of {self.head.size}", self.log)

    def prove_ancestor(self, link: Link, note: str) -> None:
        """Check on `link` that the checkpoint `note` is an earlier one of this log.

        It cannot be younger than the record that keeps it: it would have to cover its own digest.
        """
        try:
            older, log = checkpoints.verify_with_trust(note.encode("utf-8"), self.trust)
            self._check_continues(older)
        except AssayError as error:
            link.fault(f"the checkpoint that the record keeps: {error.message}")
            return
        link.checked_by_log(f"written after entry {older.size - 1}" if older.size else "written to a new log", log)

    def _check_continues(self, older: Checkpoint) -> None:
        if self.head is None:
            raise NotVerified("the log has no checkpoint that verifies", remedy=_REMEDY)
        if older.origin != self.head.origin:
            raise NotVerified(f"it is of the log '{older.origin}'", remedy="trace with that site's log too")
        if older.size == 0:
            if older.root != merkle.EMPTY_ROOT:
                raise NotVerified("it is of an empty log and has a root that no empty log has", remedy=_REMEDY)
            return
        proof = self.consistency.get(older.size)
        if proof is None:
            raise NotVerified(f"no proof that the log continues the one of {older.size} entries", remedy=_REMEDY)
        merkle.verify_consistency(older.size, self.head.size, proof, older.root, self.head.root)


def verify_log(dossier: Dossier, trust: TrustFile) -> tuple[LogView, TraceNode]:
    """The log of `dossier`, and the link that says what was verified of it."""
    link = Link("log", "Log")
    found = link.attempt(lambda: checkpoints.verify_with_trust(dossier.checkpoint, trust))
    if found is None:
        return LogView(None, None, dossier.consistency, trust), link.node()
    head, log = found
    link.title = f"Log {head.origin}, {head.size} entries"
    link.checked_by_log("signature on the checkpoint", log)
    link.tell("root", head.root.hex())
    _check_order(link, dossier)
    _check_complete(link, dossier, head)
    return LogView(head, log, dossier.consistency, trust), link.node()


def _check_order(link: Link, dossier: Dossier) -> None:
    """What a unit ran follows from record to record, so they have to come as the log has them, each once."""
    indices = [record.index for record in dossier.records if record.index is not None]
    if indices != sorted(set(indices)):
        link.fault("the records do not come in the order of the log, each once")


def _check_complete(link: Link, dossier: Dossier, head: Checkpoint) -> None:
    """That the entries give the root, and that none of the unit's is left out of the dossier."""
    if dossier.leaves is None:
        link.tell("left out", "the other entries of the log are not here: that no record was left out is not shown")
        return
    root = merkle.root_of_leaves([merkle.leaf_hash(leaf) for leaf in dossier.leaves])
    if len(dossier.leaves) != head.size or root != head.root:
        link.fault(
            f"the {len(dossier.leaves)} entries that are there do not give the root of the checkpoint over {head.size}"
        )
        return
    link.checked(f"root recomputed from all {head.size} entries")
    shown = {record.index for record in dossier.records}
    for index, leaf in enumerate(dossier.leaves):
        try:
            entry = log_entry.decode(leaf, f"entry {index} of the log")
        except NotVerified as error:
            link.fault(error.message)
            continue
        if entry.type is RecordType.POLICY and index not in shown:
            link.lost(f"entry {index} says what decides at the site, and its record is not here")
        if entry.serial == dossier.serial and index not in shown:
            link.lost(f"entry {index} is about {dossier.serial}, and its record is not here")
    if link.holds:
        link.checked(f"every entry about {dossier.serial} is here")


def size_of(note: str) -> int:
    """How many entries the checkpoint in `note` says that the log has, unverified; 0 when it is none."""
    try:
        return checkpoints.read(note.encode("utf-8")).size
    except AssayError:
        return 0
