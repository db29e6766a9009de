# SPDX-License-Identifier: Apache-2.0
"""A log against what others have kept of it: checkpoints, and cosignatures of witnesses.

Guards: a site that was set back, a history that the holder of all keys wrote again, and two histories that were shown
to two people are found, as far as somebody kept a checkpoint or a witness cosigned one.
Leaves to others: the log itself (`verify`), asking witnesses (`pipeline.log_cosign`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from assay.errors import AssayError, NotVerified
from assay.formats import checkpoint, cosignature, merkle, signed_note
from assay.formats.checkpoint import Checkpoint
from assay.formats.signed_note import COSIGNATURE, VerifierKey
from assay.model.trust import TrustFile
from assay.model.witness import WitnessPolicy
from assay.stages.records.log_report import LogReport, WitnessedSize

WITNESSES = "witnesses"


@dataclass(frozen=True)
class Elsewhere:
    """Checkpoints that were kept elsewhere, those that lie cosigned beside the log, by name of the file, and whose
    cosignatures count.
    """

    kept: tuple[bytes, ...] = ()
    cosigned: Mapping[str, bytes] = field(default_factory=dict)
    policy: WitnessPolicy | None = None

    def notes(self) -> Iterator[tuple[str, bytes]]:
        """Each with the words for it."""
        yield from (("kept checkpoint", note) for note in self.kept)
        yield from ((f"cosigned checkpoint {name}", note) for name, note in sorted(self.cosigned.items()))


def check_elsewhere(
    elsewhere: Elsewhere, trust: TrustFile, head: Checkpoint, leaves: list[bytes], report: LogReport
) -> None:
    """Every checkpoint from elsewhere is one of this log's past, and enough witnesses vouch for some of it."""
    read = merkle.reader_of_leaves(leaves)
    past: list[tuple[str, bytes, int]] = []
    for what, note in elsewhere.notes():
        try:
            past.append((what, note, _past_size(note, trust, head, len(leaves), read)))
        except AssayError as error:
            report.fault(what, error.message)
    sizes = [size for what, _, size in past if what == "kept checkpoint"]
    if sizes and len(sizes) == len(elsewhere.kept):
        report.kept = max(sizes)
    if elsewhere.policy is not None:
        _count_witnesses(elsewhere.policy, trust, past, report)


def _past_size(note: bytes, trust: TrustFile, head: Checkpoint, size: int, read: merkle.HashReader) -> int:
    """How many entries the checkpoint `note` has; `NotVerified` when it is not of this log's past."""
    earlier, _ = checkpoint.verify_with_trust(note, trust)
    remedy = "compare with a copy of the log from before"
    if earlier.origin != head.origin:
        raise NotVerified(f"is of another log, '{earlier.origin}'", remedy=remedy)
    if earlier.size > size:
        what = f"has {earlier.size} entries, the log {size}: it was set back or cut short"
        raise NotVerified(what, remedy=remedy)
    if merkle.root(earlier.size, read) != earlier.root:
        raise NotVerified(f"of {earlier.size} entries is not of this log's past: one was rewritten", remedy=remedy)
    return earlier.size


def _count_witnesses(
    policy: WitnessPolicy, trust: TrustFile, past: list[tuple[str, bytes, int]], report: LogReport
) -> None:
    """A witness vouches for all that its largest checkpoint covers: so many entries are witnessed as the policy's
    number of witnesses cover, each with a checkpoint of its own.
    """
    own = {signed_note.parse_vkey(log.vkey).public for log in trust.logs}
    for witness in policy.witnesses:
        key = signed_note.parse_vkey(witness.vkey, COSIGNATURE)
        if key.public in own:
            report.fault(WITNESSES, f"'{key.name}' has the key of a log, and nobody is a witness of himself")
        elif found := _largest(key, past, report):
            report.witnesses.append(found)
    report.witnesses.sort(key=lambda each: -each.size)
    if len(report.witnesses) < policy.threshold:
        text = f"expected cosignatures of {policy.threshold} witnesses on this log, there are {len(report.witnesses)}"
        report.fault(WITNESSES, text)
    else:
        report.witnessed = report.witnesses[policy.threshold - 1].size


def _largest(key: VerifierKey, past: list[tuple[str, bytes, int]], report: LogReport) -> WitnessedSize | None:
    found = None
    for what, note, size in past:
        try:
            time_s = cosignature.verify(note, key)
        except NotVerified as error:
            report.fault(what, error.message)
            continue
        if time_s is not None and (found is None or (found.size, found.time_s) < (size, time_s)):
            found = WitnessedSize(key.name, size, time_s)
    return found
