# SPDX-License-Identifier: Apache-2.0
"""A log, and witnesses that know it, for the tests of witnesses."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from memory_signer import MemorySigner, trust_in

from assay.backends.clocks.system_clock import SystemClock
from assay.backends.logs.tile_folder import TileFolder
from assay.backends.logs.tile_log import TileLog
from assay.backends.logs.witness_heads import WitnessHeads
from assay.formats import checkpoint, signed_note, witness_request
from assay.formats.checkpoint import Checkpoint
from assay.formats.public_key import raw_ed25519
from assay.formats.witness_request import WitnessRequest
from assay.model.trust import Role, TrustFile
from assay.model.witness import Witness, WitnessPolicy
from assay.stages.records.log_report import LogReport
from assay.stages.records.witness import WitnessDesk
from assay.stages.records.witnessed import Elsewhere, check_elsewhere


class SetClock(SystemClock):
    """A clock that shows what it is told."""

    def __init__(self) -> None:
        self.time_s = 1_795_000_000

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time_s, UTC)


class Bench:
    """A log, and witnesses that know it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signer = MemorySigner()
        self.log = TileLog(folder / "log", self.signer)
        self.log.open(may_create=True)
        self.trusted = self.log.trusted()
        self.trust: TrustFile = trust_in(self.signer, self.trusted)
        self.clock = SetClock()

    @property
    def reader(self) -> TileFolder:
        return self.log.reader

    def append(self, count: int) -> None:
        at = self.reader.checkpoint().size
        self.log.append([b"entry %d" % number for number in range(at, at + count)])

    def desk(self, name: str = "w1", signer: MemorySigner | None = None) -> WitnessDesk:
        return WitnessDesk(
            self.trust, signer or MemorySigner(), WitnessHeads(self.folder / f"{name}.sqlite"), self.clock
        )

    def request(self, old: int, reader: TileFolder | None = None) -> bytes:
        reader = reader or self.reader
        size = reader.checkpoint().size
        proof = tuple(reader.consistency_proof(old, size)) if old else ()
        return witness_request.encode(WitnessRequest(old, proof, reader.note()))

    def fork(self, name: str, size: int) -> TileFolder:
        """Another history of the same log, by the holder of its key."""
        other = TileLog(self.folder / name, self.signer)
        (self.folder / name).mkdir()
        text = Checkpoint(self.trusted.origin, 0, checkpoint.merkle.EMPTY_ROOT).text
        public = raw_ed25519(self.signer.public_key(Role.LOG).public)
        note = signed_note.write(text, self.trusted.origin, public, self.signer.sign(Role.LOG, text.encode()))
        (self.folder / name / "checkpoint").write_bytes(note)
        other.append([b"otherwise %d" % number for number in range(size)])
        return other.reader

    def verify(self, reader: TileFolder, policy: WitnessPolicy | None, *kept: bytes) -> LogReport:
        head, report = reader.checkpoint(), LogReport()
        leaves = [checkpoint.merkle.leaf_hash(entry) for _, entry in reader.entries(head.size)]
        check_elsewhere(Elsewhere(kept, reader.cosigned(), policy), self.trust, head, leaves, report)
        return report


def policy_of(threshold: int, *desks: WitnessDesk, url: str | None = None) -> WitnessPolicy:
    witnesses = tuple(Witness(vkey=str(desk.key), url=url) for desk in desks)
    return WitnessPolicy(schema="assay.witnesses/1", threshold=threshold, witnesses=witnesses)
