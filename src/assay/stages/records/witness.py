# SPDX-License-Identifier: Apache-2.0
"""A witness (https://c2sp.org/tlog-witness): cosigns the checkpoint of a log that continues the last one it cosigned.

Guards: of each log one history is cosigned and no other; what was cosigned is remembered before it is told.
Leaves to others: how requests come (`backends.logs.witness_server`, a stick), the memory (`interfaces.witness_heads`).
"""

from __future__ import annotations

from assay.errors import InfrastructureError, NotVerified, StorageError
from assay.formats import checkpoint, cosignature, merkle, witness_request
from assay.formats.checkpoint import Checkpoint
from assay.formats.public_key import raw_ed25519
from assay.formats.signed_note import COSIGNATURE, VerifierKey
from assay.formats.witness_request import WitnessRequest
from assay.interfaces.clock import Clock
from assay.interfaces.signer import SignerService
from assay.interfaces.witness_heads import HeadMemory
from assay.model.trust import Role, TrustFile
from assay.model.witness import (
    BAD_REQUEST,
    CONFLICT,
    FORBIDDEN,
    NOT_FOUND,
    OK,
    SIZE_TYPE,
    UNPROCESSABLE,
    SeenHead,
    WitnessReply,
)


class WitnessDesk:
    """Cosigns checkpoints of the logs in `trust` with the WITNESS key.

    Raises `StorageError`, `InfrastructureError`, and what the signers raise: then nothing was cosigned.
    """

    def __init__(self, trust: TrustFile, signers: SignerService, heads: HeadMemory, clock: Clock) -> None:
        self._trust = trust
        self._signers = signers
        self._heads = heads
        self._clock = clock
        public = raw_ed25519(signers.public_key(Role.WITNESS).public)
        self.key = VerifierKey(cosignature.witness_name(public), public, COSIGNATURE)

    def last(self, origin: str) -> SeenHead | None:
        """The last checkpoint of the log `origin` that was cosigned here."""
        with self._heads.turn(origin) as turn:
            return self._checked(turn.last, origin)

    def add_checkpoint(self, body: bytes) -> WitnessReply:
        """Answer a request to `add-checkpoint`."""
        try:
            request = witness_request.decode(body)
            head = checkpoint.read(request.note)
        except NotVerified as error:
            return _no(BAD_REQUEST, error.message)
        if head.origin not in {log.origin for log in self._trust.logs}:
            return _no(NOT_FOUND, f"the log '{head.origin}' is not known here")
        try:
            checkpoint.verify_with_trust(request.note, self._trust)
        except NotVerified as error:
            return _no(FORBIDDEN, error.message)
        if request.old > head.size:
            return _no(BAD_REQUEST, f"the old size {request.old} is larger than that of the checkpoint, {head.size}")
        return self._cosign(request, head)

    def _cosign(self, request: WitnessRequest, head: Checkpoint) -> WitnessReply:
        with self._heads.turn(head.origin) as turn:
            last = self._checked(turn.last, head.origin)
            if fault := _fault(request, head, last):
                return fault
            time_s = int(self._clock.now().timestamp())
            if last is not None and time_s < last.time_s:
                text = "the clock went back: it is earlier than the last cosignature"
                raise InfrastructureError(text, remedy="set the clock of the witness")
            signature = self._signers.sign(Role.WITNESS, cosignature.message(head.text, time_s))
            line = cosignature.line(self.key, time_s, signature).encode("utf-8")
            turn.keep(SeenHead(head.origin, head.size, head.root, time_s, request.note + line))
        return WitnessReply(OK, line)

    def _checked(self, last: SeenHead | None, origin: str) -> SeenHead | None:
        """What the memory says, if it is what we cosigned: a memory that was changed is worth nothing."""
        if last is None:
            return None
        try:
            head = checkpoint.read(last.note)
            good = (last.origin, last.size, last.root) == (origin, head.size, head.root) and head.origin == origin
            good = good and cosignature.verify(last.note, self.key) == last.time_s
        except NotVerified:
            good = False
        if not good:
            text = f"the memory of this witness about '{origin}' is not what it cosigned"
            raise StorageError(text, remedy="restore witness.sqlite from a copy; where the key is new, begin it anew")
        return last


def _fault(request: WitnessRequest, head: Checkpoint, last: SeenHead | None) -> WitnessReply | None:
    """Why the checkpoint is not cosigned; None when it continues what was cosigned."""
    old_size, old_root = (0, merkle.EMPTY_ROOT) if last is None else (last.size, last.root)
    if request.old != old_size:
        return WitnessReply(CONFLICT, f"{old_size}\n".encode("ascii"), SIZE_TYPE)
    if old_size == head.size and old_root != head.root:
        return _no(CONFLICT, f"another checkpoint of {old_size} entries was cosigned: two histories of one log")
    if old_size == 0:
        return _no(UNPROCESSABLE, "a proof from size 0 is empty") if request.proof else None
    try:
        merkle.verify_consistency(old_size, head.size, request.proof, old_root, head.root)
    except NotVerified as error:
        return _no(UNPROCESSABLE, error.message)
    return None


def _no(status: int, text: str) -> WitnessReply:
    return WitnessReply(status, f"{text}\n".encode())
